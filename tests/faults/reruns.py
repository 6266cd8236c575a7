"""Whole steps that meet a fault, and are run again: the rerun ends with what an undisturbed run gives."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg import pipeline
from medseg.core.atomic import fault_hook
from medseg.core.errors import MedsegError
from medseg.core.manifest import hash_file
from medseg.inference import Predictor, open_model
from medseg.inference.folders import predict_cases
from medseg.io import find_inputs, write_volume
from medseg.training import load_checkpoint
from tests.end_to_end.scans import write_data_set
from tests.faults.hashed_files import hash_tensors
from tests.faults.writes import fail_nth
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan
from tests.training.examples import make_setting


@dataclass(frozen=True)
class Action:
    """A step of the pipeline on a small example.

    Args:
        folder: for its inputs and for the results of all attempts.
        prepare: makes a folder ready, before the first run in it.
        run: the step; what it writes goes into the folder.
        read: what it gives, for comparison; times and hosts left out.
        check: raises AssertionError where a reader would be misled after a fault.
    """

    folder: Path
    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    read: Callable[[Path], Any]
    check: Callable[[Path, Any], None]


class Rerun:
    """An action that is undisturbed once, and then meets faults."""

    def __init__(self, action: Action) -> None:
        self.action, self.rounds = action, 0
        self.counts: dict[str, int] = {}
        self.clean = self._begin()

        def count(step: str, path: Path) -> None:
            self.counts[step] = self.counts.get(step, 0) + 1

        with fault_hook(count):
            action.run(self.clean)
        self.result = action.read(self.clean)

    def count_steps(self, step: str) -> int:
        """How many steps of a kind an undisturbed run takes."""
        return self.counts.get(step, 0)

    def attempt(self, step: str, number: int) -> None:
        """Run with a fault at the n-th step of a kind and all after it, then again without."""
        place = self._begin()
        with fail_nth(step, number), contextlib.suppress(OSError, MedsegError):
            self.action.run(place)
        self.finish(place)

    def finish(self, place: Path) -> None:
        """Look at what a disturbed run left, run it again, and compare."""
        self.action.check(place, self.result)
        self.action.run(place)
        assert self.action.read(place) == self.result, f"{place} is not as an undisturbed run leaves it"
        assert [path for path in place.rglob("*") if path.name.startswith((".tmp", ".lock"))] == []
        shutil.rmtree(place)

    def _begin(self) -> Path:
        self.rounds += 1
        place = self.action.folder / f"attempt_{self.rounds}"
        place.mkdir(parents=True)
        self.action.prepare(place)
        return place


def make_training(folder: Path) -> Action:
    """Training a small network for two epochs, with a checkpoint after each."""
    setting = make_setting(folder / "setting")

    def run(place: Path) -> None:
        with checkpoints_at_once():
            setting.train(str(place), epochs=2)

    def read(place: Path) -> Any:
        checkpoint = load_checkpoint(place / "checkpoints")
        assert checkpoint is not None
        lines = len((place / "log.jsonl").read_text("utf-8").splitlines())
        return hash_tensors(checkpoint.tensors), checkpoint.facts["progress"]["step"], lines

    def check(place: Path, result: Any) -> None:
        written = list(place.glob("checkpoints/*/state.json"))
        assert not written or load_checkpoint(place / "checkpoints") is not None

    return Action(folder, lambda place: None, run, read, check)


@contextlib.contextmanager
def checkpoints_at_once() -> Iterator[None]:
    """A checkpoint at the end of every epoch, however short."""
    from medseg.training import trainer

    before = trainer.CHECKPOINT_SECONDS
    trainer.CHECKPOINT_SECONDS = 0.0
    try:
        yield
    finally:
        trainer.CHECKPOINT_SECONDS = before


def make_prediction(folder: Path) -> Action:
    """Segmenting three small scans, with probabilities."""
    write_model(folder / "model", folds=(0,))
    predictor = Predictor.load(folder / "model", device="cpu", mirroring=False)
    for seed in range(3):
        write_volume(folder / "scans" / f"scan_{seed}.nii.gz", make_scan(seed=seed)[0])

    def run(place: Path) -> None:
        predict_cases(predictor, find_inputs(folder / "scans", 1), place / "out", save_probabilities=True)

    return Action(folder, lambda place: None, run, read_masks, check_masks)


def read_masks(place: Path) -> dict[str, str]:
    """Every mask's hash."""
    return {path.relative_to(place).as_posix(): hash_file(path) for path in place.rglob("*.nii.gz")}


def check_masks(place: Path, result: dict[str, str]) -> None:
    """Each mask that is there is the right one, whole."""
    for name, digest in read_masks(place).items():
        if not Path(name).name.startswith(".tmp"):
            assert digest == result[name], f"{name} is half a mask"


def make_choice(folder: Path) -> Action:
    """Choosing among trained networks, where an older choice stands."""
    data, space = write_data_set(folder / "data"), folder / "workspace"
    pipeline.run(data, space, epochs=1, folds="0", configurations=["2d"], device="cpu")

    def read(place: Path) -> Any:
        return open_model(place / "model").digest, hash_file(place / "choice.json")

    def check(place: Path, result: Any) -> None:
        assert open_model(place / "model").digest == result[0]

    def prepare(place: Path) -> None:
        shutil.copytree(space, place, dirs_exist_ok=True)

    def run(place: Path) -> None:
        pipeline.choose(place)

    return Action(folder, prepare, run, read, check)


RERUNS: dict[str, Callable[[Path], Action]] = {
    "training": make_training,
    "prediction": make_prediction,
    "choice": make_choice,
}
