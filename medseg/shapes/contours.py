"""Outlines of a mask's slices, along the edges of its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Steps from corner to corner, each a left turn from the one before: +i, +j, -i, -j.
_STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
# At a corner where two pixels touch diagonally the outline turns right, which joins them, as in 8-neighbour components.
_TURNS = (3, 0, 1)


def trace_outline(mask: NDArray[Any]) -> list[NDArray[np.float64]]:
    """The outline of a 2D mask as closed polylines along pixel edges.

    Args:
        mask: one slice, (i, j), true or not zero inside.
    Returns:
        a polyline per outer border and per hole, each (point, 2) in index coordinates with pixel centres at whole
        numbers (corners lie at halves); only corners are listed and the last point repeats the first. The inside lies
        to the left of the direction of travel (taking i to the right and j up), so that the signed area is positive
        for borders and negative for holes, and the areas of all polylines add up to the number of pixels. Pixels that
        touch diagonally are joined. Empty for an empty mask.
    """
    origins, directions, following = _link_edges(np.asarray(mask, dtype=bool))
    turning = directions[following] != directions
    outlines = []
    left = np.ones(len(origins), bool)
    successor = following.tolist()
    for first in range(len(origins)):
        if not left[first]:
            continue
        loop = [first]
        while (edge := successor[loop[-1]]) != first:
            loop.append(edge)
        left[loop] = False
        edges = np.array(loop)
        corners = origins[following[edges[turning[edges]]]] - 0.5
        outlines.append(np.concatenate([corners, corners[:1]]))
    return outlines


def _link_edges(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    # The directed edges between inside and outside: where each begins (corner c lies at index c - 0.5), which step
    # it takes, and which edge follows it.
    padded = np.pad(mask, 1)
    inside, before_i, before_j = padded[1:, 1:], padded[:-1, 1:], padded[1:, :-1]
    # The outside lies at lower j (travel +i), higher i (+j), higher j (-i), lower i (-j).
    places = (inside & ~before_j, before_i & ~inside, before_j & ~inside, inside & ~before_i)
    starts = ((0, 0), (0, 0), (1, 0), (0, 1))
    origins = np.concatenate([np.argwhere(place) + start for place, start in zip(places, starts, strict=True)])
    directions = np.repeat(np.arange(4), [np.count_nonzero(place) for place in places])
    table = np.full((4, *(n + 1 for n in mask.shape)), -1, np.intp)
    table[directions, origins[:, 0], origins[:, 1]] = np.arange(len(origins))
    ends = origins + _STEPS[directions]
    following = np.full(len(origins), -1, np.intp)
    for turn in _TURNS:
        candidate = table[(directions + turn) % 4, ends[:, 0], ends[:, 1]]
        following = np.where(following < 0, candidate, following)
    return origins, directions, following
