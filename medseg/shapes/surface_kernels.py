"""The compiled loops of surface distances; importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.loops import compile_loop

Array = NDArray[Any]


@compile_loop
def encode_cubes(inside: Array, codes: Array, start: Array) -> int:
    """Write the code of each cube of eight voxels into ``codes`` from ``start`` on; 0 where no surface runs through.

    Args:
        inside: the mask with a margin of one voxel, (i + 2, j + 2, k + 2), bool.
        codes: (a, b, c), uint8, zeros; cube (i, j, k) is written at (i, j, k) + start.
        start: (3,).
    Returns:
        how many cubes a surface runs through.
    """
    count = 0
    for i in range(inside.shape[0] - 1):
        for j in range(inside.shape[1] - 1):
            before = 0
            for k in range(inside.shape[2]):
                column = inside[i, j, k] | inside[i, j + 1, k] << 1
                column |= inside[i + 1, j, k] << 2 | inside[i + 1, j + 1, k] << 3
                code = before | column << 4
                if k > 0 and code != 0 and code != 255:
                    codes[start[0] + i, start[1] + j, start[2] + k - 1] = code
                    count += 1
                before = column
    return count


@compile_loop
def mark_border(inside: Array, codes: Array, start: Array) -> int:
    """Write 1 into ``codes`` from ``start`` on for each voxel of a mask with a neighbour outside, by face.

    Args:
        inside: the mask with a margin of one voxel, (i + 2, j + 2, k + 2), bool.
        codes: (a, b, c), uint8, zeros; voxel (i, j, k) is written at (i, j, k) + start.
        start: (3,).
    Returns:
        how many voxels those are.
    """
    count = 0
    for i in range(1, inside.shape[0] - 1):
        for j in range(1, inside.shape[1] - 1):
            for k in range(1, inside.shape[2] - 1):
                if inside[i, j, k] and not (
                    inside[i - 1, j, k]
                    and inside[i + 1, j, k]
                    and inside[i, j - 1, k]
                    and inside[i, j + 1, k]
                    and inside[i, j, k - 1]
                    and inside[i, j, k + 1]
                ):
                    codes[start[0] + i - 1, start[1] + j - 1, start[2] + k - 1] = 1
                    count += 1
    return count


@compile_loop
def list_cubes(codes: Array, places: Array, found: Array) -> None:
    """Collect where ``codes`` (flat) is not 0 and the code there."""
    number = 0
    for place in range(codes.size):
        if codes[place] != 0:
            places[number] = place
            found[number] = codes[place]
            number += 1


@compile_loop
def search_nearest(places: Array, codes: Array, steps: Array, lengths_mm: Array, distances_mm: Array) -> int:
    """The distance from each place to the nearest surface cube, looked for step by step from near to far.

    Args:
        places: where to start from, indices into ``codes``; no step leads out of ``codes`` from there.
        codes: flat; not 0 on the surface looked for.
        steps: differences of index, sorted by their length.
        lengths_mm: the steps' lengths, millimetres.
        distances_mm: written: the distance, infinite where no step leads to the surface.
    Returns:
        how many places found nothing.
    """
    missed = 0
    for number in range(places.size):
        distances_mm[number] = np.inf
        for step in range(steps.size):
            if codes[places[number] + steps[step]] != 0:
                distances_mm[number] = lengths_mm[step]
                break
        else:
            missed += 1
    return missed
