"""Soft Dice, and Dice plus cross-entropy, which is nnU-Net's loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from medseg.core.errors import PlanError
from medseg.training.losses.averages import average_voxels, score_voxels, weigh_voxels
from medseg.training.losses.setting import Loss, LossSetting, SumRanks, keep_sum

SMOOTH = 1e-5  # nnU-Net's; keeps an empty class from dividing by nothing


def soft_dice_loss(
    probabilities: Tensor,
    targets: Tensor,
    mask: Tensor | None,
    *,
    batch_dice: bool,
    skip_first: bool,
    channel_weights: Sequence[float] | None = None,
    shares: tuple[float, float] = (1.0, 1.0),
    sum_ranks: SumRanks = keep_sum,
) -> Tensor:
    """Minus the mean soft Dice of the channels.

    Args:
        probabilities: (batch, channel, ...), 0 to 1.
        targets: the same shape, 0 or 1.
        mask: (batch, 1, ...), 1 where a voxel counts; None for all.
        batch_dice: one Dice over the whole batch instead of one a sample.
        skip_first: leave out the first channel (a softmax's background).
        channel_weights: one a channel, the first included; None where all count the same.
        shares: what |P| and |T| count below the line; 2 together.
        sum_ranks: of the loss's setting; the whole batch is that of all processes.
    Returns:
        a scalar from -1 (perfect) to 0.
    Source: Drozdzal et al. (2016) as used by nnU-Net: 2 |PT| / (|P| + |T|).
    """
    if skip_first:
        probabilities, targets = probabilities[:, 1:], targets[:, 1:]
        channel_weights = None if channel_weights is None else channel_weights[1:]
    if mask is not None:
        probabilities, targets = probabilities * mask, targets * mask
    axes = tuple(range(2, probabilities.ndim))
    overlap = (probabilities * targets).sum(axes)
    sizes = shares[0] * probabilities.sum(axes) + shares[1] * targets.sum(axes)
    if batch_dice:
        overlap, sizes = sum_ranks(torch.stack([overlap.sum(0), sizes.sum(0)]))
    values = (2 * overlap + SMOOTH) / (sizes + SMOOTH).clamp_min(1e-8)
    if channel_weights is None:
        return -values.mean()
    weights = torch.tensor(channel_weights, dtype=values.dtype, device=values.device)
    return -(values * weights).mean() / weights.mean()


def make_region_loss(
    setting: LossSetting,
    output: Literal["softmax", "sigmoid"],
    *,
    shares: tuple[float, float] = (1.0, 1.0),
    focus: Callable[[Tensor], Tensor] | None = None,
) -> Loss:
    """Soft Dice plus the voxels' cross-entropy.

    Args:
        setting: batch Dice and weights.
        output: ``softmax`` or ``sigmoid``.
        shares: of Dice, as ``soft_dice_loss`` has them.
        focus: changes the voxels' cross-entropy (focal loss); None for none.
    Returns:
        the loss, at best -1.
    """

    def loss(logits: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        probabilities, costs = score_voxels(logits, targets, output)
        weights = weigh_voxels(targets, setting.channel_weights, output)
        entropy = average_voxels(costs if focus is None else focus(costs), mask, weights, sum_ranks=setting.sum_ranks)
        overlap = soft_dice_loss(
            probabilities,
            targets,
            mask,
            batch_dice=setting.batch_dice,
            skip_first=output == "softmax",
            channel_weights=setting.channel_weights,
            shares=shares,
            sum_ranks=setting.sum_ranks,
        )
        return entropy + overlap

    return loss


def dice_ce(setting: LossSetting) -> Loss:
    """Dice plus cross-entropy, for exclusive classes (softmax).

    Raises:
        PlanError: each channel has a sigmoid of its own (regions, or a single class).
    """
    if setting.output != "softmax":
        raise PlanError(
            "the loss dice_ce needs exclusive classes and a background; regions and a single class have a channel each",
            remedy="Use dice_bce, or auto",
        )
    return make_region_loss(setting, "softmax")


def dice_bce(setting: LossSetting) -> Loss:
    """Dice plus binary cross-entropy, for one class or overlapping regions (sigmoid)."""
    return make_region_loss(setting, "sigmoid")


def default_loss(setting: LossSetting) -> Loss:
    """Dice plus cross-entropy, of the kind that fits the label scheme."""
    return dice_ce(setting) if setting.output == "softmax" else dice_bce(setting)
