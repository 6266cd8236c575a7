"""A training run: what moves in it, writing that down, and going on from it exactly."""

from __future__ import annotations

import logging
import shutil
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from medseg.core.disk import require_room
from medseg.core.errors import PlanError
from medseg.training.checkpoint import (
    KEPT,
    Checkpoint,
    find_not_finite,
    list_checkpoints,
    load_checkpoint,
    pack_optimiser,
    save_checkpoint,
    unpack_optimiser,
)
from medseg.training.ema import copy_tensors, make_averaged
from medseg.training.fine_tuning.transfer import start_network
from medseg.training.job import Job
from medseg.training.learner import make_learner, make_recipe
from medseg.training.monitor import rewrite_log
from medseg.training.patches.loader import Recipe
from medseg.training.patches.quarantine import Quarantine
from medseg.training.plateau import has_settled
from medseg.training.progress import Progress, pack_progress, unpack_progress
from medseg.training.schedule import format_duration
from medseg.training.steps import Learner, Outcome

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """A run while it trains.

    Args:
        averaged: the network with the averaged weights.
        good: the state to go back to where the training goes astray, in the computer's memory.
        good_step: whose it is.
        pending: steps whose outcome nobody has looked at yet.
        buffers: of the network before the step that runs, so that a bad step leaves no trace in batch statistics.
        saves_memory: whether features are computed twice.
        writing: the checkpoint that is being written.
    """

    job: Job
    learner: Learner
    averaged: nn.Module
    progress: Progress
    quarantine: Quarantine
    recipe: Recipe
    good: dict[str, Tensor] = field(default_factory=dict)
    good_step: int = 0
    pending: deque[Outcome] = field(default_factory=deque)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    saves_memory: bool = False
    saved_at: float = field(default_factory=time.monotonic)
    saved_step: int = 0
    writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))
    writing: Future[None] | None = None


def open_run(job: Job, *, restart: bool) -> Run:
    """The run that stands in the job's folder, ready to go on, or a new one.

    Args:
        job: with the run's folder and identity.
        restart: remove what an earlier run left and begin anew.
    Returns:
        the run; at step 0 where there is no checkpoint.
    Raises:
        PlanError: the checkpoint was made with other settings; their keys are named.
        ResourceError: the disk has no room for checkpoints.
    """
    with job.ranks.one_by_one():
        if restart and job.ranks.is_first:
            _clear_run(job)
    checkpoint = load_checkpoint(job.folder / "checkpoints")
    _refuse_different(job, checkpoint)
    if checkpoint is not None:
        _refuse_other(job, checkpoint)
    learner = make_learner(job)
    if checkpoint is None:
        start_network(job, learner.network)
    averaged = make_averaged(learner.network, job.configuration.training.ema_decay)
    run = Run(job, learner, averaged, Progress(budget_s=job.seconds), Quarantine(), make_recipe(job))
    run.saves_memory = job.configuration.training.gradient_checkpointing
    if checkpoint is not None:
        _restore(run, checkpoint)
    if run.progress.total is None and run.progress.budget_s is None:
        run.progress.total = _count_steps(job)
    alarms = list(job.alarms)
    if job.configuration.training.patience_epochs and not job.validation:
        alarms.append("patience_epochs stops nothing: the fold has no validation case; give a number of epochs")
    for alarm in alarms:
        if run.progress.say(alarm):
            logger.warning("%s: %s", job.title, alarm)
    if job.ranks.is_first:
        rewrite_log(job.folder, run.progress.history)
    if job.ranks.is_first and not run.progress.finished:
        _require_room(run)
    if checkpoint is None:
        keep_good(run)
    return run


def pack_state(run: Run) -> dict[str, Tensor]:
    """Copies of weights, averaged weights and the optimiser's state, in the computer's memory."""
    tensors = {f"network.{name}": tensor for name, tensor in run.learner.network.state_dict().items()}
    tensors |= {f"network.{name}": tensor for name, tensor in run.buffers.items()}
    tensors |= {f"average.{name}": tensor for name, tensor in run.averaged.state_dict().items()}
    tensors |= pack_optimiser(run.learner.optimiser)
    return copy_tensors(tensors)


@torch.no_grad()
def unpack_state(run: Run, tensors: Mapping[str, Tensor]) -> None:
    """Put packed tensors back into network, average and optimiser, which keep copies."""
    for prefix, network in (("average.", run.averaged), ("network.", run.learner.network)):
        network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    unpack_optimiser(run.learner.optimiser, tensors)


def keep_good(run: Run) -> bool:
    """Keep the state as it stands as the one to go back to; not where a number in it is not finite."""
    state = pack_state(run)
    if find_not_finite(state) is not None:
        return False
    run.good, run.good_step = state, run.progress.step
    return True


