"""Diameters of lesions with their end points: in space, and in one axial slice with the perpendicular one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.shapes.boxes import bound_mask
from medseg.shapes.contours import trace_outline

# Below this many points comparing all pairs is quicker than building their convex hull.
_FEW_POINTS = 60
# Pairs compared at once: bounds the temporary arrays to a few megabytes.
_CHUNK_PAIRS = 500_000


@dataclass(frozen=True, eq=False)
class AxialDiameter:
    """The longest diameter in any axial slice, and the longest at a right angle to it in the same slice.

    Args:
        axis: the index axis that the slices are stacked along: 0, 1 or 2.
        slice: the slice's index along that axis.
        ends_index: the two end points in index coordinates (fractions: pixel corners), (2, 3).
        ends_mm: the same in RAS+ millimetres, (2, 3).
        length_mm: their distance.
        perpendicular_ends_index, perpendicular_ends_mm, perpendicular_mm: the same for the perpendicular diameter.
    """

    axis: int
    slice: int
    ends_index: NDArray[np.float64]
    ends_mm: NDArray[np.float64]
    length_mm: float
    perpendicular_ends_index: NDArray[np.float64]
    perpendicular_ends_mm: NDArray[np.float64]
    perpendicular_mm: float


def find_longest_diameter(points: NDArray[Any]) -> NDArray[np.float64]:
    """The two points of a set that lie farthest apart.

    Args:
        points: (point, 2 or 3), millimetres; at least one.
    Returns:
        the end points, (2, 2 or 3); the same point twice where there is one only.
    """
    ends = np.asarray(points, dtype=np.float64)
    ends = _drop_near_points(_keep_hull(ends))
    best, found = -1.0, (0, 0)
    rows = max(1, _CHUNK_PAIRS // len(ends))
    for start in range(0, len(ends), rows):
        squares = ((ends[start : start + rows, None] - ends) ** 2).sum(axis=-1)
        place = int(np.argmax(squares))
        if squares.flat[place] > best:
            best, found = float(squares.flat[place]), (start + place // len(ends), place % len(ends))
    return ends[list(found)]


def list_outermost_points(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The points of a mask's mesh that can be end points of its longest diameter.

    Args:
        mask: true inside, (i, j, k), not empty.
    Returns:
        the middles of outer voxel faces (the corners of the marching cubes mesh), (point, 3) in index coordinates;
        their convex hull is the mesh's.
    """
    i, j = np.nonzero(mask.any(axis=2))
    lines = mask[i, j]
    ends = np.concatenate([lines.argmax(axis=1), lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)])
    voxels = np.stack([np.tile(i, 2), np.tile(j, 2), ends], axis=1)
    for axis in (0, 1):
        # A corner of the hull is the first or last voxel of its line along every axis.
        along = np.moveaxis(mask, axis, 0)
        first = along.argmax(axis=0)
        last = len(along) - 1 - along[::-1].argmax(axis=0)
        others = tuple(voxels[:, other] for other in range(3) if other != axis)
        voxels = voxels[(voxels[:, axis] == first[others]) | (voxels[:, axis] == last[others])]
    steps = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    return (np.unique(voxels, axis=0)[:, None, :] + steps).reshape(-1, 3)


