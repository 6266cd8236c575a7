"""One optimiser step, and the patch Dice of one epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medseg.augmentation import Augmentation, Scene, augment_batch
from medseg.core.labels import LabelScheme
from medseg.training.losses import Loss, encode_targets, supervise_depths
from medseg.training.patches.loader import Batch

CLIP_NORM = 12.0  # nnU-Net's limit of the gradient's norm


@dataclass(frozen=True)
class Learner:
    """What a step needs besides the batch.

    Args:
        table: ``LabelScheme.channel_table()`` as float32 on the device.
        scaler: scales the loss of half-precision training; does nothing elsewhere.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    loss: Loss
    labels: LabelScheme
    table: Tensor
    scene: Scene
    augmentations: Sequence[Augmentation]
    device: torch.device
    precision: torch.dtype
    dimensions: int
    scaler: torch.amp.GradScaler


def take_step(learner: Learner, batch: Batch, rate: float) -> float | None:
    """Augment, run forwards and backwards, and move the weights.

    Returns:
        the loss; None where it was not finite and the step was skipped.
    """
    for group in learner.optimiser.param_groups:
        group["lr"] = rate
    images, labels = _to_device(learner, batch)
    images, labels = augment_batch(images, labels, batch.generators, learner.scene, learner.augmentations)
    loss = _compute_loss(learner, images, labels)[0]
    value = float(loss.detach())
    learner.optimiser.zero_grad(set_to_none=True)
    if not torch.isfinite(loss):
        return None
    learner.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    learner.scaler.unscale_(learner.optimiser)
    norm = nn.utils.clip_grad_norm_(learner.network.parameters(), CLIP_NORM)
    if not torch.isfinite(norm) and not learner.scaler.is_enabled():
        return None
    learner.scaler.step(learner.optimiser)
    learner.scaler.update()
    return value


@torch.no_grad()
def count_overlap(learner: Learner, batch: Batch) -> tuple[float, Tensor]:
    """Loss and overlap on patches that nothing changes.

    Returns:
        the loss, and per name of the label scheme (2 |P and T|, |P| + |T|), (name, 2).
    """
    images, labels = _to_device(learner, batch)
    loss, logits, targets, mask = _compute_loss(learner, images, labels)
    first = int(learner.labels.output == "softmax")
    if first:
        winner = logits.argmax(1, keepdim=True)
        predicted = torch.zeros_like(targets).scatter_(1, winner, 1.0)
    else:
        predicted = (logits > 0).float()
    predicted, targets = predicted[:, first:], targets[:, first:]
    if mask is not None:
        predicted, targets = predicted * mask, targets * mask
    axes = (0, *range(2, targets.ndim))
    both = 2 * (predicted * targets).sum(axes)
    return float(loss), torch.stack([both, predicted.sum(axes) + targets.sum(axes)], dim=1)


def _to_device(learner: Learner, batch: Batch) -> tuple[Tensor, Tensor]:
    images = batch.images.to(learner.device, non_blocking=True)
    labels = batch.labels.to(learner.device, non_blocking=True)
    return (images.squeeze(2), labels.squeeze(1)) if learner.dimensions == 2 else (images, labels)


def _compute_loss(learner: Learner, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    targets, mask = encode_targets(labels, learner.table, learner.labels.ignore)
    layout = torch.channels_last_3d if learner.dimensions == 3 else torch.channels_last
    enabled = learner.precision != torch.float32
    with torch.autocast(learner.device.type, dtype=learner.precision, enabled=enabled):
        logits = learner.network(images.contiguous(memory_format=layout))
    return supervise_depths(learner.loss, logits, targets, mask), logits[0].float(), targets, mask
