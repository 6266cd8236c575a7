"""Contrast: each channel is stretched about its mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medseg.augmentation.base import Augmentation, Scene, draw_around_one

# nnU-Net's defaults.
CHANCE = 0.15
RANGE = (0.75, 1.25)

Factors = tuple[float, ...] | None


def draw_contrast(rng: np.random.Generator, scene: Scene) -> Factors:
    """A factor per image channel."""
    return draw_around_one(rng, RANGE, scene.channels) if rng.random() < CHANCE else None


def apply_contrast(images: Tensor, labels: Tensor, parameters: Sequence[Factors]) -> tuple[Tensor, Tensor]:
    """Stretch each channel of the chosen samples about its mean, within its old range."""
    for image, factors in zip(images, parameters, strict=True):
        for channel, factor in zip(image, factors or (), strict=False):
            low, high = torch.aminmax(channel)
            channel.add_(channel.mean() * (1 / factor - 1)).mul_(factor).clamp_(low, high)
    return images, labels


CONTRAST = Augmentation("contrast", draw_contrast, apply_contrast)
