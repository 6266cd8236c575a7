"""How long training takes: a budget becomes a number of steps, and stays kept where the machine's speed changes."""

from __future__ import annotations

import itertools
import logging
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from medseg.training.job import Job
from medseg.training.patch_scores import VALIDATION_BATCHES
from medseg.training.progress import Progress
from medseg.training.schedule import format_duration

logger = logging.getLogger(__name__)

# The first steps pay for memory and kernel choice; the next ones are timed.
UNTIMED_STEPS, TIMED_STEPS = 4, 12
# Of a budget: where steps are slow, fewer are timed, so that a short budget is not used up before it is shared out.
LONGEST_TIMING = 0.1
# Of a budget: how often the time is looked at again, and how far off the end may be before steps are added or taken.
CHECK_SHARE, TOLERANCE = 0.05, 0.02
# Of the steps: smaller changes are not worth a line.
TOLD_CHANGE = 0.1


@dataclass
class Pace:
    """The clock of one process.

    Args:
        began: when ``used_s`` seconds of the training's time were over, by ``time.monotonic``.
        step_s: seconds a step; 0 while it is not known.
        close_s: seconds that the end of an epoch takes (validation, log); None before the first.
        ends: when the first steps ended, until their time is known.
        window: time, step and ``other_s`` at the last look.
        other_s: seconds spent on all but steps.
    """

    began: float
    step_s: float = 0.0
    close_s: float | None = None
    ends: list[float] | None = field(default_factory=list)
    window: tuple[float, int, float] = (0.0, 0, 0.0)
    other_s: float = 0.0


def start_pace(job: Job, progress: Progress) -> Pace:
    """A clock that goes on where the run's earlier processes stopped; the first counts from the job's beginning."""
    now = time.monotonic()
    return Pace(now - progress.used_s if progress.step else job.began, step_s=progress.seconds_per_step)


@contextmanager
def time_closing(pace: Pace) -> Iterator[None]:
    """Time the end of an epoch, which is no part of a step."""
    began = time.monotonic()
    yield
    taken = time.monotonic() - began
    pace.other_s += taken
    pace.close_s = taken if pace.close_s is None else 0.5 * (pace.close_s + taken)


def follow_pace(job: Job, progress: Progress, pace: Pace) -> None:
    """Note that a step ended: time the first ones, and keep a budget.

    Args:
        job: with the budget, if there is one.
        progress: its ``total`` is set, and changed where the machine has become faster or slower.
        pace: the clock.
    """
    now = time.monotonic()
    progress.used_s = now - pace.began
    if pace.ends is not None:
        _time_first_steps(job, progress, pace, now)
    elif progress.budget_s is not None and progress.total is not None and not progress.finished:
        _keep_budget(job, progress, pace, now)


def _time_first_steps(job: Job, progress: Progress, pace: Pace, now: float) -> None:
    assert pace.ends is not None
    pace.ends.append(now)
    late = progress.budget_s is not None and progress.used_s > LONGEST_TIMING * progress.budget_s
    if len(pace.ends) < UNTIMED_STEPS + TIMED_STEPS and not (late and len(pace.ends) > 1):
        return
    first = min(UNTIMED_STEPS, len(pace.ends) - 1) - 1
    timed = pace.ends[first:]
    # The median: one step that something else held up is no measure of the others.
    pace.step_s = statistics.median(b - a for a, b in itertools.pairwise(timed))
    progress.seconds_per_step = pace.step_s
    pace.ends, pace.window = None, (now, progress.step, pace.other_s)
    if progress.total is None and progress.budget_s is not None:
        progress.total = progress.step + _fit_steps(job, pace, progress.budget_s - progress.used_s)
    logger.info("%s: %s", job.title, describe_cost(job, progress, pace))


def _keep_budget(job: Job, progress: Progress, pace: Pace, now: float) -> None:
    assert progress.budget_s is not None
    assert progress.total is not None
    began, step, other_s = pace.window
    if now - began < CHECK_SHARE * progress.budget_s or progress.step == step:
        return
    pace.step_s = max(0.0, now - began - (pace.other_s - other_s)) / (progress.step - step)
    pace.window = (now, progress.step, pace.other_s)
    left_s = progress.budget_s - progress.used_s
    if abs(seconds_left(job, progress, pace) - left_s) <= TOLERANCE * progress.budget_s:
        return
    total = max(progress.step + 1, progress.step + _fit_steps(job, pace, left_s))
    if total != progress.total:
        level = logging.INFO if abs(total - progress.total) > TOLD_CHANGE * progress.total else logging.DEBUG
        text = "%s: %.2f s a step now; %d steps instead of %d, to keep the budget"
        logger.log(level, text, job.title, pace.step_s, total, progress.total)
        progress.change_total(total)


def _closing_s(job: Job, pace: Pace) -> float:
    if pace.close_s is not None:
        return pace.close_s
    # A validation patch is not augmented and has no backward pass: about a third of a step.
    return VALIDATION_BATCHES / 3 * pace.step_s / job.configuration.training.accumulation if job.validation else 0.0


def _fit_steps(job: Job, pace: Pace, seconds: float) -> int:
    """How many whole steps fit into a time, with the epochs' ends among them and the last one; 0 where none does."""
    closing = _closing_s(job, pace)
    each = pace.step_s + closing / job.configuration.training.iterations_per_epoch
    return max(0, int((seconds - closing) / max(each, 1e-9)))


def seconds_left(job: Job, progress: Progress, pace: Pace) -> float:
    """Until the training's last step and last validation are done; 0 while nothing is timed."""
    left = (progress.total or progress.step) - progress.step
    epochs = left / job.configuration.training.iterations_per_epoch + (1 if left else 0)
    return left * pace.step_s + epochs * _closing_s(job, pace)


def name_count(number: int, what: str) -> str:
    """``1 epoch``, ``2 epochs``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def describe_cost(job: Job, progress: Progress, pace: Pace) -> str:
    """What the rest of the training will cost, in one line: time, epochs, samples."""
    settings = job.configuration.training
    total = progress.total or progress.step
    samples = (total - progress.step) * settings.accumulation * job.configuration.batch_size
    epochs = name_count(-(-total // settings.iterations_per_epoch), "epoch")
    time_left = format_duration(seconds_left(job, progress, pace))
    return f"about {time_left} for {total} steps in {epochs} ({pace.step_s:.2f} s a step, {samples} samples to go)"
