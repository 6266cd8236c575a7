"""Deep supervision: the loss over all stages of the decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medseg.training.losses.setting import DetailedLoss, Loss


def weigh_depths(count: int) -> list[float]:
    """Weights of deep supervision: halved from stage to stage, 0 for the coarsest, 1 together (nnU-Net's)."""
    weights = [0.5**depth for depth in range(count)]
    if count > 1:
        weights[-1] = 0.0
    return [weight / sum(weights) for weight in weights]


def supervise_depths(loss: Loss, logits: Sequence[Tensor], targets: Tensor, mask: Tensor | None) -> Tensor:
    """The loss over all decoder stages; targets are thinned (nearest voxel) to each stage's grid.

    Args:
        loss: for every stage; a ``DetailedLoss`` has one for the finest and one for the others.
        logits: of each stage (batch, channel, ...), from the finest.
        targets: on the finest grid, (batch, channel, ...), 0 or 1.
        mask: (batch, 1, ...), 1 where a voxel counts; None for all.
    Returns:
        the weighted sum, a scalar.
    """
    total = torch.zeros((), device=targets.device)
    for depth, (weight, stage) in enumerate(zip(weigh_depths(len(logits)), logits, strict=True)):
        if weight:
            shape = stage.shape[2:]
            used = loss.coarser if depth and isinstance(loss, DetailedLoss) else loss
            total = total + weight * used(
                stage.float(), _thin(targets, shape), None if mask is None else _thin(mask, shape)
            )
    return total


def _thin(values: Tensor, shape: Sequence[int]) -> Tensor:
    for axis, length in enumerate(shape, start=2):
        step = values.shape[axis] // length
        if step > 1:
            index = torch.arange(length, device=values.device) * step + step // 2
            values = values.index_select(axis, index)
    return values
