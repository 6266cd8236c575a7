"""Brightness, contrast and gamma."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.augmentation.base import Augmentation, Scene, chosen, column

# nnU-Net's defaults.
BRIGHTNESS_CHANCE = 0.15
BRIGHTNESS_RANGE = (0.75, 1.25)
CONTRAST_CHANCE = 0.15
CONTRAST_RANGE = (0.75, 1.25)
GAMMA_CHANCE = 0.3
INVERTED_GAMMA_CHANCE = 0.1
GAMMA_RANGE = (0.7, 1.5)
SMALLEST = 1e-7

Factors = NDArray[np.float64] | None


def draw_brightness(rng: np.random.Generator, scene: Scene) -> Factors:
    """A factor per channel."""
    return rng.uniform(*BRIGHTNESS_RANGE, size=scene.channels) if rng.random() < BRIGHTNESS_CHANCE else None


def apply_brightness(images: Tensor, labels: Tensor, parameters: Sequence[Factors]) -> tuple[Tensor, Tensor]:
    """Multiply each channel of the chosen samples."""
    for index in chosen(parameters):
        images[index] *= column(parameters[index], images[index])
    return images, labels


def draw_contrast(rng: np.random.Generator, scene: Scene) -> Factors:
    """A factor per channel, below and above 1 equally often."""
    if rng.random() >= CONTRAST_CHANCE:
        return None
    low, high = CONTRAST_RANGE
    below = rng.random(scene.channels) < 0.5
    return np.where(below, rng.uniform(low, 1, scene.channels), rng.uniform(1, high, scene.channels))


def apply_contrast(images: Tensor, labels: Tensor, parameters: Sequence[Factors]) -> tuple[Tensor, Tensor]:
    """Stretch each channel about its mean, within its old range."""
    for index in chosen(parameters):
        image, axes = images[index], tuple(range(1, images.ndim - 1))
        mean, low, high = (f(image, dim=axes, keepdim=True) for f in (torch.mean, torch.amin, torch.amax))
        images[index] = ((image - mean) * column(parameters[index], image) + mean).clamp(low, high)
    return images, labels


def draw_gamma(rng: np.random.Generator, scene: Scene) -> Factors:
    """An exponent per channel."""
    return _exponents(rng, scene) if rng.random() < GAMMA_CHANCE else None


def draw_inverted_gamma(rng: np.random.Generator, scene: Scene) -> Factors:
    """An exponent per channel."""
    return _exponents(rng, scene) if rng.random() < INVERTED_GAMMA_CHANCE else None


def apply_gamma(images: Tensor, labels: Tensor, parameters: Sequence[Factors]) -> tuple[Tensor, Tensor]:
    """Raise each channel, scaled to 0..1, to its exponent; its mean and standard deviation stay."""
    for index in chosen(parameters):
        images[index] = _gamma(images[index], column(parameters[index], images[index]))
    return images, labels


def apply_inverted_gamma(images: Tensor, labels: Tensor, parameters: Sequence[Factors]) -> tuple[Tensor, Tensor]:
    """The same on the negative image."""
    for index in chosen(parameters):
        images[index] = -_gamma(-images[index], column(parameters[index], images[index]))
    return images, labels


def _exponents(rng: np.random.Generator, scene: Scene) -> NDArray[np.float64]:
    low, high = GAMMA_RANGE
    below = rng.random(scene.channels) < 0.5
    return np.where(below, rng.uniform(low, 1, scene.channels), rng.uniform(1, high, scene.channels))


def _gamma(image: Tensor, exponent: Tensor) -> Tensor:
    axes = tuple(range(1, image.ndim))
    mean, sd = image.mean(dim=axes, keepdim=True), image.std(dim=axes, keepdim=True)
    low = image.amin(dim=axes, keepdim=True)
    width = (image.amax(dim=axes, keepdim=True) - low).clamp_min(SMALLEST)
    curved = ((image - low) / width).pow(exponent) * width + low
    curved = curved - curved.mean(dim=axes, keepdim=True)
    return curved * (sd / curved.std(dim=axes, keepdim=True).clamp_min(SMALLEST)) + mean


BRIGHTNESS = Augmentation("brightness", draw_brightness, apply_brightness)
CONTRAST = Augmentation("contrast", draw_contrast, apply_contrast)
GAMMA = Augmentation("gamma", draw_gamma, apply_gamma)
INVERTED_GAMMA = Augmentation("inverted_gamma", draw_inverted_gamma, apply_inverted_gamma)
