"""A scan of lower resolution: fewer voxels, stretched back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medseg.augmentation.base import Augmentation, Scene, chosen

# nnU-Net's defaults; it stretches back with cubic splines, we linearly, which costs a tenth.
LOW_RESOLUTION_CHANCE = 0.25
CHANNEL_CHANCE = 0.5
ZOOM_RANGE = (0.5, 1.0)
STRETCH = {2: "bilinear", 3: "trilinear"}


def draw_zoom(rng: np.random.Generator, scene: Scene) -> NDArray[np.float64] | None:
    """A zoom factor per channel, 1 for a channel that stays sharp."""
    if rng.random() >= LOW_RESOLUTION_CHANCE:
        return None
    zooms = rng.uniform(*ZOOM_RANGE, size=scene.channels)
    return np.where(rng.random(scene.channels) < CHANNEL_CHANCE, zooms, 1.0)


def apply_zoom(
    images: Tensor, labels: Tensor, parameters: Sequence[NDArray[np.float64] | None]
) -> tuple[Tensor, Tensor]:
    """Take fewer voxels of the chosen samples (nearest) and stretch them back (linearly)."""
    shape = images.shape[2:]
    for index in chosen(parameters):
        for channel, zoom in enumerate(np.asarray(parameters[index]).tolist()):
            if zoom < 1.0:
                small = [max(1, round(length * zoom)) for length in shape]
                coarse = functional.interpolate(images[index : index + 1, channel, None], small, mode="nearest-exact")
                images[index, channel] = functional.interpolate(coarse, shape, mode=STRETCH[len(shape)])[0, 0]
    return images, labels


LOW_RESOLUTION = Augmentation("low_resolution", draw_zoom, apply_zoom)
