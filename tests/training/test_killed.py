"""A training that is killed at any moment goes on as if nothing had happened; SIGTERM and Ctrl-C save it first."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.core.plan import Configuration
from medseg.training import load_checkpoint
from tests.training.children import BAD_STEPS, capricious_loss, endless_loss, read_result, start_training
from tests.training.examples import make_configuration, make_plan, prepare_cases

EPOCHS = 8


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return make_configuration(optimiser="sgd", iterations_per_epoch=3, accumulation=2, ema_decay=0.9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, configuration: Configuration) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    prepare_cases(folder / "prepared", make_plan(configuration), configuration)
    return folder


def wait_until(happened: Callable[[], object], process: Any) -> None:
    while process.is_alive() and not happened():
        time.sleep(0.005)


def list_states(run: Path) -> list[Path]:
    return sorted(run.glob("checkpoints/*/state.json"))


def test_stopped_again_and_again_it_ends_as_if_never_stopped(folder: Path, configuration: Configuration) -> None:
    whole = start_training(folder, configuration, "whole", epochs=EPOCHS, loss=capricious_loss)
    rng, ends = np.random.default_rng(), []
    for number in range(40):
        process = start_training(folder, configuration, "parts", epochs=EPOCHS, loss=capricious_loss)
        if number < 4:
            started = list_states(folder / "parts")
            wait_until(lambda: list_states(folder / "parts") != started, process)  # noqa: B023
            time.sleep(float(rng.uniform(0.0, 0.15)))
            os.kill(process.pid, signal.SIGTERM if number == 1 else signal.SIGKILL)
        process.join(60)
        ends.append(process.exitcode)
        if process.exitcode == 0:
            break
    whole.join(60)
    assert whole.exitcode == 0
    assert ends[-1] == 0
    assert ends.count(-signal.SIGKILL) >= 2
    weights, log, progress = read_result(folder / "whole")
    assert progress["rollbacks"] == 1
    assert progress["skipped"] == len(BAD_STEPS)
    assert [record["epoch"] for record in log] == list(range(1, EPOCHS + 1))
    assert read_result(folder / "parts") == (weights, log, progress)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_the_step_where_it_came(
    folder: Path, configuration: Configuration, number: signal.Signals, code: int
) -> None:
    run = folder / number.name
    process = start_training(folder, configuration, run.name, epochs=10_000, unsaved_s=1e9)
    wait_until((run / "log.jsonl").is_file, process)
    os.kill(process.pid, number)
    process.join(45)
    assert process.exitcode == code
    checkpoint = load_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    assert f"{number.name}: training is saved and stops" in (folder / f"{run.name}.messages").read_text("utf-8")
    progress = checkpoint.facts["progress"]
    assert len(progress["losses"]) == progress["step"] % 3  # of an epoch that has just begun


def test_a_step_that_takes_too_long_is_not_waited_for(folder: Path, configuration: Configuration) -> None:
    process = start_training(folder, configuration, "slow", epochs=9, loss=endless_loss, unsaved_s=1e9)
    wait_until((folder / "within").is_file, process)
    os.kill(process.pid, signal.SIGTERM)
    process.join(45)
    assert process.exitcode == 143
    checkpoint = load_checkpoint(folder / "slow" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.facts["progress"]["step"] == 5  # the state before the step
    assert len(checkpoint.facts["progress"]["losses"]) == 2
