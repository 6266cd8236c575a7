"""The table of losses: a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from medseg.core.errors import PlanError
from medseg.core.labels import LabelScheme
from medseg.core.registry import Registry
from medseg.training.losses.boundary import boundary, hausdorff
from medseg.training.losses.dice import dice_bce, dice_ce
from medseg.training.losses.focal import dice_focal
from medseg.training.losses.lesions import lesion_dice
from medseg.training.losses.setting import Loss, LossSetting, SumRanks, keep_sum
from medseg.training.losses.tversky import tversky

LOSSES: Registry[Callable[[LossSetting], Loss]] = Registry("loss")
LOSSES.add("dice_ce")(dice_ce)
LOSSES.add("dice_bce")(dice_bce)
LOSSES.add("dice_focal")(dice_focal)
LOSSES.add("tversky")(tversky)
LOSSES.add("boundary")(boundary)
LOSSES.add("hausdorff")(hausdorff)
LOSSES.add("lesion_dice")(lesion_dice)


def build_loss(
    name: str | Loss,
    labels: LabelScheme,
    *,
    batch_dice: bool,
    class_weights: Sequence[float] = (),
    spacing_mm: Sequence[float | None] = (),
    sum_ranks: SumRanks = keep_sum,
) -> Loss:
    """The loss called ``name``, or ``name`` itself where it is a function.

    Args:
        name: an entry of the table; ``auto`` for Dice plus cross-entropy as the label scheme asks; or a function of
            (logits, targets, mask).
        labels: says whether channels share a softmax.
        batch_dice: one Dice over the whole batch instead of one a sample.
        class_weights: of each name of the label scheme, in its order; the background's is 1. Empty: all count the
            same.
        spacing_mm: of the voxels along each axis, for losses that know distances; empty where it is the same.
        sum_ranks: makes sums over a batch those over the batches of all processes that train together. A function of
            the user's own does not get it: it sees the samples of its process, and the mean over the processes counts.
    Returns:
        a function of (logits, targets, mask).
    Raises:
        PlanError: an unknown name, a loss that cannot have these labels, weights that are not one positive number a
            name, or weights for an object, which has its own.
    """
    weights = _weigh_channels(labels, class_weights)
    if not isinstance(name, str):
        if weights is not None:
            raise PlanError(
                "class_weights belong to the losses of the table", remedy="Weigh classes in your own loss itself"
            )
        return name
    chosen = {"softmax": "dice_ce", "sigmoid": "dice_bce"}[labels.output] if name == "auto" else name
    known = [float(spacing) for spacing in spacing_mm if spacing]
    relative = tuple(spacing / min(known) for spacing in known) if len(known) == len(spacing_mm) else ()
    return LOSSES.get(chosen)(LossSetting(labels.output, batch_dice, weights, relative, sum_ranks))


def _weigh_channels(labels: LabelScheme, class_weights: Sequence[float]) -> tuple[float, ...] | None:
    if not class_weights:
        return None
    names = ", ".join(labels.names)
    if len(class_weights) != len(labels.names):
        raise PlanError(
            f"class_weights has {len(class_weights)} numbers for {len(labels.names)} labels",
            code="bad_setting",
            remedy=f"Give one for each of {names}",
        )
    if not all(0 < weight < float("inf") for weight in class_weights):
        raise PlanError(f"class_weights must be above 0, got {tuple(class_weights)}", code="bad_setting")
    background = (1.0,) if labels.output == "softmax" else ()
    return (*background, *map(float, class_weights))
