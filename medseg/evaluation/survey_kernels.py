"""The compiled loop that reads two label maps; importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.loops import compile_loop

Array = NDArray[Any]


@compile_loop
def survey_rows(
    predicted: Array, expected: Array, table: Array, ignore: int, first: int, joint: Array, boxes: Array
) -> int:
    """Count the pairs of numbers in two label maps and bound each number's voxels, in one pass over both.

    Args:
        predicted: label values, (i, j, k), in memory in this order.
        expected: the same of the reference.
        table: by value its number, 0 for values that nobody asks for.
        ignore: the value of the reference whose voxels do not count; -1 for none.
        first: the index of the first layer along i, for the boxes.
        joint: (reference's number, prediction's number), int64; counts are added.
        boxes: (number, 6), int64: first and last index along i, j, k, widened to hold what is found here.
    Returns:
        how many voxels were ignored.
    """
    ignored = 0
    skip_blank = table[0] == 0 and ignore != 0
    length = predicted.shape[2]
    numbers = np.zeros(2, np.int64)
    for i in range(predicted.shape[0]):
        for j in range(predicted.shape[1]):
            ours, theirs = predicted[i, j], expected[i, j]
            if skip_blank:
                # Most rows of most scans hold nothing; this loop becomes a few wide instructions.
                bits = ours[0] ^ ours[0]
                for k in range(length):
                    bits |= ours[k] | theirs[k]
                if bits == 0:
                    joint[0, 0] += length
                    continue
            k = 0
            while k < length:
                start, value, truth = k, ours[k], theirs[k]
                k += 1
                while k < length and ours[k] == value and theirs[k] == truth:
                    k += 1
                if truth == ignore:
                    ignored += k - start
                    continue
                numbers[0], numbers[1] = table[truth], table[value]
                joint[numbers[0], numbers[1]] += k - start
                for number in numbers:
                    if number > 0:
                        box = boxes[number]
                        box[0], box[1] = min(box[0], first + i), max(box[1], first + i)
                        box[2], box[3] = min(box[2], j), max(box[3], j)
                        box[4], box[5] = min(box[4], start), max(box[5], k - 1)
    return ignored
