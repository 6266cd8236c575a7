"""Reading DICOM segmentations: as references, as masks to measure, and back after writing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, FormatError, GeometryError, show_name
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.identity import quiet
from medseg.io.dicom.seg_frames import decode_frames
from medseg.io.dicom.seg_object import SegmentRecord, SegObject, parse_seg
from medseg.io.dicom.seg_place import find_grid, place_frames, view_frame
from medseg.io.dicom.structure import check_structure
from medseg.io.guard import check_room
from medseg.io.structures import decode_regions

_HALF = 0.5  # from this probability or share of a voxel on it belongs to a segment
_NAMED_AT_MOST = 12


@dataclass(frozen=True, eq=False)
class SegMask:
    """A DICOM segmentation as a label map.

    Args:
        segmentation: the label map.
        labels: what its values mean.
        notes: what was decided, a line each.
    """

    segmentation: Segmentation
    labels: LabelScheme
    notes: tuple[str, ...] = ()


def read_seg(path: str | Path) -> SegObject:
    """A DICOM segmentation, its header checked and its pixels not decoded.

    Args:
        path: the file.
    Returns:
        the object.
    Raises:
        FormatError: damaged, or no segmentation.
        GeometryError: a frame has no place in the patient.
        ResourceError: the memory cannot hold it.
    """
    path = Path(path)
    check_structure(path)
    check_room(path.stat().st_size, path)
    return load_seg(path)


def load_seg(path: Path) -> SegObject:
    """As ``read_seg``, for a file whose structure is known to be sound."""
    import pydicom

    with quiet():
        try:
            content = pydicom.dcmread(path, force=True)
        except Exception as error:  # pydicom raises errors of every kind
            raise FormatError(
                f"cannot be read as DICOM: {type(error).__name__}", code="corrupt", file=path, remedy="Fetch it again"
            ) from None
    return parse_seg(content, path)


def read_seg_mask(path: str | Path, *, labels: LabelScheme | None = None, like: Geometry | None = None) -> SegMask:
    """The label map of a DICOM segmentation.

    Args:
        path: the file.
        labels: the labels to look for: a segment is of a label where its name, its description or a code of what it is
            (``SCT:10200004`` or the code's meaning) is the label's name, capitals aside; several may be of one label.
            Every segment under its own name where None, its number as value.
        like: the grid to lie on; the smallest that holds all frames where None.
    Returns:
        the label map and its labels; segments that are of no label are named in the notes.
    Raises:
        FormatError: damaged, or no segmentation.
        GeometryError: a frame does not lie on the grid, or a segment reaches beyond it.
        DatasetError: no segment is of a label, or segments of two labels overlap.
        ResourceError: the memory cannot hold it.
    """
    seg = read_seg(path)
    scheme, found, notes = _settle_labels(seg, labels)
    return SegMask(_paint_labels(seg, scheme, found, like), scheme, tuple(notes))


def find_segments(seg: SegObject, name: str) -> tuple[SegmentRecord, ...]:
    """The segments of a label.

    Args:
        seg: the object.
        name: its name, its meaning in words, or a code as ``SCT:10200004``.
    Returns:
        those whose name or description it is, else those whose code or meaning; none where nothing fits.
    """
    wanted = name.casefold()
    for texts in (_list_names, _fold_codes):
        found = tuple(segment for segment in seg.segments.values() if wanted in texts(segment))
        if found:
            return found
    return ()


def paint_segments(seg: SegObject, values: Mapping[int, int], like: Geometry | None = None) -> Segmentation:
    """A label map of some segments.

    Args:
        seg: the object.
        values: the value that each segment paints, by its number; the others paint nothing.
        like: the grid; the smallest that holds all frames where None.
    Returns:
        the label map, uint8 or uint16.
    Raises:
        FormatError: the pixels are damaged.
        GeometryError: a frame does not lie on the grid, or a segment reaches beyond it.
        DatasetError: segments of different values overlap.
        ResourceError: the memory cannot hold it.
    """
    grid = like or find_grid(seg)
    dtype = np.uint8 if max(values.values(), default=0) <= np.iinfo(np.uint8).max else np.uint16
    check_room(int(np.prod(grid.shape, dtype=np.int64)) * np.dtype(dtype).itemsize, seg.path)
    # i fastest: a frame's rows lie side by side.
    array: NDArray[Any] = np.zeros(grid.shape[::-1], dtype).transpose(2, 1, 0)
    overlap = outside = 0
    placement = place_frames(seg, grid)
    for number, painted in _list_painted(seg, values, dtype):
        plane, rows, columns = view_frame(placement, number, array, painted.shape)
        inner = painted[rows, columns]
        if inner.size < painted.size:
            outside += int(np.count_nonzero(painted) - np.count_nonzero(inner))
        overlap += _paint(plane, inner)
    if outside:
        raise GeometryError(
            f"{outside} voxels of its segments lie outside the grid of {grid.describe()}", code="outside_grid",
            file=seg.path, remedy="Give the series that the segmentation was drawn on",
        )  # fmt: skip
    if overlap:
        raise DatasetError(
            f"segments of different labels overlap in {overlap} voxels", code="overlapping_structures", file=seg.path,
            remedy="Name the labels to take with --labels, or make them exclusive",
        )  # fmt: skip
    return Segmentation(array, grid)


def _paint(plane: NDArray[Any], painted: NDArray[Any]) -> int:
    """Paint what is not 0 over a plane; how many voxels had another value before."""
    occupied = np.flatnonzero(painted.any(axis=1))
    if not occupied.size:
        return 0
    band = slice(int(occupied[0]), int(occupied[-1]) + 1)
    below, above = plane[band], painted[band]
    taken = below != 0
    clash = 0
    if taken.any():
        clash = int(np.count_nonzero(taken & (above != 0) & (above != below)))
    # The larger of the two is the new one where the old one is 0, and the same where they agree.
    np.maximum(below, above, out=below)
    return clash


def _list_painted(
    seg: SegObject, values: Mapping[int, int], dtype: type[np.generic]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Each frame that paints something: its number from 0 on, and what it paints, (row, column)."""
    if seg.kind == "LABELMAP":
        table = np.zeros(1 << seg.bits_allocated, dtype)
        known = np.zeros(table.size, bool)
        known[[0, *(number for number in (seg.background, *seg.segments) if number < table.size)]] = True
        for segment, value in values.items():
            table[segment : segment + 1] = value  # none where pixels cannot hold the number
        for number, frame in enumerate(decode_frames(seg)):
            if not known[frame].all():
                raise FormatError(
                    f"frame {number + 1} holds numbers of segments that are not described",
                    code="bad_seg",
                    file=seg.path,
                )
            yield number, table[frame]
        return
    threshold = int(np.ceil(_HALF * seg.largest_value)) if seg.kind == "FRACTIONAL" else 1
    for number, frame in enumerate(decode_frames(seg)):
        value = values.get(int(seg.owners[number]), 0)
        if value:
            inside = frame if threshold == 1 else (frame >= threshold).view(np.uint8)
            yield number, inside if value == 1 and inside.dtype == dtype else np.multiply(inside, value, dtype=dtype)


def read_probabilities(seg: SegObject, number: int, like: Geometry | None = None) -> NDArray[np.float32]:
    """What a FRACTIONAL segmentation says of one segment.

    Args:
        seg: the object.
        number: of the segment.
        like: the grid; the smallest that holds all frames where None.
    Returns:
        (i, j, k), 0 to 1, 0 where no frame lies.
    Raises:
        FormatError: the pixels are damaged.
        GeometryError: a frame does not lie on the grid.
    """
    grid = like or find_grid(seg)
    check_room(int(np.prod(grid.shape, dtype=np.int64)) * 4, seg.path)
    array: NDArray[np.float32] = np.zeros(grid.shape[::-1], np.float32).transpose(2, 1, 0)
    placement = place_frames(seg, grid)
    for place, frame in enumerate(decode_frames(seg)):
        if int(seg.owners[place]) == number:
            plane, rows, columns = view_frame(placement, place, array, frame.shape)
            plane[...] = frame[rows, columns] / np.float32(seg.largest_value)
    return array


def _settle_labels(seg: SegObject, labels: LabelScheme | None) -> tuple[LabelScheme, dict[str, list[int]], list[str]]:
    """The labels, the segments of each, and what to tell the user."""
    if labels is None:
        own: dict[str, list[int]] = {}
        for number, segment in sorted(seg.segments.items()):
            own.setdefault(show_name(segment.name) or f"segment_{number}", []).append(number)
        return LabelScheme.make({name: numbers[0] for name, numbers in own.items()}), own, _note_united(own)
    found = {name: [segment.number for segment in find_segments(seg, name)] for name in labels.names}
    if not any(found.values()):
        raise DatasetError(
            f"no segment is of a label ({', '.join(labels.names)}); there are {_name_segments(seg.segments.values())}",
            code="no_structure", file=seg.path, remedy="Name the labels after segments or codes with --labels",
        )  # fmt: skip
    notes = _note_united(found)
    notes += [f"no segment is of {name!r}" for name, numbers in found.items() if not numbers]
    left = [segment for number, segment in seg.segments.items() if not any(number in own for own in found.values())]
    if left:
        notes.append(f"segments of no label, left out: {_name_segments(left)}")
    return labels, {name: numbers for name, numbers in found.items() if numbers}, notes


def _paint_labels(
    seg: SegObject, scheme: LabelScheme, found: Mapping[str, Sequence[int]], like: Geometry | None
) -> Segmentation:
    if not scheme.has_regions:
        owners: dict[int, int] = {}
        for name, numbers in found.items():
            for number in numbers:
                if owners.setdefault(number, scheme.labels[name][0]) != scheme.labels[name][0]:
                    called = show_name(seg.segments[number].name)
                    raise DatasetError(
                        f"segment {number} ({called}) is of {name!r} and of another label",
                        code="ambiguous_structure", file=seg.path, remedy="Name the labels more exactly",
                    )  # fmt: skip
        return paint_segments(seg, owners, like)
    grid = like or find_grid(seg)
    membership = np.zeros(grid.shape, np.uint64, order="F")
    for name, numbers in found.items():
        inside = paint_segments(seg, dict.fromkeys(numbers, 1), grid).array != 0
        membership[inside] |= np.uint64(1 << scheme.names.index(name))
    return Segmentation(decode_regions(membership, scheme, seg.path), grid)


def _note_united(found: Mapping[str, Sequence[int]]) -> list[str]:
    return [f"{name!r} is {len(numbers)} segments, united" for name, numbers in found.items() if len(numbers) > 1]


def _name_segments(segments: Iterable[SegmentRecord]) -> str:
    names = [repr(show_name(segment.name)) for segment in segments]
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


def _list_names(segment: SegmentRecord) -> set[str]:
    return {segment.name.casefold(), segment.description.casefold()} - {""}


def _fold_codes(segment: SegmentRecord) -> set[str]:
    return {code.casefold() for code in list_codes(segment)}


def list_codes(segment: SegmentRecord) -> tuple[str, ...]:
    """What says what a segment is besides its name: description, the code's meaning, ``SCHEME:VALUE``.

    Its region says where it is, not what: a liver tumour is no liver.
    """
    code = segment.kind
    texts = (segment.description, *(() if code is None else (code.meaning, f"{code.scheme}:{code.value}")))
    return tuple(text for text in texts if text)
