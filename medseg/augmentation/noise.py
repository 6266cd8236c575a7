"""Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medseg.augmentation.base import Augmentation, Scene

# nnU-Net's defaults; what it calls the noise's variance is its standard deviation (batchgeneratorsv2 0.4).
CHANCE = 0.1
SD_RANGE = (0.0, 0.1)


@dataclass(frozen=True)
class Noise:
    """Standard deviation in units of the normalised image, the seed of the noise, and the image channels it goes to."""

    sd: float
    seed: int
    channels: int


def draw_noise(rng: np.random.Generator, scene: Scene) -> Noise | None:
    """The noise's strength, the same for all channels, and its seed."""
    if rng.random() >= CHANCE:
        return None
    return Noise(float(rng.uniform(*SD_RANGE)), int(rng.integers(2**62)), scene.channels)


def apply_noise(images: Tensor, labels: Tensor, parameters: Sequence[Noise | None]) -> tuple[Tensor, Tensor]:
    """Add normal noise, drawn for each voxel and channel, to the chosen samples."""
    for image, noise in zip(images, parameters, strict=True):
        if noise is not None:
            generator = torch.Generator(device=images.device).manual_seed(noise.seed)
            changed = image[: noise.channels]
            changed.add_(torch.empty_like(changed).normal_(generator=generator), alpha=noise.sd)
    return images, labels


NOISE = Augmentation("noise", draw_noise, apply_noise)
