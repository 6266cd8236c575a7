"""Losses that know how far an error lies from the border: boundary loss and Hausdorff distance loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medseg.training.losses.averages import along_channels, average_voxels, score_voxels
from medseg.training.losses.dice import default_loss
from medseg.training.losses.distances import measure_maps
from medseg.training.losses.setting import DetailedLoss, Loss, LossSetting

# (probabilities and targets of the labels' channels, mask, spacing) to what each voxel costs, at best 0.
Cost = Callable[[Tensor, Tensor, Tensor | None, tuple[float, ...]], Tensor]


def cost_by_boundary(
    probabilities: Tensor, targets: Tensor, mask: Tensor | None, spacing: tuple[float, ...] = ()
) -> Tensor:
    """Each voxel's error times its distance from the true border.

    Args:
        probabilities, targets: (batch, channel, ...), without a softmax's background.
        mask: (batch, 1, ...), 1 where a voxel counts; None for all.
        spacing: of the voxels along each axis; empty for 1.
    Returns:
        (batch, channel, ...), at least 0; 0 in channels whose target is empty or full, which have no border.
    Source: Kervadec et al., "Boundary loss for highly unbalanced segmentation" (2019), equation 5, with the constant
        kept that makes a perfect answer cost 0. The border lies at the nearest voxel of the other kind.
    """
    return (probabilities - targets) * measure_maps(targets, mask, spacing)


def cost_by_hausdorff(
    probabilities: Tensor, targets: Tensor, mask: Tensor | None, spacing: tuple[float, ...] = ()
) -> Tensor:
    """Each voxel's squared error times its squared distances from the true and from the predicted border.

    Args:
        probabilities, targets: (batch, channel, ...), without a softmax's background.
        mask: (batch, 1, ...), 1 where a voxel counts; None for all.
        spacing: of the voxels along each axis; empty for 1.
    Returns:
        (batch, channel, ...), at least 0.
    Source: Karimi & Salcudean, "Reducing the Hausdorff distance in medical image segmentation with convolutional
        neural networks" (2020), equation 8, with their alpha of 2.
    """
    true, predicted = measure_maps(targets, mask, spacing), measure_maps(probabilities, mask, spacing)
    return (probabilities - targets) ** 2 * (true**2 + predicted**2)


def boundary(setting: LossSetting) -> Loss:
    """Dice plus cross-entropy plus the boundary loss, for the finest stage."""
    return _add_term(setting, cost_by_boundary)


def hausdorff(setting: LossSetting) -> Loss:
    """Dice plus cross-entropy plus the Hausdorff distance loss, for the finest stage."""
    return _add_term(setting, cost_by_hausdorff)


def _add_term(setting: LossSetting, cost: Cost) -> Loss:
    region = default_loss(setting)

    def loss(logits: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        value = region(logits, targets, mask)
        probabilities = score_voxels(logits, targets, setting.output)[0][:, setting.first :]
        shown = targets[:, setting.first :]
        weights = None if setting.label_weights is None else along_channels(setting.label_weights, shown)
        costs = cost(probabilities, shown, mask, setting.spacing)
        term = average_voxels(costs, mask, weights, sum_ranks=setting.sum_ranks)
        # Both are means over the samples of this process.
        region_all, term_all = setting.sum_ranks(len(logits) * torch.stack([value + 1, term]).detach())
        return value + term * _balance(region_all, term_all)

    return DetailedLoss(loss, region)


def _balance(region: Tensor, term: Tensor) -> Tensor:
    # In the first steps the far errors are many and would drown the rest. Kervadec et al. let the term's weight rise
    # from epoch to epoch, to 1; Karimi & Salcudean set it once an epoch so that both parts are as large. A loss that
    # remembers nothing: as large at most, and never more than the term itself. The region's loss is -1 at best, so that
    # here 1 is added.
    return (region / term.clamp_min(1e-8)).clamp(0, 1)
