"""What a data set's labels are in codes, learnt from the segmentations that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from medseg.core.label_codes import CodeParts, LabelCodes
from medseg.io.dicom.codes import find_code
from medseg.io.dicom.datasets import open_dataset
from medseg.io.dicom.kinds import SEGMENTATION
from medseg.io.dicom.references import Reference, choose_references
from medseg.io.dicom.roi_names import RoiRules
from medseg.io.dicom.seg_object import SegmentRecord, parse_seg


def learn_codes(cases: Iterable[Sequence[Reference]], rules: RoiRules) -> dict[str, LabelCodes]:
    """The codes of labels in the segmentations that they are made of.

    Args:
        cases: the references of each, which the rules were applied to already.
        rules: which of their parts is which label.
    Returns:
        by label, where all segments of it say the same and more than that it is tissue; codes that DICOM does not
        allow count for nothing.
    """
    found: dict[str, set[tuple[CodeParts | None, ...]]] = {}
    for references in cases:
        parts = [segment for reference in references for segment in _list_segments(reference)]
        for label, places in choose_references(references, rules).labels.items():
            found.setdefault(label, set()).update(_list_parts(parts[place]) for place in places if parts[place])
    return {label: codes for label, own in found.items() if len(own) == 1 and (codes := _make_codes(own.pop()))}


def _list_segments(reference: Reference) -> list[SegmentRecord | None]:
    """A segment for each part of a reference; None for each structure of an RTSTRUCT, which has no codes."""
    if reference.kind != SEGMENTATION:
        return [None] * len(reference.names)
    return list(parse_seg(open_dataset(reference.path), reference.path).segments.values())


def _list_parts(segment: SegmentRecord | None) -> tuple[CodeParts | None, ...]:
    codes = (None, None, None) if segment is None else (segment.kind, segment.category, segment.region)
    return tuple(None if code is None else (code.value, code.scheme, code.meaning) for code in codes)


def _make_codes(parts: tuple[CodeParts | None, ...]) -> LabelCodes | None:
    kind, category, region = parts
    if kind is None or kind[:2] == find_code("Tissue")[:2]:
        return None
    try:
        return LabelCodes(type=kind, category=category, region=region)
    except ValueError:
        return None
