"""Budgets in steps, and how a run's time is shared out."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import PlanError
from medseg.training import EpochRecord, load_checkpoint, pace, trainer
from medseg.training.budget import (
    SAFETY,
    SECONDS_PER_CASE,
    SECONDS_PER_VOXEL,
    predict_seconds,
    share_budget,
    time_window,
)
from medseg.training.job import Job
from medseg.training.pace import TIMED_STEPS, UNTIMED_STEPS, follow_pace, start_pace, time_closing
from medseg.training.progress import Progress
from tests.training.examples import Setting, make_configuration, make_plan, make_setting


class StoppedError(BaseException):
    """What a callback raises in place of a power cut."""


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return make_setting(tmp_path_factory.mktemp("setting"))


def make_job(per_epoch: int, seconds: float | None, now: float, **options: Any) -> Job:
    configuration = make_configuration(iterations_per_epoch=per_epoch)
    plan = make_plan(configuration)
    return Job(plan, configuration, [], [], Path(), "job", seconds=seconds, began=now, **options)


class Clock:
    """A clock of the test's own, and a training that does nothing but take time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
        self.now, self.job = job.began, job
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.progress = Progress(budget_s=job.seconds)
        self.pace = start_pace(job, self.progress)

    def steps(self, seconds_per_step: list[float]) -> Progress:
        for seconds in seconds_per_step:
            self.now += seconds
            self.progress.step += 1
            follow_pace(self.job, self.progress, self.pace)
        return self.progress

    def finish(self, seconds_of: Callable[[int], float], closing_s: float = 0.0) -> Progress:
        """Train to the end, with epochs closed; a step's time depends on its number."""
        per_epoch = self.job.configuration.training.iterations_per_epoch
        while not self.progress.finished:
            self.steps([seconds_of(self.progress.step)])
            if self.progress.step % per_epoch == 0 or self.progress.finished:
                with time_closing(self.pace):
                    self.now += closing_s
        return self.progress


FIRST = [5.0] * UNTIMED_STEPS  # slow, and not counted


def test_a_budget_becomes_steps_that_are_not_rounded_to_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(250, 1000.0, 50.0)
    clock = Clock(monkeypatch, job)
    assert clock.steps(FIRST + [1.0] * (TIMED_STEPS - 1)).total is None
    progress = clock.steps([1.0])
    assert progress.seconds_per_step == pytest.approx(1.0)
    assert progress.total == UNTIMED_STEPS + TIMED_STEPS + 1000 - 5 * UNTIMED_STEPS - TIMED_STEPS
    total = progress.total
    assert clock.finish(lambda step: 1.0 + 0.01 * (step % 3)).total == total  # within the tolerance, nothing is changed


def test_one_slow_step_among_the_timed_ones_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Clock(monkeypatch, make_job(250, 1000.0, 50.0)).steps(FIRST + [1.0] * (TIMED_STEPS - 1) + [30.0])
    assert progress.seconds_per_step == pytest.approx(1.0)


@pytest.mark.parametrize("slower", [0.4, 0.7, 1.5, 3.0])
@pytest.mark.parametrize("since", [20, 300, 800])
def test_a_budget_is_kept_where_the_machine_becomes_slower_or_faster(
    monkeypatch: pytest.MonkeyPatch, slower: float, since: int
) -> None:
    clock = Clock(monkeypatch, make_job(100, 1000.0, 50.0))
    progress = clock.finish(lambda step: slower if step >= since else 1.0, closing_s=4.0)
    assert clock.now - 50.0 == pytest.approx(1000.0, rel=0.03)
    assert progress.share_done == 1.0


def test_the_ends_of_epochs_are_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, make_job(10, 1000.0, 50.0))
    clock.finish(lambda step: 1.0, closing_s=5.0)
    assert clock.now - 50.0 == pytest.approx(1000.0, rel=0.03)


