"""The compiled loop that reads two label maps; importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.loops import compile_loop

Array = NDArray[Any]


BLANK_BYTES = 4096  # looked at together; so much stays in the nearest cache


@compile_loop
def is_blank(first: Array, second: Array, start: int, stop: int) -> bool:
    """Whether two maps hold only zeros from byte ``start`` to ``stop``; False, too, where the last word is not whole.

    Args:
        first: a map as words of eight bytes.
        second: the other map.
        start: of the bytes asked for; whole words around them are looked at.
        stop: their end.
    Returns:
        True where all those words are 0.
    """
    if (stop + 7) // 8 > first.size:
        return False
    ours, theirs = first[start // 8 : (stop + 7) // 8], second[start // 8 : (stop + 7) // 8]
    bits = np.uint64(0)
    for word in range(ours.size):  # without a way out and from 0 on, so that it becomes a few wide instructions
        bits |= ours[word] | theirs[word]
    return bool(bits == 0)


@compile_loop
def survey_rows(
    predicted: Array,
    expected: Array,
    words: tuple[Array, Array],
    table: Array,
    ignore: int,
    first: int,
    joint: Array,
    boxes: Array,
) -> int:
    """Count the pairs of numbers in two label maps and bound each number's voxels, in one pass over both.

    Args:
        predicted: label values, (i, j, k), in memory in this order.
        expected: the same of the reference.
        words: both maps as words of eight bytes, without the bytes that fill no word.
        table: by value its number, 0 for values that nobody asks for.
        ignore: the value of the reference whose voxels do not count; -1 for none.
        first: the index of the first layer along i, for the boxes.
        joint: (reference's number, prediction's number), int64; counts are added.
        boxes: (number, 6), int64: first and last index along i, j, k, widened to hold what is found here.
    Returns:
        how many voxels were ignored.
    """
    ignored = 0
    may_skip = table[0] == 0 and ignore != 0
    layers, rows, length = predicted.shape
    row_bytes = length * predicted.itemsize
    together = max(1, BLANK_BYTES // max(1, row_bytes))
    for i in range(layers):
        blank_until = 0
        for j in range(rows):
            place = (i * rows + j) * row_bytes
            if may_skip and j % together == 0:
                count = min(together, rows - j)
                if is_blank(words[0], words[1], place, place + count * row_bytes):
                    joint[0, 0] += count * length
                    blank_until = j + count
            if j < blank_until:
                continue
            if may_skip and is_blank(words[0], words[1], place, place + row_bytes):
                joint[0, 0] += length
                continue
            ignored += survey_row(predicted[i, j], expected[i, j], table, ignore, joint, boxes, first + i, j)
    return ignored


@compile_loop
def survey_row(
    predicted: Array, expected: Array, table: Array, ignore: int, joint: Array, boxes: Array, i: int, j: int
) -> int:
    """``survey_rows`` of the row along k at one i and j, one stretch of equal values after another."""
    ignored = k = 0
    while k < predicted.size:
        start, value, truth = k, predicted[k], expected[k]
        k += 1
        while k < predicted.size and predicted[k] == value and expected[k] == truth:
            k += 1
        if truth == ignore:
            ignored += k - start
            continue
        joint[table[truth], table[value]] += k - start
        widen_box(boxes[table[truth]], i, j, start, k - 1)
        if value != truth:
            widen_box(boxes[table[value]], i, j, start, k - 1)
    return ignored


@compile_loop
def widen_box(box: Array, i: int, j: int, start: int, last: int) -> None:
    """Make a box, (6,), hold a stretch along k."""
    box[0], box[1] = min(box[0], i), max(box[1], i)
    box[2], box[3] = min(box[2], j), max(box[3], j)
    box[4], box[5] = min(box[4], start), max(box[5], last)
