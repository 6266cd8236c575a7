"""Training one fold: from prepared cases to averaged weights."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medseg.augmentation import DEFAULT_AUGMENTATIONS, Augmentation, Scene, enlarge_patch
from medseg.compute.devices import choose_device, choose_precision
from medseg.core.errors import PlanError, ResourceError
from medseg.core.plan import Configuration, Plan
from medseg.networks import BuildNetwork, build_network
from medseg.training.checkpoint import Checkpoint, load_checkpoint, pack_optimiser, save_checkpoint, unpack_optimiser
from medseg.training.ema import copy_state, update_average
from medseg.training.loader import Batch, Recipe, Source, iterate_batches
from medseg.training.losses import Loss, build_loss
from medseg.training.monitor import Callback, EpochRecord, Monitor, raise_alarms
from medseg.training.schedule import fit_steps, learning_rate
from medseg.training.steps import Learner, count_overlap, take_step

logger = logging.getLogger(__name__)

# The first steps pay for memory and kernel choice; the next ones are timed.
UNTIMED_STEPS, TIMED_STEPS = 4, 12
VALIDATION_BATCHES = 4  # per epoch; the patch Dice is a sign of life, not a result
CHECKPOINT_SECONDS = 60.0
BAD_STEPS_IN_A_ROW = 3
MOMENTUM = 0.99


@dataclass(frozen=True)
class Job:
    """What is trained, and for how long.

    Args:
        plan, configuration: what to train.
        training, validation: prepared cases.
        folder: the run's folder.
        title: for messages, such as ``3d_fullres fold 0``.
        seconds: wall-clock for the whole training; None for ``epochs``.
        epochs: used where ``seconds`` is None.
        identity: what must be equal for a checkpoint to be continued.
        loss, network, augmentations, callbacks: objects in place of the plan's names.
    """

    plan: Plan
    configuration: Configuration
    training: Sequence[Source]
    validation: Sequence[Source]
    folder: Path
    title: str
    seconds: float | None = None
    epochs: int | None = None
    device: str = "auto"
    identity: dict[str, str] = field(default_factory=dict)
    loss: str | Loss | None = None
    network: str | BuildNetwork | None = None
    augmentations: Sequence[Augmentation] = DEFAULT_AUGMENTATIONS
    callbacks: Sequence[Callback] = ()


@dataclass(frozen=True)
class TrainedFold:
    """What training gives: the averaged weights, the epochs, and seconds a step took."""

    weights: dict[str, Tensor]
    history: list[EpochRecord]
    seconds_per_step: float


@dataclass
class _Progress:
    """What moves while training runs."""

    step: int = 0
    total: int | None = None
    seconds_per_step: float = 0.0
    bad_steps: int = 0
    skipped: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[EpochRecord] = field(default_factory=list)
    saved_at: float = field(default_factory=time.monotonic)


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
    began = time.monotonic()
    learner = _make_learner(job)
    average = copy_state(learner.network)
    progress = _resume(job, learner, average, restart=restart)
    if progress.total is None and job.seconds is None:
        epochs = job.epochs or job.configuration.training.epochs
        progress.total = epochs * job.configuration.training.iterations_per_epoch
    recipe = _make_recipe(job)
    with Monitor(job.folder, job.title, job.callbacks) as monitor:
        if progress.total is None or progress.step < progress.total:
            for batch in iterate_batches(job.training, recipe, progress.step, None):
                _advance(job, learner, average, progress, batch)
                _fix_total(job, progress, began)
                if progress.total is not None and _ends_epoch(job, progress):
                    _close_epoch(job, learner, average, progress, recipe, monitor)
                    if progress.step >= progress.total:
                        break
    return TrainedFold(average, progress.history, progress.seconds_per_step)


def _make_learner(job: Job) -> Learner:
    settings, labels = job.configuration.training, job.plan.labels
    device = choose_device(job.device)
    network = build_network(
        job.configuration, len(job.plan.channels), labels.channel_count, network=job.network, seed=settings.seed
    ).to(device)
    layout: Any = torch.channels_last_3d if job.configuration.dimensions == 3 else torch.channels_last
    network.to(memory_format=layout)  # type: ignore[call-overload]
    precision = choose_precision(settings.precision, device)
    return Learner(
        network=network.train(),
        optimiser=_make_optimiser(network, job.configuration),
        loss=build_loss(job.loss or settings.loss, labels, batch_dice=job.configuration.batch_dice),
        labels=labels,
        table=torch.from_numpy(labels.channel_table()).float().to(device),
        scene=_make_scene(job),
        augmentations=job.augmentations,
        device=device,
        precision=precision,
        dimensions=job.configuration.dimensions,
        scaler=torch.amp.GradScaler(device.type, enabled=precision == torch.float16),
    )


def _make_optimiser(network: nn.Module, configuration: Configuration) -> torch.optim.Optimizer:
    settings = configuration.training
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=True
        )
    return torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=settings.weight_decay,
        foreach=True,
    )


def _is_flat(patch_size: Sequence[int]) -> bool:
    # nnU-Net's rule: where the patch is three times longer in the plane, rotating out of it would mix thick slices.
    return patch_size[0] > 1 and max(patch_size) / patch_size[0] > 3


def _make_scene(job: Job) -> Scene:
    patch = job.configuration.patch_size
    axes = job.configuration.training.mirror_axes
    if job.configuration.dimensions == 2:
        return Scene(patch[1:], len(job.plan.channels), False, tuple(axis - 1 for axis in axes if axis > 0))
    return Scene(patch, len(job.plan.channels), _is_flat(patch), axes)


def _make_recipe(job: Job) -> Recipe:
    patch = job.configuration.patch_size
    spatial = any(augmentation.name == "spatial" for augmentation in job.augmentations)
    return Recipe(
        patch_size=patch,
        read_size=enlarge_patch(patch, flat_rotation=_is_flat(patch)) if spatial else patch,
        batch_size=job.configuration.batch_size,
        foreground_share=job.configuration.training.foreground_share,
        seed=job.configuration.training.seed,
    )


def _advance(job: Job, learner: Learner, average: dict[str, Tensor], progress: _Progress, batch: Batch) -> None:
    settings = job.configuration.training
    rate = learning_rate(progress.step, progress.total, settings.learning_rate, warm_up=settings.optimiser == "adamw")
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


def _fix_total(job: Job, progress: _Progress, began: float) -> None:
    """Once the time of a step is known, fix how many there will be."""
    now = time.monotonic()
    if progress.step == UNTIMED_STEPS:
        progress.seconds_per_step = -now
    if progress.step == UNTIMED_STEPS + TIMED_STEPS and progress.seconds_per_step < 0:
        progress.seconds_per_step = (now + progress.seconds_per_step) / TIMED_STEPS
        if progress.total is None and job.seconds is not None:
            left = max(0.0, job.seconds - (now - began))
            per_epoch = job.configuration.training.iterations_per_epoch
            # Validation patches cost about a third of a step each.
            epoch_cost = 1 + VALIDATION_BATCHES / 3 / per_epoch
            steps = progress.step + fit_steps(left, progress.seconds_per_step * epoch_cost, 1)
            progress.total = max(per_epoch, steps - steps % per_epoch)
            logger.info(
                "%s: %.2f s a step, %d steps in %d epochs",
                job.title,
                progress.seconds_per_step,
                progress.total,
                progress.total // per_epoch,
            )


def _ends_epoch(job: Job, progress: _Progress) -> bool:
    per_epoch = job.configuration.training.iterations_per_epoch
    return progress.step % per_epoch == 0 or progress.step == progress.total


def _close_epoch(
    job: Job, learner: Learner, average: dict[str, Tensor], progress: _Progress, recipe: Recipe, monitor: Monitor
) -> None:
    settings, total = job.configuration.training, progress.total or progress.step
    validation_loss, dice = _validate_patches(job, learner, average, recipe)
    record = EpochRecord(
        epoch=-(-progress.step // settings.iterations_per_epoch),
        steps=progress.step,
        total_steps=total,
        learning_rate=learning_rate(progress.step, total, settings.learning_rate, warm_up=False),
        loss=sum(progress.losses) / max(1, len(progress.losses)),
        validation_loss=validation_loss,
        patch_dice=dice,
        seconds_left=max(0.0, (total - progress.step) * max(0.0, progress.seconds_per_step)),
        alarms=raise_alarms(progress.history, dice, progress.step / total),
        skipped_steps=progress.skipped,
    )
    progress.losses = []
    progress.history.append(record)
    monitor.report(record)
    if progress.step >= total or time.monotonic() - progress.saved_at > CHECKPOINT_SECONDS:
        _save(job, learner, average, progress)
        progress.saved_at = time.monotonic()


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
    return sum(losses) / len(losses), dice


def _save(job: Job, learner: Learner, average: dict[str, Tensor], progress: _Progress) -> None:
    tensors = {f"network.{name}": tensor for name, tensor in learner.network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    tensors |= pack_optimiser(learner.optimiser)
    facts = {
        "step": progress.step,
        "total": progress.total,
        "seconds_per_step": progress.seconds_per_step,
        "skipped": progress.skipped,
        "identity": job.identity,
        "scaler": {name: float(value) for name, value in learner.scaler.state_dict().items()},
    }
    epoch = -(-progress.step // job.configuration.training.iterations_per_epoch)
    save_checkpoint(job.folder / "checkpoints", Checkpoint(tensors, facts), epoch)


def _resume(job: Job, learner: Learner, average: dict[str, Tensor], *, restart: bool) -> _Progress:
    checkpoint = None if restart else load_checkpoint(job.folder / "checkpoints")
    if checkpoint is None:
        return _Progress()
    facts = checkpoint.facts
    different = sorted(key for key, value in job.identity.items() if facts["identity"].get(key) != value)
    if different:
        raise PlanError(
            f"{job.title}: the run in {job.folder} was made with other {', '.join(different)}",
            code="incompatible_run",
            remedy="Use --restart to begin anew",
        )
    network = {k.removeprefix("network."): v for k, v in checkpoint.tensors.items() if k.startswith("network.")}
    learner.network.load_state_dict(network)
    for name, tensor in average.items():
        tensor.copy_(checkpoint.tensors[f"average.{name}"])
    unpack_optimiser(learner.optimiser, checkpoint.tensors)
    learner.scaler.load_state_dict(facts["scaler"])
    logger.info("%s: goes on at step %d of %s", job.title, facts["step"], facts["total"])
    progress = _Progress(step=facts["step"], total=facts["total"], skipped=facts["skipped"])
    progress.seconds_per_step = facts["seconds_per_step"]
    if job.seconds is None and job.epochs is not None:
        progress.total = job.epochs * job.configuration.training.iterations_per_epoch
    return progress
