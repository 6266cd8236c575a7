"""Gaussian noise and Gaussian blur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medseg.augmentation.base import Augmentation, Scene, chosen, column

# nnU-Net's defaults.
NOISE_CHANCE = 0.1
NOISE_VARIANCE = (0.0, 0.1)
BLUR_CHANCE = 0.2
BLUR_CHANNEL_CHANCE = 0.5
BLUR_SIGMA_VOXELS = (0.5, 1.0)
BLUR_RADIUS = 3  # voxels; three sigma of the widest kernel


@dataclass(frozen=True)
class Noise:
    """Standard deviation, in units of the normalised image, and the seed of the noise field."""

    sd: float
    seed: int


def draw_noise(rng: np.random.Generator, scene: Scene) -> Noise | None:
    """The noise's strength and seed."""
    if rng.random() >= NOISE_CHANCE:
        return None
    return Noise(float(np.sqrt(rng.uniform(*NOISE_VARIANCE))), int(rng.integers(2**62)))


def apply_noise(images: Tensor, labels: Tensor, parameters: Sequence[Noise | None]) -> tuple[Tensor, Tensor]:
    """Add normal noise to all channels of the chosen samples."""
    for index in chosen(parameters):
        noise = parameters[index]
        if noise is not None:
            generator = torch.Generator(device=images.device).manual_seed(noise.seed)
            field = torch.randn(images.shape[1:], generator=generator, device=images.device, dtype=images.dtype)
            images[index] += field * noise.sd
    return images, labels


def draw_blur(rng: np.random.Generator, scene: Scene) -> NDArray[np.float64] | None:
    """Sigma per channel in voxels, 0 for a channel that stays sharp."""
    if rng.random() >= BLUR_CHANCE:
        return None
    sigmas = rng.uniform(*BLUR_SIGMA_VOXELS, size=scene.channels)
    return np.where(rng.random(scene.channels) < BLUR_CHANNEL_CHANCE, sigmas, 0.0)


def apply_blur(
    images: Tensor, labels: Tensor, parameters: Sequence[NDArray[np.float64] | None]
) -> tuple[Tensor, Tensor]:
    """Blur the chosen samples along every axis; the edge voxel goes on beyond the edge."""
    index = chosen(parameters)
    if index:
        sigmas = np.asarray([parameters[i] for i in index], np.float64)
        taps = np.arange(-BLUR_RADIUS, BLUR_RADIUS + 1)
        kernel = np.exp(-0.5 * (taps / np.maximum(sigmas, 1e-3)[..., None]) ** 2)
        kernel /= kernel.sum(-1, keepdims=True)
        blurred = images[index]
        for axis in range(2, images.ndim):
            blurred = _filter(blurred, kernel, axis)
        images[index] = blurred
    return images, labels


def _filter(images: Tensor, kernel: NDArray[np.float64], axis: int) -> Tensor:
    length = images.shape[axis]
    if length == 1:
        return images
    padding = [0, 0] * (images.ndim - 2)
    padding[2 * (images.ndim - 1 - axis)] = padding[2 * (images.ndim - 1 - axis) + 1] = BLUR_RADIUS
    padded = functional.pad(images, padding, mode="replicate")
    weights = [column(kernel[..., tap], images) for tap in range(kernel.shape[-1])]
    result = padded.narrow(axis, 0, length) * weights[0]
    for tap in range(1, len(weights)):
        result.addcmul_(padded.narrow(axis, tap, length), weights[tap].expand_as(result))
    return result


NOISE = Augmentation("noise", draw_noise, apply_noise)
BLUR = Augmentation("blur", draw_blur, apply_blur)
