"""Which values two label maps hold together, and where: one pass over both, without a copy of either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.shapes.boxes import Box

LARGEST_VALUE = 65535  # that a label scheme takes
SLAB_VOXELS = 1 << 20  # copied at once where the two maps lie differently in memory


@dataclass(frozen=True, eq=False)
class Survey:
    """What two label maps hold, by the numbers 1, 2, ... of the values asked for; 0 is every other value.

    Args:
        joint: voxels by (reference's number, prediction's number).
        boxes: by number, the smallest box around its voxels in both maps; None where it has none.
        counted: how many voxels are not ignored.
    """

    joint: NDArray[np.int64]
    boxes: dict[int, Box | None]
    counted: int


def survey_maps(
    predicted: NDArray[Any], expected: NDArray[Any], values: Sequence[int], ignore: int | None = None
) -> Survey:
    """Count and bound the values of two label maps.

    Args:
        predicted: label values, (i, j, k), unsigned integers.
        expected: the reference's, on the same grid.
        values: those asked for; they are numbered from 1 on.
        ignore: the value of the reference whose voxels do not count.
    Returns:
        counts and boxes.
    """
    table = make_table(predicted, expected)
    known = [value for value in values if value < table.size]
    table[known] = np.arange(1, len(values) + 1)[: len(known)]
    return survey_numbers(predicted, expected, table, len(values), -1 if ignore is None else ignore)


def make_table(*maps: NDArray[Any]) -> NDArray[np.int64]:
    """A number for each value that maps of these types can hold, all 0; values that no scheme takes share the last."""
    return np.zeros(256 if all(array.dtype.itemsize == 1 for array in maps) else LARGEST_VALUE + 2, np.int64)


def survey_numbers(
    predicted: NDArray[Any], expected: NDArray[Any], table: NDArray[np.int64], count: int, ignore: int
) -> Survey:
    """``survey_maps`` with each value's number, 0 to ``count``, given by a table; ignoring -1 ignores nothing."""
    from medseg.evaluation import survey_kernels

    joint = np.zeros((count + 1, count + 1), np.int64)
    # Maps read from NIfTI have their first axis fastest: seen with the axes turned round, rows lie together again.
    turned = expected.flags.f_contiguous and not expected.flags.c_contiguous
    if turned:
        predicted, expected = predicted.T, expected.T
    bounds = np.empty((count + 1, 6), np.int64)
    bounds[:, ::2], bounds[:, 1::2] = max(expected.shape), -1
    ignored = 0
    for first, ours, theirs in _cut_slabs(predicted, expected):
        words = _as_words(ours), _as_words(theirs)
        ignored += survey_kernels.survey_rows(ours, theirs, words, table, ignore, first, joint, bounds)
    boxes = {number: _as_box(bounds[number], turned) for number in range(1, count + 1)}
    return Survey(joint, boxes, expected.size - ignored)


def _as_words(array: NDArray[Any]) -> NDArray[np.uint64]:
    flat = array.reshape(-1).view(np.uint8)
    return flat[: flat.size // 8 * 8].view(np.uint64)


def _as_box(bounds: NDArray[np.int64], turned: bool) -> Box | None:
    spans = [slice(int(low), int(high) + 1) for low, high in bounds.reshape(3, 2)]
    if spans[0].stop <= spans[0].start:
        return None
    return tuple(reversed(spans)) if turned else tuple(spans)


def _cut_slabs(predicted: NDArray[Any], expected: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
    """Pieces of both maps of one type, in memory row by row: the whole maps where they are so already."""
    direct = predicted.dtype == expected.dtype and expected.dtype in (np.bool_, np.uint8, np.uint16)
    if direct and predicted.flags.c_contiguous and expected.flags.c_contiguous:
        kind = np.uint16 if expected.dtype == np.uint16 else np.uint8
        yield 0, predicted.view(kind), expected.view(kind)
        return
    rows = max(1, SLAB_VOXELS // max(1, expected[:1].size))
    for first in range(0, expected.shape[0], rows):
        ours, theirs = (_copy_slab(array[first : first + rows]) for array in (predicted, expected))
        yield first, ours, theirs


def _copy_slab(array: NDArray[Any]) -> NDArray[np.uint32]:
    """In place of values that no scheme takes, one that stands for all of them."""
    clipped = array if array.dtype.itemsize <= 2 else np.minimum(array, LARGEST_VALUE + 1)
    return np.ascontiguousarray(clipped, dtype=np.uint32)
