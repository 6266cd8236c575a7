"""Losses: how far logits are from what they should be."""

from medseg.training.losses.table import (
    LOSSES,
    SMOOTH,
    Loss,
    build_loss,
    dice_bce,
    dice_ce,
    encode_targets,
    soft_dice_loss,
    supervise_depths,
    weigh_depths,
)

__all__ = [
    "LOSSES",
    "SMOOTH",
    "Loss",
    "build_loss",
    "dice_bce",
    "dice_ce",
    "encode_targets",
    "soft_dice_loss",
    "supervise_depths",
    "weigh_depths",
]
