"""Distances to the border of a mask, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.compute.devices import count_cores

Result = TypeVar("Result")


def measure_distances(
    inside: NDArray[np.bool_], known: NDArray[np.bool_] | None, spacing: Sequence[float]
) -> NDArray[np.float32]:
    """The distance of each voxel to the nearest one of the other kind.

    Args:
        inside: a mask of 2 or 3 axes.
        known: where voxels are labelled; the others are of neither kind. None for everywhere.
        spacing: of the voxels along each axis; empty for 1.
    Returns:
        negative inside, positive outside, 0 where nobody labelled; all 0 where there is one kind alone.
    """
    outside = ~inside
    if known is not None:
        inside, outside = inside & known, outside & known
    if not inside.any() or not outside.any():
        return np.zeros(inside.shape, np.float32)
    distances = np.where(outside, _reach(inside, spacing), np.float32(0))
    # From inside, the nearest voxel outside is at most one beyond the mask's box, unless that one is unknown.
    box = _bound(inside) if known is None else (slice(None),) * inside.ndim
    distances[box] -= np.where(inside[box], _reach(outside[box], spacing), np.float32(0))
    return distances


def _reach(mask: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float32]:
    """The distance of each voxel to the mask."""
    from scipy import ndimage

    transform: Any = ndimage.distance_transform_edt  # type: ignore[attr-defined]  # re-exported at run time
    distances: NDArray[np.float32] = transform(~mask, sampling=tuple(spacing) or None).astype(np.float32)
    return distances


def find_nearest(mask: NDArray[np.bool_], spacing: Sequence[float]) -> tuple[NDArray[np.int32], ...]:
    """The place of the voxel of the mask that each voxel is nearest to.

    Args:
        mask: 2 or 3 axes, not empty.
        spacing: of the voxels along each axis; empty for 1.
    Returns:
        an array of indices for each axis, of the mask's shape.
    """
    from scipy import ndimage

    transform: Any = ndimage.distance_transform_edt  # type: ignore[attr-defined]  # re-exported at run time
    return tuple(transform(~mask, sampling=tuple(spacing) or None, return_distances=False, return_indices=True))


def _bound(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The box around a mask that is not empty, larger by one voxel on each side."""
    box = []
    for axis in range(mask.ndim):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(max(0, int(found[0]) - 1), int(found[-1]) + 2))
    return tuple(box)


def measure_maps(maps: Tensor, mask: Tensor | None, spacing: Sequence[float]) -> Tensor:
    """``measure_distances`` of each sample and channel, several at a time.

    Args:
        maps: (batch, channel, ...); above 0.5 is inside.
        mask: (batch, 1, ...), 1 where a voxel counts; None for all.
        spacing: of the voxels along each axis; empty for 1.
    Returns:
        distances (batch, channel, ...), float32 on the device of ``maps``, without a gradient.
    """
    inside = (maps.detach() > 0.5).cpu().numpy()
    known = None if mask is None else (mask[:, 0] > 0).cpu().numpy()

    def measure(place: tuple[int, int]) -> NDArray[np.float32]:
        return measure_distances(inside[place], None if known is None else known[place[0]], spacing)

    distances = np.stack(map_places(measure, inside.shape[:2])).reshape(inside.shape)
    return torch.from_numpy(distances).to(maps.device)


def map_places(function: Callable[[tuple[int, int]], Result], shape: Sequence[int]) -> list[Result]:
    """The results of a function of (sample, channel), sample by sample, from as many threads as there are cores."""
    places = list(product(range(shape[0]), range(shape[1])))
    with ThreadPoolExecutor(max_workers=max(1, min(count_cores(), len(places)))) as pool:
        return list(pool.map(function, places))