def test_slow_steps_are_timed_sooner_so_that_a_short_budget_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Clock(monkeypatch, make_job(250, 60.0, 0.0)).steps([10.0, 5.0])
    assert progress.total == 2 + 9  # 45 seconds of 5
    over = Clock(monkeypatch, make_job(250, 10.0, 0.0)).steps([10.0, 5.0])
    assert over.total == 2  # nothing is left: it ends at once


def test_epochs_need_no_timing_but_are_timed_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch, make_job(250, None, 0.0, epochs=3))
    clock.progress.total = 750
    with caplog.at_level(logging.INFO):
        progress = clock.steps([2.0] * (UNTIMED_STEPS + TIMED_STEPS))
    assert progress.total == 750
    assert progress.seconds_per_step == pytest.approx(2.0)
    assert caplog.messages == ["job: about 24 min for 750 steps in 3 epochs (2.00 s a step, 1468 samples to go)"]


def test_the_time_of_earlier_processes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, make_job(100, 1000.0, 50.0))
    clock.steps([1.0] * 400)
    clock.now += 5000.0  # switched off
    clock.pace = start_pace(clock.job, clock.progress)
    began = clock.now
    clock.finish(lambda step: 1.0)
    assert clock.now - began == pytest.approx(600.0, rel=0.03)


def test_a_budget_s_steps_are_kept_when_it_goes_on(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(pace, "CHECK_SHARE", 1e9)  # as where the machine is always equally fast
    monkeypatch.setattr(pace, "LONGEST_TIMING", 0.0)  # counted in steps before the first epoch ends
    totals: list[int] = []

    def stop(record: EpochRecord) -> None:
        totals.append(record.total_steps)
        raise StoppedError

    with pytest.raises(StoppedError):
        setting.train(str(tmp_path), seconds=0.5, callbacks=[stop])
    checkpoint = load_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.facts["progress"]["total"] == totals[0]
    trained = setting.train(str(tmp_path), seconds=500.0)
    assert trained.history[-1].steps == trained.history[-1].total_steps == totals[0]


def test_a_training_ends_within_an_epoch(setting: Setting, tmp_path: Path) -> None:
    long = setting.configuration.training.model_copy(update={"iterations_per_epoch": 10_000})
    configuration = setting.configuration.model_copy(update={"training": long})
    trained = setting.train(str(tmp_path), configuration=configuration, seconds=0.3)
    assert len(trained.history) == 1
    assert trained.history[0].steps == trained.history[0].total_steps < 10_000
    assert load_checkpoint(tmp_path / "checkpoints") is not None


@pytest.mark.parametrize(
    ("mirror_axes", "dimensions", "copies"), [((), 3, 1), ((0, 1, 2), 3, 8), ((0, 1, 2), 2, 4), ((1, 2), 2, 4)]
)
def test_prediction_s_time_counts_windows_and_flips(mirror_axes: tuple[int, ...], dimensions: int, copies: int) -> None:
    configuration = make_configuration(dimensions=dimensions, mirror_axes=mirror_axes)
    shape = (4, 8, 12)
    windows = 4 * 1 * 2 if dimensions == 2 else 1 * 1 * 2
    expected = windows * copies * 2 * 0.1 + SECONDS_PER_CASE + 4 * 8 * 12 * SECONDS_PER_VOXEL
    seconds = predict_seconds(configuration, [shape, shape], 0.1, networks=2)
    assert seconds == pytest.approx(2 * expected * SAFETY)


def test_a_window_takes_time() -> None:
    for dimensions in (2, 3):
        configuration = make_configuration(dimensions=dimensions)
        assert 0 < time_window(make_plan(configuration), configuration, "cpu") < 5


def test_a_budget_is_shared_equally_or_refused() -> None:
    assert share_budget(1000.0, 100.0, 2) == pytest.approx((1000 - 100 - 8) / 2)
    with pytest.raises(PlanError, match="longer --budget or fewer --folds"):
        share_budget(60.0, 50.0, 1)
