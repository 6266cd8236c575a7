"""Which segments a label map is written as: one per label, or one per lesion with an identifier of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, show_name
from medseg.core.labels import LabelScheme
from medseg.io.dicom.codes import Meaning, find_meaning
from medseg.io.dicom.palette import find_colour
from medseg.io.dicom.uids import derive_uid
from medseg.shapes.boxes import Box, bound_mask
from medseg.shapes.components import find_components

MOST_SEGMENTS = 65535  # SegmentNumber is an unsigned short
_LONGEST_TEXT = 64  # LO
_PIECE_VOXELS = 1 << 14


@dataclass(frozen=True)
class TrackedLesion:
    """A lesion's name over time.

    Args:
        label: which label it belongs to.
        instance: 1, 2, ... as in the table of measurements: the label's 26-neighbour components, largest first.
        lesion_id: its name, the same in every scan of the patient.
        tracking_uid: its unique identifier from an earlier object; where empty it is derived from patient and name.
    """

    label: str
    instance: int
    lesion_id: str
    tracking_uid: str = ""


@dataclass(frozen=True)
class Segment:
    """One segment of an object to write.

    Args:
        number: 1, 2, ...
        name: shown by viewers: the lesion's name, else the label's.
        label: which label it is of.
        meaning: its codes.
        colour: red, green, blue.
        values: the values of the label map that it covers.
        instance: which lesion of the label; 0 for the whole label.
        lesion_id, tracking_uid: of a lesion; empty for a whole label.
        voxels: how many it covers.
    """

    number: int
    name: str
    label: str
    meaning: Meaning
    colour: tuple[int, int, int]
    values: tuple[int, ...]
    instance: int = 0
    lesion_id: str = ""
    tracking_uid: str = ""
    voxels: int = 0


@dataclass(frozen=True, eq=False)
class Bodies:
    """The lesions of a label.

    Args:
        box: the smallest one around them all.
        numbers: which lesion each voxel within the box belongs to, (i, j, k), 0 for none.
    """

    box: Box
    numbers: NDArray[Any]

    @cached_property
    def parts(self) -> tuple[tuple[Box, NDArray[np.bool_]], ...]:
        """Of each lesion, largest first, the smallest box around it in the scan, and where it lies within."""
        from scipy import ndimage

        found = []
        boxes = ndimage.find_objects(self.numbers)  # type: ignore[attr-defined]
        for instance, own in enumerate(boxes, start=1):
            pairs = zip(self.box, own, strict=True)
            box = tuple(slice(outer.start + part.start, outer.start + part.stop) for outer, part in pairs)
            found.append((box, np.asarray(self.numbers[own] == instance)))
        return tuple(found)

    def spread(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """The same numbers in an array of the whole scan's shape."""
        whole = np.zeros(shape, self.numbers.dtype, order="F")
        whole[self.box] = self.numbers
        return whole


def plan_segments(
    array: NDArray[Any],
    labels: LabelScheme,
    *,
    lesions: Sequence[TrackedLesion] = (),
    lesion_labels: Sequence[str] = (),
    meanings: Mapping[str, Meaning] | None = None,
    patient: str = "",
    scan: str = "",
) -> tuple[tuple[Segment, ...], dict[str, Bodies]]:
    """The segments of a label map.

    Args:
        array: label values, (i, j, k).
        labels: what they mean.
        lesions: names of lesions that the caller follows over time.
        lesion_labels: labels to write lesion by lesion though none of theirs is named: ``label-1``, ``label-2``, ...,
            largest first, with identifiers of this scan alone, since nobody says which lesion of another scan they are.
        meanings: codes that the data set gives, by label.
        patient: what tells the patient from all others; a lesion that is followed has one identifier in all scans.
        scan: what tells the scan from all others.
    Returns:
        the segments that have voxels, label by label in the scheme's order, or every label where none has; and of each
        label that is written lesion by lesion the number of the lesion at each voxel, (i, j, k).
    Raises:
        DatasetError: a lesion is of an unknown label or not there, two have one name, or there are too many.
    """
    named = {(lesion.label, lesion.instance): lesion for lesion in lesions}
    _refuse_strangers(labels, [*(lesion.label for lesion in lesions), *lesion_labels])
    split = {*lesion_labels, *(lesion.label for lesion in lesions)}
    counts = _count_values(array, max(labels.values) + 1)
    segments: list[Segment] = []
    bodies: dict[str, Bodies] = {}
    for place, (label, values) in enumerate(labels.labels.items()):
        whole = Segment(
            0, clean_text(label), label, find_meaning(label, meanings), find_colour(place), values,
            voxels=int(counts[list(values)].sum()),
        )  # fmt: skip
        if label not in split:
            segments.append(whole)
            continue
        found = _find_bodies(labels.mask(array, label))
        if found is not None:
            bodies[label] = found
            segments += _list_lesions(whole, _count_values(found.numbers, 1), named, (patient, scan))
    _refuse_absent(named, segments)
    kept = [segment for segment in segments if segment.voxels] or [
        Segment(0, clean_text(label), label, find_meaning(label, meanings), find_colour(place), values)
        for place, (label, values) in enumerate(labels.labels.items())
    ]
    if len(kept) > MOST_SEGMENTS:
        raise DatasetError(
            f"{len(kept)} segments, an object holds {MOST_SEGMENTS} at most", code="too_many_segments",
            remedy="Write whole labels, or remove small components first",
        )  # fmt: skip
    return tuple(replace(segment, number=number) for number, segment in enumerate(kept, start=1)), bodies


