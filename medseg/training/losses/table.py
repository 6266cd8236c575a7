"""Losses over membership maps, so that classes, regions and ignored voxels need no special case."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from medseg.core.labels import LabelScheme
from medseg.core.registry import Registry

# (logits (batch, channel, ...), targets of the same shape, 0 or 1, mask (batch, 1, ...) of the voxels that count or
# None) to a scalar.
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

SMOOTH = 1e-5  # nnU-Net's; keeps an empty class from dividing by nothing


def soft_dice_loss(
    probabilities: Tensor, targets: Tensor, mask: Tensor | None, *, batch_dice: bool, skip_first: bool
) -> Tensor:
    """Minus the mean soft Dice of the channels.

    Args:
        probabilities: (batch, channel, ...), 0 to 1.
        targets: the same shape, 0 or 1.
        mask: (batch, 1, ...), 1 where a voxel counts; None for all.
        batch_dice: one Dice over the whole batch instead of one a sample.
        skip_first: leave out the first channel (a softmax's background).
    Returns:
        a scalar from -1 (perfect) to 0.
    Source: Drozdzal et al. (2016) as used by nnU-Net: 2 |PT| / (|P| + |T|).
    """
    if skip_first:
        probabilities, targets = probabilities[:, 1:], targets[:, 1:]
    if mask is not None:
        probabilities, targets = probabilities * mask, targets * mask
    axes = tuple(range(2, probabilities.ndim))
    overlap, sizes = (probabilities * targets).sum(axes), probabilities.sum(axes) + targets.sum(axes)
    if batch_dice:
        overlap, sizes = overlap.sum(0), sizes.sum(0)
    return -((2 * overlap + SMOOTH) / (sizes + SMOOTH).clamp_min(1e-8)).mean()


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() * (values.shape[1])).clamp_min(1)


def dice_ce(batch_dice: bool) -> Loss:
    """Dice plus cross-entropy, for exclusive classes (softmax)."""

    def loss(logits: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        log_probabilities = functional.log_softmax(logits, dim=1)
        entropy = _mean(-(targets * log_probabilities).sum(1, keepdim=True), mask)
        dice = soft_dice_loss(log_probabilities.exp(), targets, mask, batch_dice=batch_dice, skip_first=True)
        return entropy + dice

    return loss


def dice_bce(batch_dice: bool) -> Loss:
    """Dice plus binary cross-entropy, for one class or overlapping regions (sigmoid)."""

    def loss(logits: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        entropy = _mean(functional.binary_cross_entropy_with_logits(logits, targets, reduction="none"), mask)
        dice = soft_dice_loss(logits.sigmoid(), targets, mask, batch_dice=batch_dice, skip_first=False)
        return entropy + dice

    return loss


LOSSES: Registry[Callable[[bool], Loss]] = Registry("loss")
LOSSES.add("dice_ce")(dice_ce)
LOSSES.add("dice_bce")(dice_bce)


def build_loss(name: str | Loss, labels: LabelScheme, *, batch_dice: bool) -> Loss:
    """The loss called ``name``, or ``name`` itself where it is a function; ``auto`` goes by the label scheme."""
    if not isinstance(name, str):
        return name
    chosen = {"softmax": "dice_ce", "sigmoid": "dice_bce"}[labels.output] if name == "auto" else name
    return LOSSES.get(chosen)(batch_dice)


def weigh_depths(count: int) -> list[float]:
    """Weights of deep supervision: halved from stage to stage, 0 for the coarsest, 1 together (nnU-Net's)."""
    weights = [0.5**depth for depth in range(count)]
    if count > 1:
        weights[-1] = 0.0
    return [weight / sum(weights) for weight in weights]


def supervise_depths(loss: Loss, logits: Sequence[Tensor], targets: Tensor, mask: Tensor | None) -> Tensor:
    """The loss over all decoder stages; targets are thinned (nearest voxel) to each stage's grid."""
    total = torch.zeros((), device=targets.device)
    for weight, stage in zip(weigh_depths(len(logits)), logits, strict=True):
        if weight:
            shape = stage.shape[2:]
            total = total + weight * loss(
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


def encode_targets(labels: Tensor, table: Tensor, ignore: int | None) -> tuple[Tensor, Tensor | None]:
    """Label values as membership maps.

    Args:
        labels: (batch, ...), values of the label map.
        table: (channel, value), ``LabelScheme.channel_table()`` as float32 on the same device.
        ignore: the ignore label, where there is one.
    Returns:
        targets (batch, channel, ...), float32, and the mask (batch, 1, ...) of labelled voxels or None.
    """
    values = labels.long()
    targets = table[:, values].movedim(0, 1)
    mask = None if ignore is None else (values != ignore).unsqueeze(1).float()
    return targets, mask
