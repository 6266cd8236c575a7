"""What a DICOM segmentation says of itself: its segments, where each frame lies, and how its pixels are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError, GeometryError, show_name
from medseg.io.dicom.codes import Code
from medseg.io.dicom.identity import quiet

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
MOST_FRAMES = 1_000_000
MOST_PIXELS = 1 << 28  # of one frame: 16384 x 16384
Value = TypeVar("Value")

_NORMAL_LENGTH = 1e-3  # how far direction cosines may be from unit length and right angles


@dataclass(frozen=True)
class SegmentRecord:
    """A segment as its object describes it.

    Args:
        number: as frames name it.
        name: SegmentLabel, for people; never a path.
        description: SegmentDescription, empty where there is none.
        category, kind: codes of what it is; None where not stated.
        region: of the body; None where not stated.
        tracking_id, tracking_uid: what follows it over time; empty where not stated.
    """

    number: int
    name: str
    description: str = ""
    category: Code | None = None
    kind: Code | None = None
    region: Code | None = None
    tracking_id: str = ""
    tracking_uid: str = ""


@dataclass(frozen=True, eq=False)
class SegObject:
    """A DICOM segmentation, pixels not decoded.

    Args:
        path: the file.
        kind: ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
        series_uid, study_uid, frame_of_reference_uid: of the object itself.
        source_series_uids: series that it says it was made from.
        segments: by number.
        rows, columns, frames: of its pixels.
        bits_allocated: 1, 8 or 16.
        background: of LABELMAP, the number that stands for no segment, beside 0.
        largest_value: of FRACTIONAL, the stored value that stands for 1.
        positions_mm: of each frame's first pixel, (frame, 3), LPS.
        orientations: cosines along a row and down the rows, (frame, 6), LPS.
        spacing_mm: between rows, between columns; (frame, 2).
        step_mm: between neighbouring planes as stated; None where not.
        owners: the segment number of each frame; 0 for LABELMAP, whose pixels name them.
        content: pydicom's data set, which holds the stored pixels.
    """

    path: Path
    kind: str
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    source_series_uids: tuple[str, ...]
    segments: dict[int, SegmentRecord]
    rows: int
    columns: int
    frames: int
    bits_allocated: int
    background: int
    largest_value: int
    positions_mm: NDArray[np.float64]
    orientations: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    step_mm: float | None
    owners: NDArray[np.int64]
    content: Any


def parse_seg(content: Any, path: Path) -> SegObject:
    """What a data set that holds a segmentation says.

    Args:
        content: pydicom's data set, its structure checked.
        path: its file.
    Returns:
        the object, every number in it checked.
    Raises:
        FormatError: it is no segmentation, or something that it must say is missing or impossible.
        GeometryError: a frame has no place in the patient.
    """
    with quiet():
        try:
            return _parse(content, path)
        except (FormatError, GeometryError):
            raise
        except Exception as error:  # pydicom raises errors of every kind on values that are none
            _refuse(f"an attribute cannot be read ({type(error).__name__})", path)


def _parse(content: Any, path: Path) -> SegObject:
    if str(content.get("SOPClassUID", "")) not in (SEGMENTATION, LABEL_MAP):
        _refuse("it is no DICOM segmentation", path, "not_a_seg", "Give a file of modality SEG")
    kind = str(content.get("SegmentationType", ""))
    rows, columns = (_count(content, name, path, 65535) for name in ("Rows", "Columns"))
    frames = _count(content, "NumberOfFrames", path, MOST_FRAMES)
    bits = int(content.get("BitsAllocated", 0))
    allowed = {"BINARY": (1,), "FRACTIONAL": (8,), "LABELMAP": (8, 16)}.get(kind, ())
    if bits not in allowed or rows * columns > MOST_PIXELS or int(content.get("SamplesPerPixel", 1)) != 1:
        _refuse(f"a {show_name(kind)[:20] or 'nameless'} segmentation of {bits} bits and {rows}x{columns} pixels", path)
    shared = (content.get("SharedFunctionalGroupsSequence") or [None])[0]
    own = list(content.get("PerFrameFunctionalGroupsSequence") or [])
    if len(own) != frames:
        _refuse(f"{frames} frames, of which {len(own)} are described", path)
    positions, orientations, spacing, owners = _read_groups(own, shared, kind, path)
    segments = [_read_segment(item) for item in content.get("SegmentSequence") or []]
    background = {0, _read_padding(content)} if kind == "LABELMAP" else set()
    segments = [segment for segment in segments if segment.number not in background]  # a label map may describe it too
    named = {segment.number: segment for segment in segments}
    if not segments or len(named) != len(segments):
        _refuse("its segments are missing or have one number twice", path)
    unknown = sorted(set(owners.tolist()) - named.keys() - ({0} if kind == "LABELMAP" else set()))
    if unknown:
        _refuse(f"frames of segment {unknown[0]}, which is not described", path)
    return SegObject(
        path, kind, _text(content, "SeriesInstanceUID"), _text(content, "StudyInstanceUID"),
        _text(content, "FrameOfReferenceUID"),
        tuple(_text(item, "SeriesInstanceUID") for item in content.get("ReferencedSeriesSequence") or []),
        named, rows, columns, frames, bits, _read_padding(content),
        int(content.get("MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 1,
        positions, orientations, spacing, _read_step(own, shared), owners, content,
    )  # fmt: skip


def _read_groups(
    own: list[Any], shared: Any, kind: str, path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Position, orientation, spacing and segment of each frame."""
    orientation = _group_reader("PlaneOrientationSequence", "ImageOrientationPatient", 6, shared, path)
    position = _group_reader("PlanePositionSequence", "ImagePositionPatient", 3, shared, path)
    spacing = _group_reader("PixelMeasuresSequence", "PixelSpacing", 2, shared, path)
    orientations = np.array([orientation(item) for item in own])
    spacings = np.array([spacing(item) for item in own])
    along, down = orientations[:, :3], orientations[:, 3:]
    lengths = np.abs(np.linalg.norm([along, down], axis=2) - 1)
    if lengths.max() > _NORMAL_LENGTH or np.abs((along * down).sum(axis=1)).max() > _NORMAL_LENGTH:
        raise GeometryError("direction cosines that are no right angle", code="bad_affine", file=path)
    if spacings.min() <= 0:
        raise GeometryError("a spacing that is not above 0 mm", code="absurd_spacing", file=path)
    owners = np.zeros(len(own), np.int64)
    if kind != "LABELMAP":
        owners[:] = _list_owners(own, shared, path)
    return np.array([position(item) for item in own]), orientations, spacings, owners