def save_run(run: Run, *, wait: bool = False) -> None:
    """Write a checkpoint that ``open_run`` goes on from exactly, beside the training.

    Args:
        run: its state; where a number in it is not finite, nothing is written, with a warning. Of several processes,
            whose states are the same, the first one writes.
        wait: for the file to be written.
    """
    progress, job = run.progress, run.job
    if not job.ranks.is_first:
        return
    tensors = run.good if run.good_step == progress.step else pack_state(run)
    if (bad := find_not_finite(tensors)) is not None:
        logger.warning("%s: %s is not finite; no checkpoint is written at step %d", job.title, bad, progress.step)
        return
    if run.good_step != progress.step:
        tensors = tensors | {f"good.{name}": tensor for name, tensor in run.good.items()}
    facts = {
        "progress": pack_progress(progress),
        "good_step": run.good_step,
        "quarantine": run.quarantine.facts,
        "identity": job.identity,
        "scaler": {name: float(value) for name, value in run.learner.scaler.state_dict().items()},
    }
    finish_writing(run)
    epoch, steps = divmod(progress.step, job.configuration.training.iterations_per_epoch)
    folder, checkpoint = job.folder / "checkpoints", Checkpoint(tensors, facts)
    run.writing = run.writer.submit(save_checkpoint, folder, checkpoint, epoch, steps)
    run.saved_at, run.saved_step = time.monotonic(), progress.step
    if wait:
        finish_writing(run)


def finish_writing(run: Run) -> None:
    """Wait for the checkpoint that is being written; raises what stopped it from being written."""
    if run.writing is not None:
        run.writing.result()
        run.writing = None


def _restore(run: Run, checkpoint: Checkpoint) -> None:
    job, facts = run.job, checkpoint.facts
    unpack_state(run, checkpoint.tensors)
    run.learner.scaler.load_state_dict(facts["scaler"])
    run.progress = progress = unpack_progress(facts["progress"])
    run.quarantine.load(facts["quarantine"])
    run.good_step, run.saved_step = facts["good_step"], progress.step
    good = {k.removeprefix("good."): v for k, v in checkpoint.tensors.items() if k.startswith("good.")}
    run.good = good or checkpoint.tensors
    logger.info("%s: goes on at step %d of %s", job.title, progress.step, progress.total)
    if has_settled(progress.history, job.configuration.training.patience_epochs):
        progress.total = progress.step
    elif job.seconds is None and job.epochs is not None:
        progress.budget_s = None
        if progress.total != (total := _count_steps(job)):
            progress.total, progress.anchor_step, progress.anchor_share = total, 0, 0.0
    elif job.seconds is not None and progress.budget_s is not None and abs(job.seconds / progress.budget_s - 1) > 0.01:
        kept = format_duration(progress.budget_s)
        logger.info("%s: the run keeps the budget of %s that it began with; --restart takes another", job.title, kept)


def _require_room(run: Run) -> None:
    """Refuse to begin where the disk has no room for the checkpoints that are kept and the one being written."""
    job = run.job
    network = sum(tensor.nbytes for tensor in run.learner.network.state_dict().values())
    # Weights, their average, the optimiser's one or two moments of each.
    copies = 4 if job.configuration.training.optimiser == "adamw" else 3
    folder = job.folder / "checkpoints"
    missing = max(1, KEPT + 1 - len(list_checkpoints(folder)))
    purpose = f"{job.title}: keeping {KEPT} checkpoints while the next one is written"
    require_room(folder, copies * network * missing, purpose)


def _count_steps(job: Job) -> int:
    settings = job.configuration.training
    return (job.epochs or settings.epochs) * settings.iterations_per_epoch


def _refuse_different(job: Job, checkpoint: Checkpoint | None) -> None:
    """Refuse to go on where processes on several machines see different runs."""
    own = None if checkpoint is None else checkpoint.facts.get("files")
    seen = job.ranks.gather(own)
    if any(files != seen[0] for files in seen):
        raise PlanError(
            f"{job.title}: not all processes find the same checkpoint in {job.folder}",
            code="no_shared_folder",
            remedy="Put the workspace on a disk that all machines share",
        )


def _refuse_other(job: Job, checkpoint: Checkpoint) -> None:
    known = checkpoint.facts.get("identity", {})
    different = sorted(key for key, value in job.identity.items() if known.get(key) != value)
    if different or "progress" not in checkpoint.facts:
        raise PlanError(
            f"{job.title}: the run in {job.folder} was made with other {', '.join(different) or 'versions of medseg'}",
            code="incompatible_run",
            remedy="Use --restart to begin anew",
        )


def _clear_run(job: Job) -> None:
    # Old checkpoints of a longer run would be taken for the newest, old scores for those of the new weights.
    for name in ("checkpoints", "validation"):
        shutil.rmtree(job.folder / name, ignore_errors=True)
    for path in (*job.folder.glob("events.*"), job.folder / "log.jsonl"):
        path.unlink(missing_ok=True)
