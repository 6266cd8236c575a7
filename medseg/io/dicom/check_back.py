"""Comparing what was written with what was meant, through the reader that any other object goes through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError, MedsegError
from medseg.core.geometry import Geometry
from medseg.io.dicom.seg_object import SegObject
from medseg.io.dicom.seg_read import load_seg, paint_segments, read_probabilities
from medseg.io.dicom.segments import Bodies, Segment, mask_of


def check_segments(
    path: Path,
    array: NDArray[Any],
    segments: Sequence[Segment],
    bodies: Mapping[str, Bodies],
    geometry: Geometry,
) -> None:
    """Refuse a segmentation that does not hold the mask that it was written for.

    Args:
        path: what was written.
        array: the label map, (i, j, k).
        segments, bodies: as they were planned.
        geometry: the series' grid.
    Raises:
        FormatError: a segment, a voxel, a name or an identifier is another.
    """
    seg = _read_back(path)
    _check_names(seg, segments, path)
    by_label: dict[str, list[Segment]] = {}
    for segment in segments:
        by_label.setdefault(segment.label, []).append(segment)
    covered = [value for own in by_label.values() for value in own[0].values]
    if len(set(covered)) == len(covered):
        _check_numbers(seg, array, segments, bodies, geometry)
        return
    for label, own in by_label.items():
        found = _paint(seg, {segment.number: segment.instance or 1 for segment in own}, geometry, path)
        wanted = bodies[label].spread(array.shape) if label in bodies else mask_of(own[0], array, bodies)
        _compare(found, wanted, label, path)


def check_probabilities(
    path: Path, stored: NDArray[np.float32], segments: Sequence[Segment], geometry: Geometry
) -> None:
    """Refuse a fractional segmentation whose values are off by more than half a step.

    Args:
        path: what was written.
        stored: the probabilities, (k, j, i, segment).
        segments: as they were planned.
        geometry: the series' grid.
    Raises:
        FormatError: a segment, a value, a name or an identifier is another.
    """
    seg = _read_back(path)
    _check_names(seg, segments, path)
    step = 0.5 / seg.largest_value + 1e-6
    for place, segment in enumerate(segments):
        found = read_probabilities(seg, segment.number, geometry)
        _compare(np.abs(found.transpose(2, 1, 0) - stored[..., place]) <= step, True, segment.name, path)


def _check_numbers(
    seg: SegObject,
    array: NDArray[Any],
    segments: Sequence[Segment],
    bodies: Mapping[str, Bodies],
    geometry: Geometry,
) -> None:
    """All segments at once, of labels that share no voxel: of which label each voxel is, and of which lesion."""
    found = _paint(seg, {segment.number: segment.number for segment in segments}, geometry, seg.path)
    # Both sides in the label's first value; values that stand for no label (the ignore label) are in no segment.
    value_of = np.zeros(len(segments) + 1, np.uint16)
    wanted_of = np.zeros(max(int(array.max(initial=0)), *(max(segment.values) for segment in segments)) + 1, np.uint16)
    for segment in segments:
        value_of[segment.number] = wanted_of[list(segment.values)] = segment.values[0]
    plain = found.dtype == array.dtype and np.array_equal(value_of, np.arange(len(value_of)))
    plain = plain and np.array_equal(wanted_of, np.arange(len(wanted_of)))
    for k in range(array.shape[2]):
        if plain:
            _compare(found[..., k], array[..., k], "a label", seg.path)
        elif found[..., k].any() or array[..., k].any():
            _compare(value_of[found[..., k]], wanted_of[array[..., k]], "a label", seg.path)
    # Every voxel is its label's: what is left is whose lesion's.
    for segment in segments:
        if segment.instance:
            box, mask = bodies[segment.label].parts[segment.instance - 1]
            _compare(found[box] == segment.number, mask, segment.name, seg.path)


def _read_back(path: Path) -> SegObject:
    try:
        return load_seg(path)
    except MedsegError as error:
        raise _differs(f"it cannot be read back: {error.reason}", path) from None


def _paint(seg: SegObject, values: Mapping[int, int], geometry: Geometry, path: Path) -> NDArray[Any]:
    try:
        return paint_segments(seg, values, geometry).array
    except MedsegError as error:
        raise _differs(f"it cannot be read back: {error.reason}", path) from None


def _check_names(seg: SegObject, segments: Sequence[Segment], path: Path) -> None:
    wanted = {segment.number: (segment.name, segment.tracking_uid) for segment in segments}
    found = {number: (record.name, record.tracking_uid) for number, record in seg.segments.items()}
    if {n: (" ".join(name.split()), uid) for n, (name, uid) in wanted.items()} != found:
        raise _differs(f"{len(found)} segments or their names are not the {len(wanted)} that were meant", path)


def _compare(found: NDArray[Any], wanted: NDArray[Any] | bool, name: str, path: Path) -> None:
    if not np.array_equal(found, np.broadcast_to(wanted, found.shape)):
        count = int(np.count_nonzero(found != wanted))
        raise _differs(f"{count} voxels of {name} are not what they were meant to be", path)


def _differs(reason: str, path: Path) -> FormatError:
    return FormatError(
        f"the written object was read back and differs: {reason}", code="not_read_back", file=path,
        remedy="Nothing was left behind; report this with the series' geometry",
    )  # fmt: skip
