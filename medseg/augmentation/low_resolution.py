"""A scan of lower resolution: fewer voxels, stretched back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional

from medseg.augmentation.base import Augmentation, Scene

# nnU-Net's defaults.
CHANCE = 0.25
CHANNEL_CHANCE = 0.5
ZOOM_RANGE = (0.5, 1.0)
STRETCH = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Zoom:
    """A zoom factor per image channel, 1 for a channel that stays sharp, and the first axis that is zoomed."""

    factors: tuple[float, ...]
    first_axis: int


def draw_zoom(rng: np.random.Generator, scene: Scene) -> Zoom | None:
    """A factor per channel, for all axes but a coarse first one."""
    if rng.random() >= CHANCE:
        return None
    factors = rng.uniform(*ZOOM_RANGE, size=scene.channels)
    factors = np.where(rng.random(scene.channels) < CHANNEL_CHANCE, factors, 1.0)
    return Zoom(tuple(factors.tolist()), int(scene.flat_rotation))


def apply_zoom(images: Tensor, labels: Tensor, parameters: Sequence[Zoom | None]) -> tuple[Tensor, Tensor]:
    """Take fewer voxels of the chosen channels (nearest) and stretch them back (linearly)."""
    shape = images.shape[2:]
    for image, zoom in zip(images, parameters, strict=True):
        if zoom is None:
            continue
        for channel, factor in zip(image, zoom.factors, strict=False):
            if factor < 1.0:
                small = [max(1, round(length * factor)) for length in shape]
                small[: zoom.first_axis] = shape[: zoom.first_axis]
                coarse = functional.interpolate(channel[None, None], small, mode="nearest-exact")
                channel.copy_(functional.interpolate(coarse, shape, mode=STRETCH[len(shape)])[0, 0])
    return images, labels


LOW_RESOLUTION = Augmentation("low_resolution", draw_zoom, apply_zoom)
