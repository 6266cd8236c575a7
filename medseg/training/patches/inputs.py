"""What the network is given: a batch as read, on the device, changed at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medseg.augmentation import Augmentation, Scene, augment_batch
from medseg.training.patches.recipe import Batch


def put_on_device(batch: Batch, device: torch.device, dimensions: int) -> tuple[Tensor, Tensor]:
    """A batch's patches where the network is.

    Args:
        batch: as read.
        device: of the network.
        dimensions: of the network, 2 or 3.
    Returns:
        images (batch, channel, ...) and labels (batch, ...), without the first axis for a 2D network.
    """
    images = batch.images.to(device, non_blocking=True)
    labels = batch.labels.to(device, non_blocking=True)
    return (images.squeeze(2), labels.squeeze(1)) if dimensions == 2 else (images, labels)


def make_inputs(
    batch: Batch, scene: Scene, augmentations: Sequence[Augmentation], device: torch.device, dimensions: int
) -> tuple[Tensor, Tensor]:
    """What a training step gives to the network and to the loss.

    Args:
        batch: as read; its generators are used up.
        scene, augmentations: how the patches are changed.
        device: of the network.
        dimensions: of the network, 2 or 3.
    Returns:
        images (batch, channel, ...), float32, and label values (batch, ...), of the patch's size.
    """
    images, labels = put_on_device(batch, device, dimensions)
    return augment_batch(images, labels, batch.generators, scene, augmentations)
