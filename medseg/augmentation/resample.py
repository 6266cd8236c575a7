"""Moving a patch's image and labels: with compiled loops on a CPU, in torch elsewhere; both give the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Matrix = NDArray[np.float64]

BEYOND = -1  # the label of what lies outside the input, while labels are compared


def resample_patch(
    images: Tensor,
    labels: Tensor,
    matrix: Matrix,
    displacement: Tensor | None,
    size: Sequence[int],
    *,
    beyond: int = 0,
) -> tuple[Tensor, Tensor]:
    """Another view of a patch, about the same centre.

    Args:
        images: intensities, (channel, ...), with as many axes behind the channel's as the matrix has.
        labels: whole numbers from 0 up, (map, ...), on the same voxels.
        matrix: from output voxels to input voxels, both counted from the centre, (axis, axis).
        displacement: voxels that output voxels move by before the matrix does, (axis, *size); None for none.
        size: the output's voxels.
        beyond: the label of what lies outside the input, where the image is 0.
    Returns:
        images by linear interpolation and labels by the vote of the neighbours weighted alike (of equals the nearest
        one's), both of ``size``.
    Source: what batchgeneratorsv2's ``SpatialTransform`` does with linear interpolation for image and segmentation.
    """
    source, goal = np.array(images.shape[1:]), np.array(size)
    shift = (source - 1) / 2 - matrix @ ((goal - 1) / 2)
    if images.device.type == "cpu":
        return _resample_on_cpu(images, labels, matrix, shift, displacement, size, beyond)
    points = _place_points(matrix, shift, displacement, size, images.device)
    return _interpolate(images, points), _vote(labels, points, beyond)


def _resample_on_cpu(
    images: Tensor,
    labels: Tensor,
    matrix: Matrix,
    shift: Matrix,
    displacement: Tensor | None,
    size: Sequence[int],
    beyond: int,
) -> tuple[Tensor, Tensor]:
    from medseg.augmentation.resample_loops import move_patch

    # In the plane: as one slice, whose place along the first axis nothing changes.
    flat = [1] * (3 - len(size))
    whole, offset = np.eye(3), np.zeros(3)
    whole[len(flat) :, len(flat) :], offset[len(flat) :] = matrix, shift
    moved = np.zeros((3, 0, 0, 0), np.float32)
    if displacement is not None:
        moved = np.zeros((3, *flat, *size), np.float32)
        moved[len(flat) :] = displacement.reshape(-1, *flat, *size).numpy()
    new_images = images.new_empty(len(images), *flat, *size)
    new_labels = labels.new_empty(len(labels), *flat, *size)
    move_patch(
        images.reshape(-1, *flat, *images.shape[1:]).contiguous().numpy(),
        labels.reshape(-1, *flat, *labels.shape[1:]).contiguous().numpy(),
        whole,
        offset,
        moved,
        beyond,
        new_images.numpy(),
        new_labels.numpy(),
    )
    return new_images.reshape(-1, *size), new_labels.reshape(-1, *size)


def _place_points(
    matrix: Matrix, shift: Matrix, displacement: Tensor | None, size: Sequence[int], device: torch.device
) -> Tensor:
    """The input voxel that each output voxel looks at, (axis, *size)."""
    axes = [torch.arange(length, dtype=torch.float32, device=device) for length in size]
    voxels = torch.stack(torch.meshgrid(axes, indexing="ij"))
    if displacement is not None:
        voxels = voxels + displacement
    turned: Tensor = torch.tensordot(torch.from_numpy(matrix.astype(np.float32)).to(device), voxels, dims=1)
    return turned + torch.from_numpy(shift.astype(np.float32)).to(device).reshape(-1, *[1] * len(size))


def _interpolate(images: Tensor, points: Tensor) -> Tensor:
    # torch counts from -1 to 1 from edge to edge, the last axis first.
    sizes = torch.tensor(images.shape[1:], device=points.device).reshape(-1, *[1] * (points.ndim - 1))
    grid = ((2 * points + 1) / sizes - 1).flip(0).movedim(0, -1)
    return functional.grid_sample(images[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[
        0
    ]


def _vote(labels: Tensor, points: Tensor, beyond: int) -> Tensor:
    """Among the neighbours, the label with the largest weight; compared pair by pair, so that it costs the same
    however many labels there are."""
    sizes = labels.shape[1:]
    below = points.floor()
    part = points - below
    lowest = below.to(torch.int64)
    nearest = part >= 0.5
    found, weights = [], []
    for upper in product((False, True), repeat=len(sizes)):
        inside = torch.ones_like(nearest[0])
        weight = torch.ones_like(points[0])
        offset = torch.zeros_like(lowest[0])
        for axis, length in enumerate(sizes):
            takes_upper = nearest[axis] ^ upper[axis]  # the first corner is the nearest neighbour
            place = lowest[axis] + takes_upper
            weight = weight * torch.where(takes_upper, part[axis], 1 - part[axis])
            inside &= (place >= 0) & (place < length)
            offset = offset * length + place.clamp(0, length - 1)
        taken = labels.reshape(len(labels), -1)[:, offset.reshape(-1)].reshape(-1, *offset.shape).to(torch.int32)
        found.append(taken.masked_fill_(~inside, BEYOND))
        weights.append(weight)
    winner, most = found[0], torch.full_like(found[0], -1, dtype=torch.float32)
    for label in found:
        total = torch.zeros_like(most)
        for other, weight in zip(found, weights, strict=True):
            total += torch.where(other == label, weight, 0.0)
        better = total > most
        winner, most = torch.where(better, label, winner), torch.where(better, total, most)
    return torch.where(winner == BEYOND, beyond, winner).to(labels.dtype)