def _group_reader(
    sequence: str, keyword: str, count: int, shared: Any, path: Path
) -> Callable[[Any], tuple[float, ...]]:
    """How to get some numbers of a frame, which its own group or the shared one states."""
    outer, inner = _tag(sequence), _tag(keyword)

    def parse(sequence: Any) -> tuple[float, ...] | None:
        item = sequence[0] if sequence else None
        value = None if item is None or inner not in item else item[inner].value
        if value is None:
            return None
        numbers = tuple(float(part) for part in value)
        if len(numbers) != count or not np.isfinite(numbers).all():
            raise GeometryError(f"{keyword} is not {count} numbers", code="bad_affine", file=path)
        return numbers

    read = _make_reader(outer, parse)
    fallback = read(shared)

    def find(group: Any) -> tuple[float, ...]:
        found = read(group) or fallback
        if found is None:
            raise GeometryError(
                f"a frame without {keyword}: nobody knows where it lies", code="no_place", file=path,
                remedy="Export the segmentation with its geometry",
            )  # fmt: skip
        return found

    return find


def _make_reader(tag: Any, parse: Callable[[Any], Value]) -> Callable[[Any], Value | None]:
    """How to get something out of a group's sequence; None where the group or the sequence is missing.

    Frames of one plane, or of one segment, hold the same bytes, of which a SEG of lesions has thousands: each is parsed
    once.
    """
    known: dict[Any, Value] = {}

    def read(group: Any) -> Value | None:
        if group is None or tag not in group:
            return None
        raw = group.get_item(tag)
        stored = raw.value if raw.is_raw else None
        if not isinstance(stored, bytes):
            return parse(group[tag].value)
        if stored not in known:
            known[stored] = parse(group[tag].value)
        return known[stored]

    return read


def _list_owners(own: list[Any], shared: Any, path: Path) -> list[int]:
    """The segment that each frame is of."""
    number = _tag("ReferencedSegmentNumber")
    read = _make_reader(
        _tag("SegmentIdentificationSequence"), lambda items: int(items[0][number].value) if items else 0
    )
    fallback = read(shared)
    owners = [read(group) or fallback for group in own]
    return [owner if owner is not None else _refuse("a frame that names no segment", path) for owner in owners]


@cache
def _tag(keyword: str) -> Any:
    """An attribute's tag; pydicom looks attributes up by tag far faster than by name where they are absent."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    found = tag_for_keyword(keyword)
    assert found is not None
    return Tag(found)


def _read_step(own: list[Any], shared: Any) -> float | None:
    for group in (shared, own[0]):
        items = None if group is None else group.get("PixelMeasuresSequence")
        for keyword in ("SpacingBetweenSlices", "SliceThickness"):
            value = items[0].get(keyword) if items else None
            if value is not None and float(value) > 0:
                return float(value)
    return None


def _read_segment(item: Any) -> SegmentRecord:
    category, kind = (_read_code(item, f"SegmentedProperty{which}CodeSequence") for which in ("Category", "Type"))
    return SegmentRecord(
        number=int(item.SegmentNumber),
        name=_text(item, "SegmentLabel"),
        description=_text(item, "SegmentDescription"),
        category=category,
        kind=kind,
        region=_read_code(item, "AnatomicRegionSequence"),
        tracking_id=_text(item, "TrackingID"),
        tracking_uid=_text(item, "TrackingUID"),
    )


def _read_code(item: Any, sequence: str) -> Code | None:
    found = item.get(sequence)
    if not found:
        return None
    spellings = (name for name in ("CodeValue", "LongCodeValue", "URNCodeValue") if name in found[0])
    value = next((_text(found[0], name) for name in spellings), "")
    return Code(value, _text(found[0], "CodingSchemeDesignator"), _text(found[0], "CodeMeaning"))


def _read_padding(content: Any) -> int:
    """The number of a label map's background; 0 where it states none (PS3.3, C.8.20.2)."""
    value = content.get("PixelPaddingValue")
    return int(value) if isinstance(value, int) else 0


def _text(item: Any, keyword: str) -> str:
    return re.sub(r"\s+", " ", str(item.get(keyword) or "")).strip()


def _count(content: Any, keyword: str, path: Path, most: int) -> int:
    value = int(content.get(keyword) or 0)
    if not 1 <= value <= most:
        _refuse(f"{keyword} is {value}, expected 1 to {most}", path)
    return value


def _refuse(reason: str, path: Path, code: str = "bad_seg", remedy: str = "Export the segmentation again") -> NoReturn:
    raise FormatError(reason, code=code, file=path, remedy=remedy)
