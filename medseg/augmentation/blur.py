"""Gaussian blur."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.augmentation.base import Augmentation, Scene

# nnU-Net's defaults.
CHANCE = 0.2
CHANNEL_CHANCE = 0.5
SIGMA_VOXELS = (0.5, 1.0)
SHARP = 0.0
# The kernel is about so many sigma long, and odd: 3, 5 or 7 voxels (batchgeneratorsv2).
LENGTH_SIGMAS = 6.0


def draw_blur(rng: np.random.Generator, scene: Scene) -> NDArray[np.float64] | None:
    """Sigma in voxels, (image channel, axis); 0 for a channel that stays sharp."""
    if rng.random() >= CHANCE:
        return None
    sigmas = rng.uniform(*SIGMA_VOXELS, size=(scene.channels, len(scene.patch_size)))
    return np.where(rng.random((scene.channels, 1)) < CHANNEL_CHANCE, sigmas, SHARP)


def apply_blur(
    images: Tensor, labels: Tensor, parameters: Sequence[NDArray[np.float64] | None]
) -> tuple[Tensor, Tensor]:
    """Blur the chosen channels along every axis; beyond the edge the image is its own reflection."""
    for image, sigmas in zip(images, parameters, strict=True):
        if sigmas is None:
            continue
        for channel, widths in zip(image, sigmas.tolist(), strict=False):
            if widths[0] > SHARP:
                blurred = channel
                for axis, sigma in enumerate(widths):
                    blurred = _filter(blurred, make_kernel(sigma), axis)
                channel.copy_(blurred)
    return images, labels


def make_kernel(sigma: float) -> list[float]:
    """The weights of a blur.

    Args:
        sigma: in voxels.
    Returns:
        an odd number of weights that sum to 1.
    Source: batchgeneratorsv2, ``GaussianBlurTransform``: the odd number next to 6 sigma + 0.5.
    """
    wanted = LENGTH_SIGMAS * sigma + 0.5
    length = 2 * int(np.floor(wanted / 2)) + 1
    taps = np.arange(length) - (length - 1) / 2
    weights = np.exp(-0.5 * (taps / sigma) ** 2)
    return list((weights / weights.sum()).tolist())


def _filter(channel: Tensor, kernel: list[float], axis: int) -> Tensor:
    length, radius = channel.shape[axis], len(kernel) // 2
    if length == 1:
        return channel
    padded = channel.index_select(axis, _reflect(length, radius).to(channel.device))
    result = padded.narrow(axis, radius, length) * kernel[radius]
    for tap in range(radius):
        result.add_(padded.narrow(axis, tap, length), alpha=kernel[tap])
        result.add_(padded.narrow(axis, 2 * radius - tap, length), alpha=kernel[tap])
    return result


def _reflect(length: int, radius: int) -> Tensor:
    """Where each voxel of the padded axis comes from; the edge voxel itself is not repeated."""
    turn = 2 * (length - 1)
    place = torch.arange(-radius, length + radius) % turn
    return torch.minimum(place, turn - place)


BLUR = Augmentation("blur", draw_blur, apply_blur)
