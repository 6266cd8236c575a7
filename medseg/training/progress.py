"""How far a training is, how fast it goes, and how it goes on where it was stopped."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass, field

from torch import Tensor

from medseg.core.errors import PlanError
from medseg.training.checkpoint import Checkpoint, load_checkpoint, pack_optimiser, save_checkpoint, unpack_optimiser
from medseg.training.job import Job
from medseg.training.monitor import EpochRecord, rewind_log
from medseg.training.schedule import fit_steps
from medseg.training.steps import Learner

logger = logging.getLogger(__name__)

# The first steps pay for memory and kernel choice; the next ones are timed.
UNTIMED_STEPS, TIMED_STEPS = 4, 12
# Of a budget: where steps are slow, fewer are timed, so that a short budget is not used up before it is shared out.
LONGEST_TIMING = 0.1
VALIDATION_BATCHES = 4  # per epoch; the patch Dice is a sign of life, not a result


@dataclass
class Progress:
    """What moves while training runs.

    Args:
        step: optimiser steps so far, those that were skipped included.
        total: all steps; None while a budget is not yet counted in steps.
        seconds_per_step: 0 while it is not known.
        bad_steps: steps in a row whose loss was not finite.
        skipped: all of them.
        losses: of this epoch.
        history: the epochs before.
        step_ends: when the first steps of this process ended, until their time is known.
    """

    step: int = 0
    total: int | None = None
    seconds_per_step: float = 0.0
    bad_steps: int = 0
    skipped: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[EpochRecord] = field(default_factory=list)
    step_ends: list[float] | None = field(default_factory=list)
    saved_at: float = field(default_factory=time.monotonic)


def time_steps(job: Job, progress: Progress) -> None:
    """Time the first steps of this process, and fix once how many steps a budget holds."""
    if progress.step_ends is None:
        return
    now, ends = time.monotonic(), progress.step_ends
    ends.append(now)
    late = job.seconds is not None and now - job.began > LONGEST_TIMING * job.seconds
    if len(ends) < UNTIMED_STEPS + TIMED_STEPS and not (late and len(ends) > 1):
        return
    first = min(UNTIMED_STEPS, len(ends) - 1) - 1
    progress.seconds_per_step = (now - ends[first]) / (len(ends) - 1 - first)
    progress.step_ends = None
    if progress.total is None and job.seconds is not None:
        per_epoch = job.configuration.training.iterations_per_epoch
        # A validation patch is not augmented and has no backward pass: about a third of a step.
        validation = VALIDATION_BATCHES / 3 / per_epoch if job.validation else 0.0
        left = max(0.0, job.seconds - (now - job.began))
        progress.total = progress.step + fit_steps(left, progress.seconds_per_step * (1 + validation))
        epochs = -(-progress.total // per_epoch)
        logger.info(
            "%s: %.2f s a step, %d steps in %d epochs", job.title, progress.seconds_per_step, progress.total, epochs
        )


def save_progress(job: Job, learner: Learner, average: dict[str, Tensor], progress: Progress) -> None:
    """Write a checkpoint that ``resume_progress`` goes on from exactly."""
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
    progress.saved_at = time.monotonic()


def resume_progress(job: Job, learner: Learner, average: dict[str, Tensor], *, restart: bool) -> Progress:
    """Put the newest checkpoint into network, average and optimiser.

    Args:
        job: with the run's folder and identity.
        learner: its network and optimiser are changed in place.
        average: the averaged weights, changed in place.
        restart: remove what an earlier run left and begin anew.
    Returns:
        where training goes on; step 0 where there is no checkpoint.
    Raises:
        PlanError: the checkpoint was made with other settings; their keys are named.
    """
    if restart:
        _clear_run(job)
    checkpoint = load_checkpoint(job.folder / "checkpoints")
    if checkpoint is None:
        rewind_log(job.folder, 0)
        return Progress()
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
    progress = Progress(
        step=facts["step"],
        total=facts["total"],
        seconds_per_step=facts["seconds_per_step"],
        skipped=facts["skipped"],
        history=rewind_log(job.folder, facts["step"]),
    )
    if job.seconds is None and job.epochs is not None:
        progress.total = job.epochs * job.configuration.training.iterations_per_epoch
    return progress


def _clear_run(job: Job) -> None:
    # Old checkpoints of a longer run would be taken for the newest, old scores for those of the new weights.
    for name in ("checkpoints", "validation"):
        shutil.rmtree(job.folder / name, ignore_errors=True)
    for events in job.folder.glob("events.*"):
        events.unlink()
