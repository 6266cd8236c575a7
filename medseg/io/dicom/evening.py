"""Planes that are no upright, even grid resampled onto one: leaning piles straightened, distances evened out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.io.dicom.stacking import Stack, build_geometry, place_of
from medseg.io.guard import check_room

# Filling a series must not make most of it up.
MOST_PLANES_PER_PLANE = 4


def straighten(
    array: NDArray[Any], stack: Stack
) -> tuple[NDArray[np.float32], NDArray[np.float64], tuple[float, float]]:
    """Planes moved sideways onto one upright pile, by linear interpolation within each plane.

    Args:
        array: real values, (i, j, k), as many planes as the stack has.
        stack: which says how far sideways each plane lies.
    Returns:
        the values, (i, j, k), larger along i and j so that nothing is cut, what no plane covers at the lowest value;
        where the first voxel lies, in millimetres along a row and down the rows from the first plane's first voxel; and
        the share of voxels that no plane covers and the largest move in voxels.
    """
    offsets = stack.offsets_mm / np.asarray(stack.pixel_mm)  # in voxels
    low, high = np.floor(offsets.min(axis=0)).astype(int), np.ceil(offsets.max(axis=0)).astype(int)
    columns, rows, count = array.shape
    wide, tall = columns + int(high[0] - low[0]), rows + int(high[1] - low[1])
    check_room(4 * wide * tall * count, stack.planes[0].path)
    # Each plane contiguous, rows of the picture first, as the files have them.
    target = np.full((count, tall, wide), array.min(), np.float32)
    for index in range(count):
        plane = np.asarray(array[:, :, index].T, np.float32)
        for axis in (0, 1):
            plane = _move(
                plane, float(offsets[index, 1 - axis] - low[1 - axis]), (tall, wide)[axis], axis, target[0, 0, 0]
            )
        target[index] = plane
    uncovered = 1 - columns * rows / (wide * tall)
    origin_mm = low * np.asarray(stack.pixel_mm)
    return target.transpose(2, 1, 0), origin_mm, (uncovered, float(np.abs(offsets).max()))


def _move(plane: NDArray[np.float32], by: float, length: int, axis: int, fill: np.float32) -> NDArray[np.float32]:
    """A plane of ``length`` along an axis whose content begins at the place ``by``, in voxels, at least 0."""
    whole = int(np.floor(by))
    share = np.float32(by - whole)
    shape = list(plane.shape)
    shape[axis] = length
    moved = np.full(shape, fill, np.float32)
    count = plane.shape[axis]
    if share == 0:
        moved[_along(axis, whole, whole + count)] = plane
        return moved
    # Between two voxels each takes its share; at the rim the nearest one stands alone.
    edge_low, edge_high = plane[_along(axis, 0, 1)], plane[_along(axis, count - 1, count)]
    before = np.concatenate([edge_low, plane], axis)
    after = np.concatenate([plane, edge_high], axis)
    moved[_along(axis, whole, whole + count + 1)] = after + share * (before - after)
    return moved


def _along(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    return (slice(start, stop),) if axis == 0 else (slice(None), slice(start, stop))


def even_out(array: NDArray[Any], stack: Stack) -> tuple[NDArray[np.float32], float]:
    """Planes at uneven distances brought onto even ones, by linear interpolation between the two planes around.

    Args:
        array: real values, (i, j, k), as many planes as the stack has.
        stack: with no two planes at one place.
    Returns:
        the values, (i, j, k), first and last plane where they were; and the distance between planes in millimetres.
    Raises:
        GeometryError: most of the planes would be made up.
    """
    distances = stack.distances_mm
    count = round(float(distances[-1]) / stack.step_mm) + 1
    if count > MOST_PLANES_PER_PLANE * len(distances):
        raise GeometryError(
            f"{count} planes would be made of {len(distances)}, expected at most {MOST_PLANES_PER_PLANE} of each",
            code="gap_too_wide",
            file=stack.planes[0].path,
            remedy="Fetch the series again, or divide it at its gap",
        )
    columns, rows, _ = array.shape
    check_room(4 * columns * rows * count, stack.planes[0].path)
    target = np.empty((count, rows, columns), np.float32)
    for index, place in enumerate(np.linspace(0, distances[-1], count)):
        after = min(max(int(np.searchsorted(distances, place)), 1), len(distances) - 1)
        share = (place - distances[after - 1]) / (distances[after] - distances[after - 1])
        before = array[:, :, after - 1].T.astype(np.float32)
        target[index] = before + share * (array[:, :, after].T - before)
    return target.transpose(2, 1, 0), float(distances[-1]) / (count - 1)


def place_evenly(shape: tuple[int, int, int], stack: Stack, step_mm: float, origin_mm: NDArray[np.float64]) -> Geometry:
    """The grid of a stack that was resampled.

    Args:
        shape: voxels along i, j, k.
        stack: that it was.
        step_mm: between its planes now.
        origin_mm: of the first voxel, along a row and down the rows, from the first plane's first voxel.
    Returns:
        the geometry in RAS+, at right angles.
    """
    along, down, normal = stack.axes
    columns_mm, rows_mm = stack.pixel_mm
    origin = np.asarray(place_of(stack.planes[0]).position_mm) + origin_mm[0] * along + origin_mm[1] * down
    return build_geometry(shape, np.stack([along * columns_mm, down * rows_mm, normal * step_mm]), origin)