def longest_axial_diameter(
    mask: NDArray[Any], geometry: Geometry, start: Sequence[int] = (0, 0, 0)
) -> AxialDiameter | None:
    """The longest diameter of a lesion in any axial slice, and the longest at a right angle to it in that slice.

    Args:
        mask: one lesion, non-zero inside, (i, j, k); the scan's whole grid or a box of it.
        geometry: the scan's grid.
        start: the index of the mask's first voxel in the scan.
    Returns:
        the diameters between pixel corners, measured within the slice; the perpendicular one is the longest chord at a
        right angle, between the outermost points of the lesion on its line. Among equally long ones the slice with
        the largest area is taken. None for an empty mask. Slices are those along the index axis whose planes are
        closest to perpendicular to the head-foot axis (world z); an image of one slice is measured in that slice.
    Source: RECIST 1.1 (Eisenhauer et al., Eur J Cancer 2009;45:228-247), longest diameter in the axial plane; WHO 1979
        and RANO, the product with its longest perpendicular. A reader's smallest-size rules are not applied.
    """
    box = bound_mask(mask)
    if box is None:
        return None
    axis = find_axial_axis(geometry)
    slices = np.moveaxis(np.asarray(mask)[box] != 0, axis, 0)
    offset = np.array([side.start for side in box]) + start
    plane = _plane_to_mm(geometry, axis)
    longest, best, ends = -1.0, 0, np.zeros((2, 2))
    bounds, order = _bound_lengths(slices, plane)
    for n in order:
        if bounds[n] <= longest * (1 + 1e-12):
            break
        found = find_longest_diameter(_list_corners(slices[n]) @ plane.T)
        length = float(np.linalg.norm(found[1] - found[0]))
        if length > longest * (1 + 1e-12):
            longest, best, ends = length, int(n), found
    across = _find_perpendicular(slices[best], plane, ends)

    def to_index(points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = points_mm @ np.linalg.inv(plane).T
        return np.insert(inside, axis, best, axis=1) + offset

    ends_index = np.round(to_index(ends) * 2) / 2  # pixel corners, without the rounding of the way there and back
    across_index = to_index(across)
    return AxialDiameter(
        axis=axis,
        slice=best + int(offset[axis]),
        ends_index=ends_index,
        ends_mm=geometry.to_world(ends_index),
        length_mm=longest,
        perpendicular_ends_index=across_index,
        perpendicular_ends_mm=geometry.to_world(across_index),
        perpendicular_mm=float(np.linalg.norm(across[1] - across[0])),
    )


def find_axial_axis(geometry: Geometry) -> int:
    """The index axis along which axial slices are stacked; for an image of one slice, the axis across it."""
    single = [axis for axis, length in enumerate(geometry.shape) if length == 1]
    if len(single) == 1:
        return single[0]
    # Row a of the inverse is the normal of the planes of constant index a.
    normals = np.linalg.inv(geometry.affine[:3, :3])
    return int(np.argmax(np.abs(normals[:, 2]) / np.linalg.norm(normals, axis=1)))


def _plane_to_mm(geometry: Geometry, axis: int) -> NDArray[np.float64]:
    # From the two index axes of a slice to right-angled millimetres within it (2, 2), sheared grids included.
    columns = np.delete(geometry.affine[:3, :3], axis, axis=1)
    return np.linalg.qr(columns)[1]


def _bound_lengths(
    slices: NDArray[np.bool_], plane: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    # For each slice the diagonal of the box around its pixels, which no diameter exceeds; and the order to look at
    # them: longest bound first, then largest area.
    spans = []
    for axis in (2, 1):
        lines = np.asarray(slices.any(axis=axis))
        spans.append(lines.shape[1] - lines[:, ::-1].argmax(axis=1) - lines.argmax(axis=1))
    first, second = spans[0][:, None] * plane[:, 0], spans[1][:, None] * plane[:, 1]
    diagonals = np.maximum(np.linalg.norm(first + second, axis=1), np.linalg.norm(first - second, axis=1))
    areas = slices.sum(axis=(1, 2))
    bounds = np.where(areas > 0, diagonals * (1 + 1e-9), -1.0)
    return bounds, np.lexsort((-areas, -bounds))


def _list_corners(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    # The outer corners of the first and last pixel of each row: all that a longest diameter can end at.
    rows = np.flatnonzero(inside.any(axis=1))
    first = inside[rows].argmax(axis=1) - 0.5
    last = inside.shape[1] - inside[rows, ::-1].argmax(axis=1) - 0.5
    return np.concatenate([np.stack([rows + step, side], axis=1) for step in (-0.5, 0.5) for side in (first, last)])


def _find_perpendicular(
    inside: NDArray[np.bool_], plane: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    # The longest chord at a right angle to the diameter, (2, 2) in the slice's millimetres.
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    frame = np.array([along, [-along[1], along[0]]])
    outlines = [outline @ plane.T @ frame.T for outline in trace_outline(inside)]
    starts = np.concatenate([outline[:-1] for outline in outlines])
    stops = np.concatenate([outline[1:] for outline in outlines])
    best, found = -1.0, np.zeros((2, 2))
    for x, low, high in _cut_outline(starts, stops):
        n = int(np.argmax(high - low))
        if high[n] - low[n] > best:
            best, found = float(high[n] - low[n]), np.array([[x[n], low[n]], [x[n], high[n]]])
    return np.asarray(found @ frame)


def _cut_outline(
    starts: NDArray[np.float64], stops: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    # Where lines x = constant through each corner enter and leave the outline: (x, lowest y, highest y). Between two
    # corners the distance changes linearly, so that the longest chord passes through a corner.
    positions = np.unique(starts[:, 0])
    rise = stops[:, 0] - starts[:, 0]
    upright = np.abs(rise) < 1e-12
    slope = np.where(upright, 0.0, (stops[:, 1] - starts[:, 1]) / np.where(upright, 1.0, rise))
    left, right = np.minimum(starts[:, 0], stops[:, 0]), np.maximum(starts[:, 0], stops[:, 0])
    rows = max(1, _CHUNK_PAIRS // len(starts))
    for begin in range(0, len(positions), rows):
        x = positions[begin : begin + rows]
        met = (x[:, None] >= left) & (x[:, None] <= right)
        y = starts[:, 1] + slope * (x[:, None] - starts[:, 0])
        # An upright edge lies on its line as a whole: its neighbours bring in its other end.
        yield x, np.where(met, y, np.inf).min(axis=1), np.where(met, y, -np.inf).max(axis=1)


def _keep_hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(points) <= _FEW_POINTS:
        return points
    from scipy.spatial import ConvexHull, QhullError

    try:
        return np.asarray(points[np.sort(ConvexHull(points).vertices)])
    except QhullError:  # all points on one line or in one plane: there is no hull, and none is needed
        return points


def _drop_near_points(points: NDArray[np.float64]) -> NDArray[np.float64]:
    # With r the distance from the middle and L the length of some diameter, a longer one ends only at points of
    # r >= L - max(r).
    reach = np.linalg.norm(points - (points.min(axis=0) + points.max(axis=0)) / 2, axis=1)
    first = points[np.argmax(reach)]
    second = points[np.argmax(np.linalg.norm(points - first, axis=1))]
    shortest = np.linalg.norm(points - second, axis=1).max()
    return np.asarray(points[reach >= shortest - reach.max() - 1e-9])
