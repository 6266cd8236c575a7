"""Brightness: each channel is multiplied by a factor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from medseg.augmentation.base import Augmentation, Scene, draw_around_one

# nnU-Net's defaults.
CHANCE = 0.15
RANGE = (0.75, 1.25)

Factors = tuple[float, ...] | None


def draw_brightness(rng: np.random.Generator, scene: Scene) -> Factors:
    """A factor per image channel."""
    return draw_around_one(rng, RANGE, scene.channels) if rng.random() < CHANCE else None


def apply_brightness(images: Tensor, labels: Tensor, parameters: Sequence[Factors]) -> tuple[Tensor, Tensor]:
    """Multiply each channel of the chosen samples."""
    for image, factors in zip(images, parameters, strict=True):
        for channel, factor in zip(image, factors or (), strict=False):
            channel.mul_(factor)
    return images, labels


BRIGHTNESS = Augmentation("brightness", draw_brightness, apply_brightness)
