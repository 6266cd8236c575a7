"""The table of augmentations, and the default list in its order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medseg.augmentation import blur, brightness, contrast, gamma, low_resolution, mirror, noise, previous, spatial
from medseg.augmentation.base import Augmentation, Scene
from medseg.augmentation.masking import clear_outside, mark_outside
from medseg.core.registry import Registry

# nnU-Net's order: noise and blur before the intensities, then the flip, the masks of a cascade's first stage last.
DEFAULT_AUGMENTATIONS: tuple[Augmentation, ...] = (
    spatial.SPATIAL,
    noise.NOISE,
    blur.BLUR,
    brightness.BRIGHTNESS,
    contrast.CONTRAST,
    low_resolution.LOW_RESOLUTION,
    gamma.INVERTED_GAMMA,
    gamma.GAMMA,
    mirror.MIRROR,
    previous.PREVIOUS_SHAPE,
    previous.PREVIOUS_REMOVAL,
)

AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation")
for _augmentation in (*DEFAULT_AUGMENTATIONS, spatial.ELASTIC):
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
        images: normalised intensities and the masks of a cascade's stage before, (batch, channel, ...), patches as
            ``enlarge_patch`` gives their size where an augmentation that cuts is among the list, else of the patch's
            size; may be written into.
        labels: label values, (batch, ...); may be written into.
        generators: one per sample; the same generators give the same change.
        scene: what the parameters depend on.
        augmentations: what to do, in order.
    Returns:
        images and labels of the patch's size.
    Source: the list, chances and ranges are those of nnU-Net 2.8's ``get_training_transforms``.
    """
    label_type = labels.dtype
    labels = mark_outside(images, labels, scene.masked_channels)
    for augmentation in augmentations:
        parameters = [augmentation.draw(rng, scene) for rng in generators]
        images, labels = augmentation.apply(images, labels, parameters)
    if scene.masked_channels:
        labels = clear_outside(images, labels, scene.masked_channels).to(label_type)
    return images, labels
