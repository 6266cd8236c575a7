"""A mask's slices as the closed contours of an RTSTRUCT: along voxel edges, holes joined to their border."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.shapes.boxes import bound_mask
from medseg.shapes.contours import trace_outline

Points = NDArray[np.float64]
# Contour Data is a list of decimal strings. Its length has 16 bits in explicit encoding (PS3.5, 7.1.2), and a number
# takes at most 16 letters and a separator (PS3.5, 6.2), so that so many points fit whichever way an archive stores it.
MOST_POINTS = 65534 // (3 * 17)
_MOST_JOINED_POINTS = 16 * MOST_POINTS


def trace_exact(mask: NDArray[Any]) -> list[Points]:
    """Contours along the voxel edges of one slice.

    Args:
        mask: (i, j), true inside.
    Returns:
        polygons, (point, 2), index coordinates with voxels' middles at whole numbers, the last point joined to the
        first. Each voxel's middle inside the mask lies in an odd number of them and every other in an even one, and
        their areas add up to the number of voxels. A hole is joined to its border by a line there and back along voxel
        edges. None has more than ``MOST_POINTS``. Empty for an empty mask.
    """
    return trace_slice(mask, trace_outline)


def trace_slice(mask: NDArray[Any], trace: Callable[[NDArray[Any]], Sequence[Points]]) -> list[Points]:
    """The contours of one slice, none too long for DICOM: a slice that gives one is traced in two halves.

    Args:
        mask: (i, j), true inside.
        trace: gives closed polylines in index coordinates, the last point repeating the first; they may not cross.
    Returns:
        as ``trace_exact``.
    """
    box = bound_mask(mask)
    if box is None:
        return []
    inside = np.asarray(mask[box], dtype=bool)
    rings = [line[:-1] for line in trace(inside)]
    # Noise is not worth being joined first.
    polygons = join_holes(rings) if sum(map(len, rings)) <= _MOST_JOINED_POINTS else []
    if not polygons or max(map(len, polygons)) > MOST_POINTS:
        axis = int(np.argmax(inside.shape))
        middle = inside.shape[axis] // 2
        along = np.arange(inside.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
        polygons = [part for half in (along < middle, along >= middle) for part in trace_slice(inside & half, trace)]
    return [polygon + [span.start for span in box] for polygon in polygons]


def join_holes(rings: Sequence[Points]) -> list[Points]:
    """Polygons with holes as polygons without: each hole is joined to what lies at lower i by a line there and back.

    Args:
        rings: of borders and holes, (point, 2), the last point joined to the first; the inside lies to the left of the
            direction of travel, so that borders have a positive area and holes a negative one. They do not cross.
    Returns:
        a polygon per border, in the order of the borders; even-odd filling gives the same as that of all rings.
    """
    areas = [measure_area(ring) for ring in rings]
    borders = [number for number, area in enumerate(areas) if area > 0]
    holes = [number for number, area in enumerate(areas) if area < 0]
    if not holes:
        return [rings[number] for number in borders]
    corners = {number: _find_leftmost(rings[number]) for number in holes}
    # What lies to the left of a hole's leftmost corner is a border, or a hole that lies farther left.
    holes.sort(key=lambda number: tuple(rings[number][corners[number]]))
    rank = np.full(len(rings), -1)
    rank[holes] = np.arange(len(holes))
    edges = _Edges(rings)
    joints: dict[tuple[int, int], list[tuple[float, float, int]]] = defaultdict(list)
    for hole in holes:
        corner = rings[hole][corners[hole]]
        found = edges.look_left(corner, rank, int(rank[hole]))
        if found is None:  # only where rings cross, against what this function asks for
            borders.append(hole)
            continue
        ring, edge, meeting = found
        along = float(np.abs(rings[ring][edge] - (meeting, corner[1])).sum())
        joints[ring, edge].append((along, meeting, hole))
    return [_walk_joined(rings, number, corners, joints) for number in borders]


def _walk_joined(
    rings: Sequence[Points],
    border: int,
    corners: dict[int, int],
    joints: dict[tuple[int, int], list[tuple[float, float, int]]],
) -> Points:
    """One polygon: along the border, into each hole where it is joined, around it, and back."""
    points: list[tuple[float, float]] = []
    # What is still to be walked, the next one last: a point, or an edge's start with the holes that follow it.
    ahead: list[tuple[float, float] | tuple[int, int, int]] = [(border, 0, len(rings[border]))]
    while ahead:
        step = ahead.pop()
        if len(step) == 2:
            points.append(step)
            continue
        ring, place, left = step
        if not left:
            continue
        i, j = rings[ring][place].tolist()
        points.append((i, j))
        ahead.append((ring, (place + 1) % len(rings[ring]), left - 1))
        for _, meeting, hole in sorted(joints.get((ring, place), []), reverse=True):
            first = corners[hole]
            corner_i, corner_j = rings[hole][first].tolist()
            ahead += [(meeting, corner_j), (corner_i, corner_j), (hole, first, len(rings[hole])), (meeting, corner_j)]
    polygon = np.array(points)
    return polygon[np.any(polygon != np.roll(polygon, 1, axis=0), axis=1)]


class _Edges:
    """The edges of rings, so that those at one j are found at once."""

    def __init__(self, rings: Sequence[Points]) -> None:
        self.ring = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
        self.place = np.concatenate([np.arange(len(ring)) for ring in rings])
        self.start = np.concatenate(rings)
        self.end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
        self.low = np.minimum(self.start[:, 1], self.end[:, 1])
        self.high = np.maximum(self.start[:, 1], self.end[:, 1])
        # Each edge stands in the list of every whole j that it reaches.
        self.first_row = int(np.floor(self.low.min()))
        below = np.floor(self.low).astype(np.intp) - self.first_row
        counts = np.floor(self.high).astype(np.intp) - self.first_row - below + 1
        edge = np.repeat(np.arange(len(self.ring)), counts)
        row = np.repeat(below - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        order = np.argsort(row, kind="stable")
        self.by_row = edge[order]
        self.row_starts = np.searchsorted(row[order], np.arange(row.max() + 2))

    def look_left(self, corner: Points, rank: NDArray[np.intp], own: int) -> tuple[int, int, float] | None:
        """Ring, edge and i that a look from a corner towards lower i meets first, among rings of lower rank."""
        at_i, at_j = corner.tolist()
        row = int(np.floor(at_j)) - self.first_row
        edges = self.by_row[self.row_starts[row] : self.row_starts[row + 1]]
        edges = edges[(rank[self.ring[edges]] < own) & (self.low[edges] <= at_j) & (at_j <= self.high[edges])]
        if not edges.size:
            return None
        (start_i, start_j), (end_i, end_j) = self.start[edges].T, self.end[edges].T
        flat = start_j == end_j
        share = np.where(flat, 0.0, (at_j - start_j) / np.where(flat, 1.0, end_j - start_j))
        # Of an edge along i: the place nearest to the corner, or the end beyond it, which does not count.
        nearest = np.maximum(np.minimum(start_i, end_i), np.minimum(np.maximum(start_i, end_i), at_i))
        meeting = np.where(flat, nearest, start_i + share * (end_i - start_i))
        meeting[meeting > at_i] = -np.inf
        best = int(np.argmax(meeting))
        if meeting[best] == -np.inf:
            return None
        return int(self.ring[edges[best]]), int(self.place[edges[best]]), float(meeting[best])


def measure_area(ring: Points) -> float:
    """The signed area of a polygon, (point, 2), the last point joined to the first."""
    i, j = ring.T
    return float(np.dot(i, np.roll(j, -1)) - np.dot(j, np.roll(i, -1))) / 2


def _find_leftmost(ring: Points) -> int:
    return int(np.lexsort((ring[:, 1], ring[:, 0]))[0])
