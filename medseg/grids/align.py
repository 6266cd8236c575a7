"""Bringing an image onto another grid of the same world space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
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
# Axes that drift apart by less than this over the whole grid run along one another.
_STRAIGHT_VOXELS = 1e-4


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
    # Channel by channel in files' memory order, i fastest, as the arrays come: (k, j, i) in C order.
    target = np.empty((len(volume.array), *like.shape[::-1]), np.float32).transpose(0, 3, 2, 1)
    order = _find_straight_axes(matrix, like.shape)
    fill = _fill_obliquely if order is None else partial(_fill_straight, order=order)
    inside = [fill(values, matrix, target[channel]) for channel, values in enumerate(volume.array)]
    if not min(inside):
        raise GeometryError(
            f"the grids ({volume.geometry.describe()} and {like.describe()}) do not overlap anywhere",
            code="no_overlap",
            remedy="Use images of one world space",
        )
    return Volume(target, like, volume.channels)


def _find_straight_axes(matrix: NDArray[np.float64], shape: tuple[int, ...]) -> list[int] | None:
    # The source axis that each target axis runs along; None where the grids are turned against one another.
    reach = np.abs(matrix[:3, :3]) * np.maximum(np.array(shape) - 1, 1)
    order = reach.argmax(axis=0).tolist()
    if sorted(order) != [0, 1, 2]:
        return None
    reach[order, [0, 1, 2]] = 0
    return order if reach.sum(axis=1).max() < _STRAIGHT_VOXELS else None


def _fill_straight(
    values: NDArray[Any], matrix: NDArray[np.float64], target: NDArray[np.float32], *, order: Sequence[int]
) -> int:
    # Linear interpolation is one axis after another; those that shrink the array come first.
    array = _as_float(values).transpose(order).T
    beyond = []
    axes = [(target.shape[axis] / values.shape[order[axis]], axis) for axis in range(3)]
    for _, axis in sorted(axes):
        source = order[axis]
        place = np.arange(target.shape[axis]) * matrix[source, axis] + matrix[source, 3]
        beyond.append((2 - axis, _is_outside(place, values.shape[source])))
        array = _interpolate(array, place, 2 - axis)
    turned = target.T
    turned[...] = array
    for axis, outside in beyond:
        np.moveaxis(turned, axis, 0)[outside] = values.min()
    return int(np.prod([np.count_nonzero(~outside) for _, outside in beyond]))


def _interpolate(array: NDArray[Any], place: NDArray[np.float64], axis: int) -> NDArray[Any]:
    last = array.shape[axis] - 1
    place = place.clip(0, last)
    low = np.minimum(place.astype(np.int64), max(last - 1, 0))
    share = (place - low).astype(array.dtype).reshape([-1 if other == axis else 1 for other in range(3)])
    left = np.take(array, low, axis)
    right: NDArray[Any] = np.take(array, np.minimum(low + 1, last), axis)
    right -= left
    right *= share
    right += left
    return right


def _fill_obliquely(values: NDArray[Any], matrix: NDArray[np.float64], target: NDArray[np.float32]) -> int:
    # In (k, j, i), some planes at a time, so that the coordinates never take more memory than the image.
    turn, offset = matrix[2::-1, 2::-1], matrix[2::-1, 3]
    array, whole = _as_float(values).T, target.T
    lowest = float(values.min())
    planes = max(1, _SLAB_VOXELS // (whole.shape[1] * whole.shape[2]))
    inside = 0
    for start in range(0, whole.shape[0], planes):
        slab = whole[start : start + planes]
        inside += _fill_slab(array, turn, offset + turn[:, 0] * start, slab, lowest)
    return inside


def _fill_slab(
    array: NDArray[Any],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    slab: NDArray[np.float32],
    lowest: float,
) -> int:
    from scipy.ndimage import affine_transform  # type: ignore[attr-defined]  # re-exported at run time

    outside = np.zeros(slab.shape, bool)
    k, j, i = np.ogrid[tuple(slice(n) for n in slab.shape)]
    for axis, size in enumerate(array.shape):
        outside |= _is_outside(matrix[axis, 0] * k + matrix[axis, 1] * j + matrix[axis, 2] * i + offset[axis], size)
    affine_transform(array, matrix, offset, slab.shape, output=slab, order=1, mode="nearest", prefilter=False)
    slab[outside] = lowest
    return int(outside.size - np.count_nonzero(outside))


def _is_outside(place: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    # Up to half a voxel beyond the last centre the edge voxel holds; beyond that there is no image.
    return np.asarray((place < -_EDGE_VOXELS) | (place > size - 1 + _EDGE_VOXELS))


def _as_float(values: NDArray[Any]) -> NDArray[Any]:
    # Double where float32 would not hold every value of an integer type.
    exact = values.dtype.kind == "f" or values.dtype.itemsize <= 2
    return values.astype(np.float32 if exact else np.float64, copy=False)
