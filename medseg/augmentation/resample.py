"""Moving patches and their labels: with compiled loops on a CPU, in torch elsewhere; both give the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

BEYOND = -1  # the label of what lies outside the input, while labels are compared
VOXELS_AT_ONCE = 2**20  # each takes about 200 bytes on the way


@dataclass(frozen=True)
class View:
    """What is looked at, and from where.

    Args:
        images: intensities, (channel, ...), with as many axes behind the channel's as the matrix has.
        labels: whole numbers from 0 up, (map, ...), on the same voxels.
        matrix: from output voxels to input voxels, both counted from the centre, (axis, axis).
        displacement: voxels that output voxels move by before the matrix does, (axis, *output); None for none.
    """

    images: Tensor
    labels: Tensor
    matrix: NDArray[np.float64]
    displacement: Tensor | None = None


def resample_views(views: Sequence[View], size: Sequence[int], *, beyond: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Other views of patches, about the same centres.

    Args:
        views: of equal sizes and on one device.
        size: the output's voxels.
        beyond: the label of what lies outside the input, where the image is 0.
    Returns:
        for each, images by linear interpolation and labels by the vote of the neighbours weighted alike (of equals the
        nearest one's), both of ``size``.
    Source: what batchgeneratorsv2's ``SpatialTransform`` does with linear interpolation for image and segmentation.
    """
    if not views:
        return []
    if views[0].images.device.type == "cpu":
        return [_resample_on_cpu(view, size, beyond) for view in views]
    return resample_in_torch(views, size, beyond=beyond)


def resample_in_torch(views: Sequence[View], size: Sequence[int], *, beyond: int = 0) -> list[tuple[Tensor, Tensor]]:
    """``resample_views`` with torch alone, as many views at once as memory should be taken for."""
    results: list[tuple[Tensor, Tensor]] = []
    together = max(1, VOXELS_AT_ONCE // math.prod(size))
    for first in range(0, len(views), together):
        some = views[first : first + together]
        points = _place_points(some, size)
        images = _interpolate(torch.stack([view.images for view in some]), points)
        labels = _vote(torch.stack([view.labels for view in some]), points, beyond)
        results += zip(images, labels, strict=True)
    return results


def _find_shift(view: View, size: Sequence[int]) -> NDArray[np.float64]:
    """The input voxel that output voxel 0 looks at."""
    source = np.array(view.images.shape[1:])
    return np.asarray((source - 1) / 2 - view.matrix @ ((np.array(size) - 1) / 2))


def _resample_on_cpu(view: View, size: Sequence[int], beyond: int) -> tuple[Tensor, Tensor]:
    from medseg.augmentation.resample_loops import move_patch

    # In the plane: as one slice, whose place along the first axis nothing changes.
    flat = [1] * (3 - len(size))
    matrix, shift = np.eye(3), np.zeros(3)
    matrix[len(flat) :, len(flat) :], shift[len(flat) :] = view.matrix, _find_shift(view, size)
    displacement = np.zeros((3, 0, 0, 0), np.float32)
    if view.displacement is not None:
        displacement = np.zeros((3, *flat, *size), np.float32)
        displacement[len(flat) :] = view.displacement.reshape(-1, *flat, *size).numpy()
    images = view.images.new_empty(len(view.images), *flat, *size)
    labels = view.labels.new_empty(len(view.labels), *flat, *size)
    move_patch(
        view.images.reshape(-1, *flat, *view.images.shape[1:]).contiguous().numpy(),
        view.labels.reshape(-1, *flat, *view.labels.shape[1:]).contiguous().numpy(),
        matrix,
        shift,
        displacement,
        beyond,
        images.numpy(),
        labels.numpy(),
    )
    return images.reshape(-1, *size), labels.reshape(-1, *size)


def _place_points(views: Sequence[View], size: Sequence[int]) -> Tensor:
    """The input voxel that each output voxel looks at, (view, axis, *size)."""
    device, ones = views[0].images.device, [1] * len(size)
    axes = [torch.arange(length, dtype=torch.float32, device=device) for length in size]
    voxels = torch.stack(torch.meshgrid(axes, indexing="ij"))[None]
    if any(view.displacement is not None for view in views):
        still = torch.zeros_like(voxels[0])
        moved = [view.displacement if view.displacement is not None else still for view in views]
        voxels = voxels + torch.stack(moved)
    matrices = torch.from_numpy(np.stack([view.matrix for view in views]).astype(np.float32)).to(device)
    shifts = torch.from_numpy(np.stack([_find_shift(view, size) for view in views]).astype(np.float32)).to(device)
    points = shifts.reshape(*shifts.shape, *ones)
    for axis in range(len(size)):  # not as a matrix product, which some settings round to ten bits
        points = points + matrices[:, :, axis].reshape(*shifts.shape, *ones) * voxels[:, axis, None]
    return points


def _interpolate(images: Tensor, points: Tensor) -> Tensor:
    # torch counts from -1 to 1 from edge to edge, the last axis first.
    sizes = torch.tensor(images.shape[2:], device=points.device).reshape(-1, *[1] * (points.ndim - 2))
    grid = ((2 * points + 1) / sizes - 1).flip(1).movedim(1, -1)
    return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def _vote(labels: Tensor, points: Tensor, beyond: int) -> Tensor:
    """Among the neighbours, the label with the largest weight; it costs the same however many labels there are."""
    found, weights = _find_neighbours(labels, points)
    winner, most = found[0], torch.full_like(found[0], -1, dtype=torch.float32)
    for label in found:
        total = torch.where(found == label, weights, 0.0).sum(0)
        winner = torch.where(total > most, label, winner)
        most = torch.maximum(most, total)
    return torch.where(winner == BEYOND, beyond, winner).to(labels.dtype)


def _find_neighbours(labels: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (corner, view, map, ...), BEYOND outside, and weights (corner, view, 1, ...), the nearest corner first."""
    sizes = labels.shape[2:]
    below = points.floor()
    parts, lowest = points - below, below.to(torch.int64)
    offsets = torch.zeros_like(lowest[None, :, 0])
    inside, weights = torch.ones_like(offsets, dtype=torch.bool), torch.ones_like(parts[None, :, 0])
    for axis, length in enumerate(sizes):
        part, nearest = parts[:, axis], parts[:, axis] >= 0.5
        upper = torch.stack(
            [nearest, ~nearest]
        )  # whether the neighbour along this axis is the upper one, (2, view, ...)
        place = lowest[:, axis] + upper
        offsets = (offsets[:, None] * length + place).flatten(0, 1)
        inside = (inside[:, None] & (place >= 0) & (place < length)).flatten(0, 1)
        weights = (weights[:, None] * torch.where(upper, part, 1 - part)).flatten(0, 1)
    taken = offsets.clamp_(0, math.prod(sizes) - 1).flatten(2).movedim(0, 1).flatten(1)
    found = labels.flatten(2).gather(2, taken[:, None].expand(-1, labels.shape[1], -1)).to(torch.int32)
    found = found.reshape(*labels.shape[:2], len(weights), *points.shape[2:]).movedim(2, 0)
    return found.masked_fill(~inside[:, :, None], BEYOND), weights[:, :, None]
