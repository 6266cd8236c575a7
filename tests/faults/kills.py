"""Processes that are killed (SIGKILL) at random moments, started again, and compared with undisturbed ones."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg.core.atomic import remove_leftovers
from medseg.core.manifest import read_run
from medseg.inference import Predictor
from medseg.inference.folders import predict_cases
from medseg.io import find_inputs, write_volume
from medseg.training import load_checkpoint
from tests.faults.reruns import check_masks, read_masks
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan
from tests.training.children import BAD_STEPS, PRELOADED, capricious_loss, read_result, start_training
from tests.training.examples import make_configuration, make_plan, prepare_cases

LONGEST_SECONDS = 120.0  # no process may take longer, whatever was done to those before it
EPOCHS = 4


def predict(folder: Path, run: str) -> None:
    """What a child does: segment the scans of ``folder/scans``."""
    torch.set_num_threads(1)
    logging.basicConfig(filename=folder / f"{run}.messages", level=logging.INFO)
    predictor = Predictor.load(folder / "model", device="cpu", mirroring=False)
    predict_cases(predictor, find_inputs(folder / "scans", 1), folder / run)


def start_prediction(folder: Path, run: str) -> Any:
    """A started process, forked from one that has imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "tests.faults.kills"])
    process = context.Process(target=predict, args=(folder, run))
    process.start()
    return process


def kill_again_and_again(
    start: Callable[[], Any], check: Callable[[], None], longest_s: float, generator: np.random.Generator, most: int
) -> int:
    """Start a process and kill it at a random moment, at most so often, until one ends by itself; the kills.

    Raises AssertionError where one ends with an error, or does not end.
    """
    kills = 0
    while True:
        process = start()
        if kills < most:
            process.join(float(generator.uniform(0, longest_s)))
            if process.exitcode is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        process.join(LONGEST_SECONDS)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"a process that was started again still ran after {LONGEST_SECONDS:.0f} s")
        check()
        if process.exitcode == 0:
            return kills
        assert process.exitcode == -signal.SIGKILL, f"a process that was started again ended with {process.exitcode}"


def time_process(process: Any) -> float:
    """How long a process takes that is left alone, in seconds."""
    began = time.monotonic()
    process.join(LONGEST_SECONDS)
    assert process.exitcode == 0
    return time.monotonic() - began


def kill_trainings(folder: Path, generator: np.random.Generator, most: int) -> Iterator[int]:
    """Trainings that are killed and go on, compared bit by bit with one that was not; the kills of each.

    Args:
        folder: for all of it.
        generator: draws the moments.
        most: kills of one training.
    Raises AssertionError where one ends otherwise, or a checkpoint cannot be used.
    """
    configuration = make_configuration(optimiser="sgd", iterations_per_epoch=3, accumulation=2, ema_decay=0.9)
    prepare_cases(folder / "prepared", make_plan(configuration), configuration)

    def start(run: str) -> Any:
        remove_leftovers(folder / run, deep=True, alone=True)  # as ``lock_run`` does for the command
        return start_training(folder, configuration, run, epochs=EPOCHS, loss=capricious_loss)

    time_process(start("warm"))  # the first one begins the process that all are forked from
    longest_s = time_process(start("whole"))
    expected = read_result(folder / "whole")
    assert expected[2]["skipped"] == len([step for step in BAD_STEPS if step < 3 * EPOCHS])
    number = 0
    while True:
        number += 1
        run = f"parts_{number}"

        def check(run: str = run) -> None:
            checkpoints = folder / run / "checkpoints"
            if list(checkpoints.glob("*/state.json")):
                assert load_checkpoint(checkpoints) is not None

        kills = kill_again_and_again(partial(start, run), check, longest_s, generator, most)
        assert read_result(folder / run) == expected
        assert list((folder / run).rglob(".tmp*")) == []
        yield kills


def kill_predictions(folder: Path, generator: np.random.Generator, most: int, scans: int = 12) -> Iterator[int]:
    """Predictions of a folder that are killed and go on, compared byte by byte with one that was not.

    Args:
        folder: for all of it.
        generator: draws the moments.
        most: kills of one prediction.
        scans: how many the folder holds.
    Raises AssertionError where a mask that is seen is not the right one, whole, or the end is another.
    """
    write_model(folder / "model", folds=(0,))
    for seed in range(scans):
        write_volume(folder / "scans" / f"scan_{seed:02d}.nii.gz", make_scan(seed=seed)[0])
    time_process(start_prediction(folder, "warm"))
    longest_s = time_process(start_prediction(folder, "whole"))
    expected = read_masks(folder / "whole")
    number = 0
    while True:
        number += 1
        run = f"parts_{number}"

        def check(run: str = run) -> None:
            check_masks(folder / run, expected)

        start = partial(start_prediction, folder, run)
        kills = kill_again_and_again(start, check, longest_s, generator, most)
        assert read_masks(folder / run) == expected
        statuses = [case["status"] for case in read_run(folder / run)["cases"]]
        assert set(statuses) <= {"done", "skipped"}
        assert len(statuses) == scans
        assert [path for path in (folder / run).iterdir() if path.name.startswith((".tmp", ".lock"))] == []
        yield kills