def mask_of(segment: Segment, array: NDArray[Any], bodies: Mapping[str, Bodies]) -> NDArray[np.bool_]:
    """Where a segment lies.

    Args:
        segment: of those that were planned.
        array: label values, (i, j, k).
        bodies: lesions by label, as ``plan_segments`` gives them.
    Returns:
        true inside, of the array's shape.
    """
    if segment.instance:
        return np.asarray(bodies[segment.label].spread(array.shape) == segment.instance)
    found = np.asarray(array == segment.values[0])
    for value in segment.values[1:]:
        found |= array == value
    return found


def clean_text(text: str, longest: int = _LONGEST_TEXT) -> str:
    """A text that DICOM's short texts can hold: no backslash, which parts values, nothing unprintable, not too long."""
    shown = show_name(text.replace("\\", "/")).replace("\\", "/").strip()
    return shown[:longest].rstrip() or "-"


def _find_bodies(mask: NDArray[np.bool_]) -> Bodies | None:
    box = bound_mask(mask)
    if box is None:
        return None
    numbers, count = find_components(mask[box])
    return Bodies(box, numbers.astype(np.min_scalar_type(count)))


def _count_values(array: NDArray[Any], least: int) -> NDArray[np.intp]:
    # numpy counts in 64-bit numbers: piece by piece they stay in the cache; most pieces of a scan are empty.
    flat, counts = array.ravel(order="K"), np.zeros(least, np.intp)
    for start in range(0, flat.size, _PIECE_VOXELS):
        piece = flat[start : start + _PIECE_VOXELS]
        if not piece.any():
            counts[0] += piece.size
            continue
        found = np.bincount(piece, minlength=least)
        if len(found) > len(counts):
            counts = np.pad(counts, (0, len(found) - len(counts)))
        counts[: len(found)] += found
    return counts


def _list_lesions(
    whole: Segment, sizes: NDArray[Any], named: Mapping[tuple[str, int], TrackedLesion], owner: tuple[str, str]
) -> Iterator[Segment]:
    for instance, voxels in enumerate(sizes[1:].tolist(), start=1):
        lesion = named.get((whole.label, instance))
        name = lesion.lesion_id if lesion else f"{whole.label}-{instance}"
        uid = derive_uid("lesion", owner[0], name) if lesion else derive_uid("lesion of a scan", *owner, name)
        uid = lesion.tracking_uid if lesion and lesion.tracking_uid else uid
        yield Segment(
            0, clean_text(name), whole.label, whole.meaning, whole.colour, whole.values, instance, name, uid, voxels
        )


def _refuse_strangers(labels: LabelScheme, asked: Sequence[str]) -> None:
    for label in asked:
        if label not in labels.labels:
            raise DatasetError(
                f"lesions of {show_name(label)!r} are asked for, the labels are {', '.join(labels.names)}",
                code="bad_labels", remedy="Name a label of the mask",
            )  # fmt: skip


def _refuse_absent(named: Mapping[tuple[str, int], TrackedLesion], segments: Sequence[Segment]) -> None:
    present = {(segment.label, segment.instance) for segment in segments if segment.instance}
    for key, lesion in named.items():
        if key not in present:
            raise DatasetError(
                f"{show_name(lesion.lesion_id)} is to be lesion {key[1]} of {key[0]}, which has"
                f" {sum(label == key[0] for label, _ in present)}",
                code="no_such_lesion", remedy="Measure the mask that is written",
            )  # fmt: skip
    names = [segment.lesion_id for segment in segments if segment.instance]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DatasetError(
            f"two lesions are called {show_name(twice)}", code="duplicate_lesion", remedy="Give each its own name"
        )
