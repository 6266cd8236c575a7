"""A mask's slices as smooth contours that keep each outline's area."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom.contour_lines import Points, measure_area, trace_slice
from medseg.shapes.contours import trace_outline

# Taubin, "A signal processing approach to fair surface design", SIGGRAPH 1995: a step inwards and a slightly larger one
# outwards smooth steps of voxels without shrinking what is larger.
SHRINK, SWELL, ROUNDS = 0.5, -0.53, 6
_AREA_ROUNDS = 8


def trace_smooth(mask: NDArray[Any]) -> list[Points]:
    """Smooth contours of one slice.

    Args:
        mask: (i, j), true inside.
    Returns:
        polygons as ``contour_lines.trace_exact`` gives them, but that their lines run across the steps between voxels;
        each outline holds the area of its voxels. Empty for an empty mask.
    """
    return trace_slice(mask, _trace_rings)


def _trace_rings(mask: NDArray[Any]) -> list[Points]:
    rings = (_smooth_ring(line[:-1]) for line in trace_outline(mask))
    return [np.concatenate([ring, ring[:1]]) for ring in rings]


def _smooth_ring(corners: Points) -> Points:
    """The outline through the middles of voxel edges, its steps smoothed, its area that of the corners' polygon."""
    area = measure_area(corners)
    ring = _list_edge_middles(corners)
    for _ in range(ROUNDS if len(ring) > 4 else 0):  # a single voxel has no steps
        for share in (SHRINK, SWELL):
            ring = ring + share * ((np.roll(ring, 1, axis=0) + np.roll(ring, -1, axis=0)) / 2 - ring)
    for _ in range(_AREA_ROUNDS):
        along = np.roll(ring, -1, axis=0) - np.roll(ring, 1, axis=0)
        length = np.hypot(*along.T)[:, None]
        # Away from the inside, which lies to the left.
        outwards = np.stack([along[:, 1], -along[:, 0]], axis=1) / np.where(length == 0, 1.0, length)
        sides = np.hypot(*(np.roll(ring, -1, axis=0) - ring).T).sum()
        ring = ring + outwards * (area - measure_area(ring)) / sides
    return np.asarray(ring)


def _list_edge_middles(corners: Points) -> Points:
    """The middle of each voxel edge along a polygon of corners."""
    steps = np.roll(corners, -1, axis=0) - corners
    counts = np.abs(steps).sum(axis=1).astype(np.intp)
    number = np.repeat(np.arange(len(corners)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(corners[number] + np.sign(steps[number]) * (place + 0.5)[:, None])
