"""Loss and Dice on a few patches of the validation cases: a sign of life every epoch, not the Dice of whole scans."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from medseg.core.errors import DatasetError
from medseg.training.faults import name_faults
from medseg.training.job import Job
from medseg.training.patches.inputs import put_on_device
from medseg.training.patches.loader import Batch, Recipe, iterate_batches
from medseg.training.patches.quarantine import Quarantine
from medseg.training.steps import Learner, compute_loss

VALIDATION_BATCHES = 4  # per epoch

# What is random or counts batches while a network trains. The network as a whole stays in training mode, so that it
# gives the logits of all depths, whose loss can be compared with the training's.
TRAINING_ONLY = (
    *(nn.Dropout, nn.Dropout2d, nn.Dropout3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
)


@dataclass(frozen=True)
class PatchScores:
    """What the averaged weights make of the validation patches.

    Args:
        loss: the mean; None without validation cases, or where it is not finite.
        dice: per name of the label scheme; None where neither reference nor prediction holds it.
        unpredicted: names that the references hold and no prediction does.
    """

    loss: float | None
    dice: dict[str, float | None]
    unpredicted: tuple[str, ...] = ()


def score_patches(
    job: Job,
    learner: Learner,
    averaged: nn.Module,
    recipe: Recipe,
    quarantine: Quarantine,
    check: Callable[[], None],
) -> PatchScores:
    """Score the averaged weights on the same few patches every time, which all processes share.

    Args:
        job: with the validation cases.
        learner: loss, labels and device.
        averaged: the network to score.
        recipe: of the training's batches.
        quarantine: cases left out, to which damaged ones are added.
        check: called before each batch; may raise to stop.
    Returns:
        the scores; no loss and no Dice where there is no validation case that can be read.
    """
    if all(source.name in quarantine for source in job.validation):
        return PatchScores(None, {})
    plain = replace(recipe, read_size=recipe.patch_size)
    losses, counts = [], []
    with _settled(averaged):
        batches = iterate_batches(job.validation, plain, 0, VALIDATION_BATCHES, quarantine=quarantine)
        try:
            for batch in batches:
                check()
                loss, count = count_overlap(learner, averaged, batch)
                losses.append(loss)
                counts.append(count)
        except DatasetError as error:
            if error.code != "no_cases":  # every validation case is damaged; each is in quarantine now
                raise
            return PatchScores(None, {})
    both, predicted, true = learner.ranks.add(torch.stack(counts).sum(0)).T.tolist()
    mean = float(learner.ranks.add(torch.stack(losses).mean() * learner.share))
    names = job.plan.labels.names
    return PatchScores(
        loss=mean if math.isfinite(mean) else None,
        dice={n: (2 * b / (p + t) if p + t else None) for n, b, p, t in zip(names, both, predicted, true, strict=True)},
        unpredicted=tuple(n for n, p, t in zip(names, predicted, true, strict=True) if t and not p),
    )


@torch.no_grad()
def count_overlap(learner: Learner, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss and overlap on patches that nothing changes.

    Args:
        learner: loss, labels and device.
        network: gives the logits.
        batch: patches as read.
    Returns:
        the loss, and per name of the label scheme |P and T|, |P|, |T| in voxels, (name, 3).
    """
    images, labels = put_on_device(batch, learner.device, learner.dimensions)
    forward = name_faults(network, "network", network)
    loss, logits, targets, mask = compute_loss(learner, forward, images, labels)
    first = int(learner.labels.output == "softmax")
    if first:
        predicted = torch.zeros_like(targets).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
    else:
        predicted = (logits > 0).float()
    predicted, targets = predicted[:, first:], targets[:, first:]
    if mask is not None:
        predicted, targets = predicted * mask, targets * mask
    axes = (0, *range(2, targets.ndim))
    return loss, torch.stack([(predicted * targets).sum(axes), predicted.sum(axes), targets.sum(axes)], dim=1)


@contextmanager
def _settled(network: nn.Module) -> Iterator[None]:
    """Neither dropout nor new batch statistics inside the block."""
    moved = [module for module in network.modules() if isinstance(module, TRAINING_ONLY) and module.training]
    for module in moved:
        module.eval()
    try:
        yield
    finally:
        for module in moved:
            module.train()
