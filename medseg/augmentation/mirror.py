"""Flips along the patch's axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from medseg.augmentation.base import Augmentation, Scene, chosen

MIRROR_CHANCE = 0.5  # per axis, nnU-Net's default


def draw_flips(rng: np.random.Generator, scene: Scene) -> tuple[int, ...] | None:
    """The axes to flip; None for none."""
    flips = rng.random(len(scene.patch_size)) < MIRROR_CHANCE
    return tuple(axis for axis in scene.mirror_axes if flips[axis]) or None


def apply_flips(images: Tensor, labels: Tensor, parameters: Sequence[tuple[int, ...] | None]) -> tuple[Tensor, Tensor]:
    """Flip image and labels of each sample along its axes."""
    for index in chosen(parameters):
        axes = parameters[index] or ()
        images[index] = images[index].flip([axis + 1 for axis in axes])
        labels[index] = labels[index].flip(list(axes))
    return images, labels


MIRROR = Augmentation("mirror", draw_flips, apply_flips)
