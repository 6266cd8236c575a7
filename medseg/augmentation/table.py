"""The table of augmentations, and the default list in its order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medseg.augmentation import intensity, low_resolution, mirror, noise, spatial
from medseg.augmentation.base import Augmentation, Scene
from medseg.core.registry import Registry

# nnU-Net's order: noise and blur before the intensities, the flip last.
DEFAULT_AUGMENTATIONS: tuple[Augmentation, ...] = (
    spatial.SPATIAL,
    noise.NOISE,
    noise.BLUR,
    intensity.BRIGHTNESS,
    intensity.CONTRAST,
    low_resolution.LOW_RESOLUTION,
    intensity.INVERTED_GAMMA,
    intensity.GAMMA,
    mirror.MIRROR,
)

AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation")
for _augmentation in DEFAULT_AUGMENTATIONS:
    AUGMENTATIONS.add(_augmentation.name)(_augmentation)


@torch.no_grad()
def augment_batch(
    images: Tensor,
    labels: Tensor,
    generators: Sequence[np.random.Generator],
    scene: Scene,
    augmentations: Sequence[Augmentation] = DEFAULT_AUGMENTATIONS,
) -> tuple[Tensor, Tensor]:
    """Change a batch at random, on the device it lies on.

    Args:
        images: normalised intensities, (batch, channel, ...), patches as ``enlarge_patch`` gives their size where
            the spatial augmentation is among the list, else of the patch's size.
        labels: label values, (batch, ...).
        generators: one per sample; the same generators give the same change.
        scene: what the parameters depend on.
        augmentations: what to do, in order.
    Returns:
        images and labels of the patch's size.
    Source: the list, chances and ranges are nnU-Net's (Isensee et al. 2021, supplement 4).
    """
    for augmentation in augmentations:
        parameters = [augmentation.draw(rng, scene) for rng in generators]
        images, labels = augmentation.apply(images, labels, parameters)
    return images, labels
