"""Dice plus focal loss: voxels that are right already count less and less."""

from __future__ import annotations

import torch
from torch import Tensor

from medseg.training.losses.dice import make_region_loss
from medseg.training.losses.setting import Loss, LossSetting

GAMMA = 2  # Lin et al.: best of 0.5 to 5


def focus_costs(costs: Tensor) -> Tensor:
    """(1 - p) ** 2 times each voxel's cross-entropy -log p.

    Source: Lin et al., "Focal loss for dense object detection" (2017), equation 4; its balancing factor is the weight
        of the class.
    """
    return (-torch.expm1(-costs)) ** GAMMA * costs


def dice_focal(setting: LossSetting) -> Loss:
    """Dice plus focal loss, over a softmax or sigmoids as the label scheme has it."""
    return make_region_loss(setting, setting.output, focus=focus_costs)
