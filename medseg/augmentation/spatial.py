"""Rotation and scaling in one resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medseg.augmentation.base import Augmentation, Scene

# nnU-Net's defaults (Isensee et al. 2021, supplement 4).
ROTATION_CHANCE = 0.2
SCALING_CHANCE = 0.2
ROTATION_RADIANS = np.deg2rad(30.0)
FLAT_ROTATION_RADIANS = np.pi
SCALE_RANGE = (0.7, 1.4)
# A patch read this much larger holds what most rotations and scalings bring into view; beyond it the image is 0.
MARGIN = 1.25


@dataclass(frozen=True)
class Transform:
    """Output voxel (from the patch's centre) to input voxel: (axis, axis)."""

    matrix: NDArray[np.float64]
    patch_size: tuple[int, ...]


def enlarge_patch(patch_size: Sequence[int], *, flat_rotation: bool) -> tuple[int, ...]:
    """The patch to read so that a rotated or scaled one can be cut from it.

    Args:
        patch_size: what the network sees, 2 or 3 axes, in voxels.
        flat_rotation: rotate within the plane of the last two axes alone; the first one stays as it is.
    Returns:
        at least the patch along every axis, larger by an even number of voxels; an axis of one voxel stays as it is.
    """
    # An even number more, so that the patch's centre is the enlarged one's.
    grown = [size + 2 * int(np.ceil(size * (MARGIN - 1) / 2)) if size > 1 else size for size in patch_size]
    if flat_rotation:
        grown[0] = patch_size[0]
    return tuple(grown)


def draw_transform(rng: np.random.Generator, scene: Scene) -> Transform:
    """A rotation and a scaling, each with its chance; the identity cuts the patch out of the enlarged one."""
    axes = len(scene.patch_size)
    matrix = np.eye(axes)
    if rng.random() < ROTATION_CHANCE:
        if axes == 2 or scene.flat_rotation:
            angle = rng.uniform(-FLAT_ROTATION_RADIANS, FLAT_ROTATION_RADIANS)
            matrix = _rotate(axes, axes - 2, axes - 1, angle) @ matrix
        else:
            for first, second in ((0, 1), (0, 2), (1, 2)):
                matrix = _rotate(axes, first, second, rng.uniform(-ROTATION_RADIANS, ROTATION_RADIANS)) @ matrix
    if rng.random() < SCALING_CHANCE:
        scale = rng.uniform(*SCALE_RANGE)
        matrix = matrix * np.where(np.arange(axes) == 0, 1.0 if scene.flat_rotation else scale, scale)
    return Transform(matrix, scene.patch_size)


def apply_transform(images: Tensor, labels: Tensor, parameters: Sequence[Transform]) -> tuple[Tensor, Tensor]:
    """Cut each sample's patch out of the enlarged one.

    Args:
        images: (batch, channel, ...), enlarged patches.
        labels: (batch, ...), the same.
        parameters: a transform per sample.
    Returns:
        images (linear interpolation) and labels (nearest neighbour) of the patch's size; 0 beyond the input.
    """
    size = parameters[0].patch_size
    out_images = images.new_empty(*images.shape[:2], *size)
    out_labels = labels.new_empty(labels.shape[0], *size)
    for index, transform in enumerate(parameters):
        if np.array_equal(transform.matrix, np.eye(len(size))):
            out_images[index] = _cut_centre(images[index], size)
            out_labels[index] = _cut_centre(labels[index], size)
            continue
        grid = _grid(transform, images.shape[2:], images.device)
        out_images[index] = _sample(images[index : index + 1], grid, "bilinear")[0]
        whole = labels[index : index + 1, None].float()
        out_labels[index] = _sample(whole, grid, "nearest")[0, 0].to(labels.dtype)
    return out_images, out_labels


def _cut_centre(array: Tensor, size: Sequence[int]) -> Tensor:
    first = array.ndim - len(size)
    for axis, length in enumerate(size, start=first):
        array = array.narrow(axis, (array.shape[axis] - length) // 2, length)
    return array


def _rotate(axes: int, first: int, second: int, angle: float) -> NDArray[np.float64]:
    matrix = np.eye(axes)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix[first, first], matrix[first, second] = cosine, -sine
    matrix[second, first], matrix[second, second] = sine, cosine
    return matrix


def _grid(transform: Transform, source: Sequence[int], device: torch.device) -> Tensor:
    # Voxels from the centre become torch's coordinates (-1 to 1 from edge to edge), whose axes are in reverse order.
    scaled = np.diag(1.0 / np.asarray(source)) @ transform.matrix @ np.diag(np.asarray(transform.patch_size, float))
    theta = np.zeros((1, len(source), len(source) + 1), np.float32)
    theta[0, :, :-1] = scaled[::-1, ::-1]
    return functional.affine_grid(
        torch.from_numpy(theta).to(device), [1, 1, *transform.patch_size], align_corners=False
    )


def _sample(values: Tensor, grid: Tensor, mode: str) -> Tensor:
    return functional.grid_sample(values, grid, mode=mode, padding_mode="zeros", align_corners=False)


SPATIAL = Augmentation("spatial", draw_transform, apply_transform)
