"""Rotation, scaling and elastic deformation in one resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.augmentation.base import Augmentation, Scene
from medseg.augmentation.elastic import Displacement, draw_displacement, expand_displacement
from medseg.augmentation.masking import OUTSIDE
from medseg.augmentation.resample import View, resample_views

# nnU-Net's defaults.
ROTATION_CHANCE = 0.2
SCALING_CHANCE = 0.2
ROTATION_RADIANS = float(np.deg2rad(30.0))
FLAT_ROTATION_RADIANS = float(np.pi)  # in slices, whatever their shape
LONG_PICTURE_RADIANS = float(np.deg2rad(15.0))  # 2D, where one edge is more than so many times the other
LONG_PICTURE = 1.5
SCALE_RANGE = (0.7, 1.4)
# nnU-Net does not deform; older versions did with this chance.
ELASTIC_CHANCE = 0.2
# A patch read this much larger holds what most rotations and scalings bring into view; beyond it the image is 0.
MARGIN = 1.25


@dataclass(frozen=True)
class Transform:
    """What becomes of one sample.

    Args:
        matrix: output voxel to input voxel, from the patch's centre, (axis, axis); of the last two axes alone where
            each slice moves in its plane.
        patch_size: the output's voxels.
        channels: image channels; those after them are masks.
        displacement: before the matrix; None for none.
        beyond: the label of what lies outside the input.
    """

    matrix: NDArray[np.float64]
    patch_size: tuple[int, ...]
    channels: int
    displacement: Displacement | None = None
    beyond: int = 0


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


def draw_transform(rng: np.random.Generator, scene: Scene, *, elastic_chance: float = 0.0) -> Transform:
    """A rotation, a scaling and a deformation, each with its chance; the identity cuts out the patch's centre."""
    axes = 2 if scene.flat_rotation else len(scene.patch_size)
    angles = (0.0,) * (3 if axes == 3 else 1)
    if rng.random() < ROTATION_CHANCE:
        limit = _limit_angle(scene)
        angles = tuple(rng.uniform(-limit, limit, len(angles)).tolist())
    scale = float(rng.uniform(*SCALE_RANGE)) if rng.random() < SCALING_CHANCE else 1.0
    bends = elastic_chance > 0 and rng.random() < elastic_chance
    return Transform(
        make_matrix(angles, scale),
        scene.patch_size,
        scene.channels,
        draw_displacement(rng, axes) if bends else None,
        OUTSIDE if scene.masked_channels else 0,
    )


def make_matrix(angles: Sequence[float], scale: float) -> NDArray[np.float64]:
    """Rotations and a scaling as a matrix.

    Args:
        angles: radians; one in the plane, or three in turn about the first, second and third axis.
        scale: input voxels per output voxel; above 1 things become smaller.
    Returns:
        (axis, axis), 2 or 3 axes.
    """
    if len(angles) == 1:
        return _rotate(2, 0, 1, angles[0]) * scale
    first, second, third = _rotate(3, 1, 2, angles[0]), _rotate(3, 2, 0, angles[1]), _rotate(3, 0, 1, angles[2])
    return (third @ second @ first) * scale


def apply_transform(images: Tensor, labels: Tensor, parameters: Sequence[Transform]) -> tuple[Tensor, Tensor]:
    """Cut each sample's patch out of the enlarged one.

    Args:
        images: (batch, channel, ...), larger than the patch or of its size.
        labels: (batch, ...), whole numbers.
        parameters: one of each sample.
    Returns:
        images (linear interpolation), labels and further channels (the vote of the neighbours), of the patch's size;
        0 beyond the input.
    """
    size = parameters[0].patch_size
    new_images = images.new_empty(*images.shape[:2], *size)
    new_labels = labels.new_empty(labels.shape[0], *size)
    turned = []
    for index, transform in enumerate(parameters):
        if transform.displacement is None and np.array_equal(transform.matrix, np.eye(len(transform.matrix))):
            new_images[index] = _cut_centre(images[index], size)
            new_labels[index] = _cut_centre(labels[index], size)
        else:
            turned.append(index)
    views = [_open_view(images[index], labels[index], parameters[index]) for index in turned]
    moving = size[-len(parameters[0].matrix) :]
    moved = resample_views(views, moving, beyond=parameters[0].beyond)
    for index, (image, maps) in zip(turned, moved, strict=True):
        channels = parameters[index].channels
        new_images[index, :channels] = image.reshape(channels, *size)
        maps = maps.reshape(-1, *size)
        new_labels[index] = maps[0]
        for place in range(channels, images.shape[1]):
            new_images[index, place] = maps[1] == place - channels + 1
    return new_images, new_labels


def _open_view(image: Tensor, label: Tensor, transform: Transform) -> View:
    """A sample with as many axes as its matrix: slices that move in their plane become channels."""
    moving = len(transform.matrix)
    still = transform.patch_size[: len(transform.patch_size) - moving]
    image, label = (_cut_centre(array, (*still, *array.shape[array.ndim - moving :])) for array in (image, label))
    maps = label[None]
    if len(image) > transform.channels:  # the stage before as one label map, so that its labels stay apart
        maps = torch.stack([label, _merge(image[transform.channels :]).to(label.dtype)])
    planes = [array.flatten(0, array.ndim - 1 - moving) for array in (image[: transform.channels], maps)]
    displacement = None
    if transform.displacement is not None:
        displacement = expand_displacement(transform.displacement, transform.patch_size[-moving:], image.device)
    return View(planes[0], planes[1], transform.matrix, displacement)


def _merge(masks: Tensor) -> Tensor:
    merged = torch.zeros_like(masks[0])
    for number, mask in enumerate(masks, start=1):
        merged.masked_fill_(mask != 0, number)
    return merged


def _limit_angle(scene: Scene) -> float:
    if len(scene.patch_size) == 3:
        return FLAT_ROTATION_RADIANS if scene.flat_rotation else ROTATION_RADIANS
    is_long = max(scene.patch_size) / min(scene.patch_size) > LONG_PICTURE
    return LONG_PICTURE_RADIANS if is_long else FLAT_ROTATION_RADIANS


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


SPATIAL = Augmentation("spatial", draw_transform, apply_transform, cuts=True)
ELASTIC = Augmentation("elastic", partial(draw_transform, elastic_chance=ELASTIC_CHANCE), apply_transform, cuts=True)
