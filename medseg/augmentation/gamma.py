"""Gamma: each channel, scaled to 0..1, is raised to a power; its mean and standard deviation stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medseg.augmentation.base import Augmentation, Scene, draw_around_one

# nnU-Net's defaults.
CHANCE = 0.3
INVERTED_CHANCE = 0.1
RANGE = (0.7, 1.5)
SMALLEST = 1e-7

Exponents = tuple[float, ...] | None


def draw_gamma(rng: np.random.Generator, scene: Scene) -> Exponents:
    """An exponent per image channel."""
    return draw_around_one(rng, RANGE, scene.channels) if rng.random() < CHANCE else None


def draw_inverted_gamma(rng: np.random.Generator, scene: Scene) -> Exponents:
    """An exponent per image channel."""
    return draw_around_one(rng, RANGE, scene.channels) if rng.random() < INVERTED_CHANCE else None


def apply_gamma(images: Tensor, labels: Tensor, parameters: Sequence[Exponents]) -> tuple[Tensor, Tensor]:
    """Raise each channel of the chosen samples to its exponent."""
    for image, exponents in zip(images, parameters, strict=True):
        for channel, exponent in zip(image, exponents or (), strict=False):
            _bend(channel, exponent)
    return images, labels


def apply_inverted_gamma(images: Tensor, labels: Tensor, parameters: Sequence[Exponents]) -> tuple[Tensor, Tensor]:
    """The same on the negative image."""
    for image, exponents in zip(images, parameters, strict=True):
        for channel, exponent in zip(image, exponents or (), strict=False):
            _bend(channel.neg_(), exponent)
            channel.neg_()
    return images, labels


def _bend(channel: Tensor, exponent: float) -> None:
    """In place; mean and deviation are those of before, so what the power is scaled back by does not matter."""
    mean, sd = _centre(channel)
    low, high = torch.aminmax(channel)
    width = high - low
    channel.sub_(low).div_(width.clamp_min(SMALLEST))
    # The same as pow, at half its time on a CPU; 0 becomes minus infinity and 0 again.
    channel.log2_().mul_(exponent).exp2_()
    _, bent_sd = _centre(channel)
    channel.mul_(width * (sd / (bent_sd * width).clamp_min(SMALLEST))).add_(mean)


def _centre(channel: Tensor) -> tuple[Tensor, Tensor]:
    """Take a channel's mean away from it; returns the mean and the standard deviation."""
    mean = channel.mean()
    flat = channel.sub_(mean).reshape(-1)
    return mean, (torch.dot(flat, flat) / max(1, flat.numel() - 1)).sqrt()


INVERTED_GAMMA = Augmentation("inverted_gamma", draw_inverted_gamma, apply_inverted_gamma)
GAMMA = Augmentation("gamma", draw_gamma, apply_gamma)
