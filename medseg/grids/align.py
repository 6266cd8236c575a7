"""Bringing an image onto another grid of the same world space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume

_SLAB_VOXELS = 1 << 22
# Voxel centres that coincide up to rounding count as inside the edge voxel.
_EDGE_VOXELS = 0.5 + 1e-6


class AxisOrder(NamedTuple):
    """How to turn the axes of an array: ``array.transpose(order)``, then flip the axes in ``flipped``."""

    order: tuple[int, int, int]
    flipped: tuple[int, ...]


def find_axis_order(geometry: Geometry, like: Geometry) -> AxisOrder | None:
    """The reordering and flips of axes after which a grid is another one.

    Args:
        geometry: the grid to turn.
        like: the grid to reach.
    Returns:
        how to turn an array (i, j, k) on ``geometry``; None where no turning makes the grids equal.
    """
    for order in permutations(range(3)):
        if tuple(geometry.shape[axis] for axis in order) != like.shape:
            continue
        for flips in product((False, True), repeat=3):
            turn = AxisOrder((order[0], order[1], order[2]), tuple(axis for axis in range(3) if flips[axis]))
            if _turn_geometry(geometry, turn).same_grid(like):
                return turn
    return None


def turn_axes(array: NDArray[Any], turn: AxisOrder) -> NDArray[Any]:
    """A view of ``array``, (..., i, j, k), with its last three axes reordered and flipped."""
    lead = array.ndim - 3
    turned = array.transpose(*range(lead), *(lead + axis for axis in turn.order))
    flipped: NDArray[Any] = np.flip(turned, tuple(lead + axis for axis in turn.flipped))
    return flipped


def _turn_geometry(geometry: Geometry, turn: AxisOrder) -> Geometry:
    affine = geometry.affine[:, [*turn.order, 3]]
    shape = tuple(geometry.shape[axis] for axis in turn.order)
    for axis in turn.flipped:
        affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
        affine[:3, axis] *= -1
    return Geometry((shape[0], shape[1], shape[2]), affine)


def align_volume(volume: Volume, like: Geometry) -> Volume:
    """An image on another grid of the same world space.

    Args:
        volume: the image.
        like: the grid to bring it onto.
    Returns:
        the image on ``like``: unchanged values where the grids are equal or differ in the order and direction of axes
        alone; otherwise float32 by linear interpolation, and each channel's minimum where ``like`` reaches beyond the
        image's voxels.
    Raises:
        GeometryError: no voxel of ``like`` lies inside the image.
    """
    if volume.geometry.same_grid(like):
        return Volume(volume.array, like, volume.channels)
    turn = find_axis_order(volume.geometry, like)
    if turn is not None:
        return Volume(turn_axes(volume.array, turn), like, volume.channels)
    matrix = np.linalg.inv(volume.geometry.affine) @ like.affine
    target = np.empty((len(volume.array), *like.shape), np.float32)
    lowest = [float(values.min()) for values in volume.array]
    inside = 0
    planes = max(1, _SLAB_VOXELS // (like.shape[1] * like.shape[2]))
    for start in range(0, like.shape[0], planes):
        stop = min(start + planes, like.shape[0])
        inside += _align_slab(volume.array, matrix, start, target[:, start:stop], lowest)
    if not inside:
        raise GeometryError(
            f"the grids ({volume.geometry.describe()} and {like.describe()}) do not overlap anywhere",
            code="no_overlap",
            remedy="Use images of one world space",
        )
    return Volume(target, like, volume.channels)


def _align_slab(
    array: NDArray[Any],
    matrix: NDArray[np.float64],
    start: int,
    target: NDArray[np.float32],
    lowest: Sequence[float],
) -> int:
    # Fills planes of the target from ``start`` on; gives how many of their voxels lie inside the image.
    from scipy.ndimage import affine_transform  # type: ignore[attr-defined]  # re-exported at run time

    offset = matrix[:3, 3] + matrix[:3, 0] * start
    shape = target.shape[1:]
    outside = _find_outside(matrix[:3, :3], offset, shape, array.shape[1:])
    for channel, values in enumerate(array):
        source = values if values.dtype.kind == "f" or values.dtype.itemsize <= 2 else values.astype(np.float64)
        # Up to half a voxel beyond the last centre the edge voxel holds; beyond that there is no image.
        affine_transform(
            source, matrix[:3, :3], offset, shape, output=target[channel], order=1, mode="nearest", prefilter=False
        )
        target[channel][outside] = lowest[channel]
    return int(outside.size - np.count_nonzero(outside))


def _find_outside(
    matrix: NDArray[np.float64], offset: NDArray[np.float64], shape: tuple[int, ...], source: tuple[int, ...]
) -> NDArray[np.bool_]:
    outside = np.zeros(shape, bool)
    i, j, k = np.ogrid[tuple(slice(n) for n in shape)]
    for axis, size in enumerate(source):
        place = matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k + offset[axis]
        outside |= (place < -_EDGE_VOXELS) | (place > size - 1 + _EDGE_VOXELS)
    return outside
