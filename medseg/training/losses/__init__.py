"""Losses: how far logits are from what they should be."""

from medseg.training.losses.depths import supervise_depths, weigh_depths
from medseg.training.losses.dice import SMOOTH, soft_dice_loss
from medseg.training.losses.setting import DetailedLoss, Loss, LossSetting
from medseg.training.losses.table import LOSSES, build_loss
from medseg.training.losses.targets import encode_targets

__all__ = [
    "LOSSES",
    "SMOOTH",
    "DetailedLoss",
    "Loss",
    "LossSetting",
    "build_loss",
    "encode_targets",
    "soft_dice_loss",
    "supervise_depths",
    "weigh_depths",
]
