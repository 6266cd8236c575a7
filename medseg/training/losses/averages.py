"""Means over the voxels that count, and what a voxel costs by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from medseg.training.losses.setting import SumRanks, keep_sum


def score_voxels(logits: Tensor, targets: Tensor, output: str) -> tuple[Tensor, Tensor]:
    """Probabilities, and the cross-entropy of each voxel.

    Args:
        logits: (batch, channel, ...); half precision is widened to float32.
        targets: the same shape, 0 or 1.
        output: ``softmax`` or ``sigmoid``.
    Returns:
        probabilities (batch, channel, ...), and minus the log-probability of the truth: (batch, 1, ...) of a softmax,
        (batch, channel, ...) of a sigmoid.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    if output == "softmax":
        log_probabilities = functional.log_softmax(logits, dim=1)
        return log_probabilities.exp(), -(targets * log_probabilities).sum(1, keepdim=True)
    return logits.sigmoid(), functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def weigh_voxels(targets: Tensor, channel_weights: Sequence[float] | None, output: str) -> Tensor | None:
    """The weight of each cost that ``score_voxels`` gives.

    Args:
        targets: (batch, channel, ...), 0 or 1.
        channel_weights: one a channel; None where all count the same.
        output: ``softmax`` or ``sigmoid``.
    Returns:
        for a softmax the weight of the voxel's true class, (batch, 1, ...); for a sigmoid that of the channel,
        (1, channel, 1, ...); None without weights.
    """
    if channel_weights is None:
        return None
    weights = along_channels(channel_weights, targets)
    return (targets * weights).sum(1, keepdim=True) if output == "softmax" else weights


def along_channels(values: Sequence[float], like: Tensor) -> Tensor:
    """A number per channel as a tensor (1, channel, 1, ...) that broadcasts over ``like`` (batch, channel, ...)."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(1, -1, *[1] * (like.ndim - 2))


def average_voxels(
    values: Tensor, mask: Tensor | None, weights: Tensor | None = None, *, sum_ranks: SumRanks = keep_sum
) -> Tensor:
    """The mean over batch, channels and the voxels that count.

    Args:
        values: (batch, channel, ...).
        mask: (batch, 1, ...), 1 where a voxel counts; None for all.
        weights: broadcast over ``values``; None where all count the same.
        sum_ranks: of the loss's setting. Where all voxels count the same, the batch's own mean is given, which differs
            from process to process.
    Returns:
        a scalar; 0 where no voxel counts.
    """
    if weights is not None:
        weights = (weights if mask is None else weights * mask).expand_as(values)
        sums = sum_ranks(torch.stack([(values * weights).sum(), weights.sum()]))
        return sums[0] / sums[1].clamp_min(1e-8)
    if mask is None:
        return values.mean()
    sums = sum_ranks(torch.stack([(values * mask).sum(), mask.sum() * values.shape[1]]))
    return sums[0] / sums[1].clamp_min(1)
