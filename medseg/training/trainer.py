"""Training one fold: from prepared cases to averaged weights."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice

import torch

from medseg.core.errors import PlanError, ResourceError
from medseg.training.alarms import find_alarms
from medseg.training.distributed.agreement import end_step, share_quarantine, stop_together
from medseg.training.ema import update_average
from medseg.training.faults import explain_memory, is_out_of_memory
from medseg.training.job import Job, TrainedFold
from medseg.training.monitor import EpochRecord, Monitor
from medseg.training.pace import Pace, name_count, seconds_left, start_pace, time_closing
from medseg.training.patch_scores import PatchScores, score_patches
from medseg.training.patches.loader import Batch, iterate_batches
from medseg.training.plateau import has_settled
from medseg.training.recovery import save_what_stands, settle, spend_less_memory
from medseg.training.run_state import Run, finish_writing, keep_good, open_run, save_run
from medseg.training.schedule import format_duration, learning_rate
from medseg.training.steps import compute_gradients, copy_buffers, move_weights, restore_buffers
from medseg.training.stopping import StopRequest, StopTraining, watch_signals

logger = logging.getLogger(__name__)

# A checkpoint is written at the end of an epoch where the last one is this old.
CHECKPOINT_SECONDS = 60.0
# A GPU works on the next step while the outcome of this one is read.
STEPS_AHEAD = {"cpu": 0}
# More than a training has, so that two seeds share no step's random numbers.
STEPS_PER_SEED = 10**9
RANK_BITS = 48  # above all steps of all usual seeds


def train_network(job: Job, *, restart: bool = False) -> TrainedFold:
    """Train one network, or go on where its last checkpoint stands.

    Args:
        job: what to train.
        restart: begin anew even where a checkpoint is there.
    Returns:
        the averaged weights (the last ones where the plan averages none) and the epochs.
    Raises:
        PlanError: there is no training case, or the checkpoint belongs to another plan; the keys are named.
        ResourceError: a loss or gradient that stays not finite, a memory that is too small, an object that raises.
    """
    if not job.training:
        raise PlanError("the fold has no training case", remedy="Give at least two patients, or --folds all")
    run = open_run(job, restart=restart)
    request = StopRequest()
    with (
        _own_settings(run.learner.device),
        watch_signals(request, lambda: save_run(run, wait=True)),
        Monitor(job.folder, job.title, job.callbacks) if job.ranks.is_first else nullcontext() as monitor,
        run.writer,
    ):
        try:
            _train(run, monitor, request)
            finish_writing(run)
        except (Exception, StopTraining) as error:
            save_what_stands(run, request, error)
            if isinstance(error, Exception) and is_out_of_memory(error):
                raise explain_memory(job.title, run.learner.device, error) from error
            # Of processes that are told to stop, one may be gone while another still waits for it.
            left = isinstance(error, ResourceError) and error.code == "process_lost" and request.number is not None
            if not (isinstance(error, StopTraining) or left):
                raise
    request.pass_on()
    weights, progress = dict(run.averaged.state_dict()), run.progress
    return TrainedFold(weights, progress.history, progress.seconds_per_step, run.quarantine.outcomes)


def _train(run: Run, monitor: Monitor | None, request: StopRequest) -> None:
    """Train until no step is left, with less memory where it runs out."""
    pace = start_pace(run.job, run.progress)
    if _epoch_is_due(run):  # stopped between the last step of an epoch and its end
        _close_epoch(run, monitor, pace, request)
    if not run.progress.finished:
        logger.info("%s: %s", run.job.title, describe_training(run))
    while not run.progress.finished:
        try:
            _take_steps(run, monitor, pace, request)
        except Exception as error:
            if not is_out_of_memory(error) or not spend_less_memory(run):
                raise


def _take_steps(run: Run, monitor: Monitor | None, pace: Pace, request: StopRequest) -> None:
    """The loop: steps, the ends of epochs among them, checkpoints."""
    job, progress = run.job, run.progress
    accumulation = job.configuration.training.accumulation
    batches = iterate_batches(
        job.training,
        run.recipe,
        progress.step * accumulation,
        None,
        device=run.learner.device,
        quarantine=run.quarantine,
    )
    while not progress.finished:
        _advance(run, list(islice(batches, accumulation)), request)
        late = end_step(run, pace, request)
        if _epoch_is_due(run):
            _close_epoch(run, monitor, pace, request)
        elif late:
            with request.changing:
                settle(run, keep=0)
            save_run(run)
        stop_together(run, request)


def _advance(run: Run, batches: Sequence[Batch], request: StopRequest) -> None:
    """One step; where its loss or gradient is not finite, nothing moves but the position."""
    learner, progress, settings = run.learner, run.progress, run.job.configuration.training
    # What a network draws at random while it trains depends on the step, and on the process, alone.
    stream = run.job.ranks.rank << RANK_BITS
    torch.manual_seed((settings.seed * STEPS_PER_SEED + progress.step + stream) % 2**63)
    run.buffers = copy_buffers(learner.network)
    loss = compute_gradients(learner, batches)
    rate = learning_rate(progress.step, progress.share_done, settings) * 0.5**progress.rollbacks
    with request.changing:
        outcome = move_weights(learner, loss, rate)
        restore_buffers(learner.network, run.buffers, outcome.good)
        run.buffers = {}
        update_average(run.averaged, learner.network, settings.ema_decay, progress.step)
        progress.step += 1
        run.pending.append(outcome)
        settle(run, keep=STEPS_AHEAD.get(learner.device.type, 1))


def _epoch_is_due(run: Run) -> bool:
    """Whether an epoch has had its last step and is not closed yet."""
    progress, per_epoch = run.progress, run.job.configuration.training.iterations_per_epoch
    closed = progress.history[-1].steps if progress.history else 0
    return progress.step > closed and (progress.step % per_epoch == 0 or progress.finished)


def _close_epoch(run: Run, monitor: Monitor | None, pace: Pace, request: StopRequest) -> None:
    """Score the averaged weights, write the epoch down, keep the state."""
    job, progress, check = run.job, run.progress, partial(stop_together, run, request)
    share_quarantine(run)
    with time_closing(pace):
        with request.changing:
            settle(run, keep=0)
        scores = score_patches(job, run.learner, run.averaged, run.recipe, run.quarantine, check)
        with request.changing:
            record = _make_record(run, scores, seconds_left(job, progress, pace))
            progress.history.append(record)
            progress.losses, progress.alarms = [], []
            if has_settled(progress.history, job.configuration.training.patience_epochs):
                progress.total = progress.step
            if progress.bad_steps == 0 and (scores.loss is not None or not job.validation):
                keep_good(run)
        # Saved before it is reported, so that a faulty callback loses nothing.
        if progress.finished or time.monotonic() - run.saved_at > CHECKPOINT_SECONDS:
            save_run(run)
    if monitor is not None:
        monitor.report(record)
    if progress.finished and progress.step < record.total_steps:
        patience = job.configuration.training.patience_epochs
        logger.info(
            "%s: the validation loss has not fallen for %d epochs; training stops early, after %d of %d steps",
            *(job.title, patience, progress.step, record.total_steps),
        )


def _make_record(run: Run, scores: PatchScores, left_s: float) -> EpochRecord:
    progress, settings = run.progress, run.job.configuration.training
    total = progress.total or progress.step
    for outcome in run.quarantine.outcomes:
        progress.say(f"left out: {outcome.line()}")
    finite = [loss for loss in progress.losses if math.isfinite(loss)]
    record = EpochRecord(
        epoch=-(-progress.step // settings.iterations_per_epoch),
        steps=progress.step,
        total_steps=total,
        learning_rate=learning_rate(progress.step, progress.share_done, settings) * 0.5**progress.rollbacks,
        loss=sum(finite) / len(finite) if finite else None,
        validation_loss=scores.loss,
        patch_dice=scores.dice,
        seconds_left=left_s,
        skipped_steps=progress.skipped,
        unpredicted=scores.unpredicted,
    )
    found = find_alarms(progress.history, record)
    for alarm in found:
        logger.warning("%s: %s", run.job.title, alarm)
    return replace(record, alarms=(*progress.alarms, *found))


def describe_training(run: Run) -> str:
    """What is trained, in one line: network, device, cases, how long."""
    learner, progress, settings = run.learner, run.progress, run.job.configuration.training
    millions = sum(parameter.numel() for parameter in learner.network.parameters()) / 1e6
    if progress.total is None:
        extent = f"for {format_duration(progress.budget_s or 0.0)}"
    else:
        epochs = name_count(-(-progress.total // settings.iterations_per_epoch), "epoch")
        extent = f"{epochs}, {name_count(progress.total, 'step')}"
    patches = run.job.configuration.batch_size * settings.accumulation
    return (
        f"{name_count(len(run.job.training), 'case')}, {name_count(patches, 'sample')} a step, {extent}, network of "
        f"{millions:.1f} million parameters, on {learner.device} in {str(learner.precision).removeprefix('torch.')}"
    )


@contextmanager
def _own_settings(device: torch.device) -> Iterator[None]:
    """The process's random numbers and cuDNN's settings are as before when training is over."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.backends.cudnn.flags(enabled=True, benchmark=True):
        yield
