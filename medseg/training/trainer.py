"""Training one fold: from prepared cases to averaged weights."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from medseg.core.errors import PlanError, ResourceError
from medseg.training.ema import copy_state, update_average
from medseg.training.job import Job, TrainedFold
from medseg.training.learner import make_learner, make_recipe
from medseg.training.monitor import EpochRecord, Monitor, raise_alarms
from medseg.training.patches.loader import Batch, Recipe, iterate_batches
from medseg.training.progress import VALIDATION_BATCHES, Progress, resume_progress, save_progress, time_steps
from medseg.training.schedule import learning_rate
from medseg.training.steps import Learner, count_overlap, take_step

CHECKPOINT_SECONDS = 60.0
BAD_STEPS_IN_A_ROW = 3


def train_network(job: Job, *, restart: bool = False) -> TrainedFold:
    """Train one network, or go on where its last checkpoint stands.

    Args:
        job: what to train.
        restart: begin anew even where a checkpoint is there.
    Returns:
        the averaged weights (the last ones where the plan averages none) and the epochs.
    Raises:
        PlanError: there is no training case, or the checkpoint belongs to another plan; the keys are named.
        ResourceError: the loss was not finite three times in a row.
    """
    if not job.training:
        raise PlanError("the fold has no training case", remedy="Give at least two patients, or --folds all")
    learner = make_learner(job)
    average = copy_state(learner.network)
    progress = resume_progress(job, learner, average, restart=restart)
    if progress.total is None and job.seconds is None:
        epochs = job.epochs or job.configuration.training.epochs
        progress.total = epochs * job.configuration.training.iterations_per_epoch
    recipe = make_recipe(job)
    with Monitor(job.folder, job.title, job.callbacks) as monitor:
        if progress.total is None or progress.step < progress.total:
            for batch in iterate_batches(job.training, recipe, progress.step, None):
                _advance(job, learner, average, progress, batch)
                time_steps(job, progress)
                if progress.total is not None and _ends_epoch(job, progress):
                    _close_epoch(job, learner, average, progress, recipe, monitor)
                    if progress.step >= progress.total:
                        break
    return TrainedFold(average, progress.history, progress.seconds_per_step)


def _advance(job: Job, learner: Learner, average: dict[str, Tensor], progress: Progress, batch: Batch) -> None:
    settings = job.configuration.training
    rate = learning_rate(progress.step, progress.total, settings.learning_rate, warm_up_steps=settings.warm_up_steps)
    loss = take_step(learner, batch, rate)
    if loss is None:
        progress.bad_steps += 1
        progress.skipped += 1
        if progress.bad_steps >= BAD_STEPS_IN_A_ROW:
            raise ResourceError(
                f"{job.title}: the loss was not finite {BAD_STEPS_IN_A_ROW} times in a row",
                code="loss_not_finite",
                remedy="Lower the learning rate (--set learning_rate=...) or use --set precision=float32",
            )
    else:
        progress.bad_steps = 0
        progress.losses.append(loss)
    update_average(average, learner.network, settings.ema_decay, progress.step)
    progress.step += 1


def _ends_epoch(job: Job, progress: Progress) -> bool:
    per_epoch = job.configuration.training.iterations_per_epoch
    return progress.step % per_epoch == 0 or progress.step == progress.total


def _close_epoch(
    job: Job, learner: Learner, average: dict[str, Tensor], progress: Progress, recipe: Recipe, monitor: Monitor
) -> None:
    settings, total = job.configuration.training, progress.total or progress.step
    validation_loss, dice = _validate_patches(job, learner, average, recipe)
    record = EpochRecord(
        epoch=-(-progress.step // settings.iterations_per_epoch),
        steps=progress.step,
        total_steps=total,
        learning_rate=learning_rate(progress.step, total, settings.learning_rate, warm_up_steps=0),
        loss=_mean(progress.losses),
        validation_loss=validation_loss,
        patch_dice=dice,
        seconds_left=(total - progress.step) * progress.seconds_per_step,
        alarms=raise_alarms(progress.history, dice, progress.step / total),
        skipped_steps=progress.skipped,
    )
    progress.losses = []
    progress.history.append(record)
    # Saved before it is reported, so that a faulty callback loses nothing.
    if progress.step >= total or time.monotonic() - progress.saved_at > CHECKPOINT_SECONDS:
        save_progress(job, learner, average, progress)
    monitor.report(record)


def _validate_patches(
    job: Job, learner: Learner, average: dict[str, Tensor], recipe: Recipe
) -> tuple[float | None, dict[str, float | None]]:
    """Loss and Dice of the averaged weights on the same few patches of the validation cases every time."""
    if not job.validation:
        return None, {}
    plain = Recipe(recipe.patch_size, recipe.patch_size, recipe.batch_size, recipe.foreground_share, recipe.seed)
    own = copy_state(learner.network)
    learner.network.load_state_dict(average)
    overlaps, losses = [], []
    for batch in iterate_batches(job.validation, plain, 0, VALIDATION_BATCHES):
        loss, overlap = count_overlap(learner, batch)
        losses.append(loss)
        overlaps.append(overlap)
    learner.network.load_state_dict(own)
    both, sizes = torch.stack(overlaps).sum(0).T.tolist()
    dice = {name: (b / s if s else None) for name, b, s in zip(job.plan.labels.names, both, sizes, strict=True)}
    return _mean(losses), dice


def _mean(losses: list[float]) -> float | None:
    """None where no step counted, or where the network has gone astray and the mean is not finite."""
    mean = sum(losses) / len(losses) if losses else math.nan
    return mean if math.isfinite(mean) else None
