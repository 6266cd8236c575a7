"""Everything that medseg writes, in two versions, and what a reader finds after a fault: the one or the other."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg.core.atomic import fault_hook
from medseg.core.errors import MedsegError
from medseg.core.manifest import CaseOutcome, hash_file, write_run
from medseg.core.results import Score, write_rows
from medseg.core.volume import Segmentation, Volume
from medseg.inference import open_model
from medseg.io import write_segmentation, write_volume
from medseg.preprocessing import open_prepared, prepare_case, write_prepared
from medseg.preprocessing.store import is_current
from medseg.reporting import write_report
from medseg.training import load_checkpoint
from medseg.training.checkpoint import Checkpoint, save_checkpoint
from tests.full_disks import limited_files
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan
from tests.reporting.examples import make_content
from tests.training.examples import make_configuration, make_plan

STEPS = ("open", "write", "fsync", "rename")
FORMATS = (".nii.gz", ".nii", ".mha", ".nrrd")
# What a reader finds: by name the content's hash or number; None where there is nothing, which a rerun makes anew.
Found = dict[str, Any]


@dataclass(frozen=True)
class Written:
    """Something that is written.

    Args:
        write: puts version 0 or 1 into a folder.
        read: what a reader finds there; raises where it would take something half for whole.
        may_vanish: whether it may be gone after a fault, since a rerun makes it anew.
    """

    write: Callable[[Path, int], None]
    read: Callable[[Path], Found]
    may_vanish: bool = False


def hash_files(folder: Path) -> Found:
    """Every file's hash."""
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in folder.rglob("*") if path.is_file()}


def _write_masks(folder: Path, version: int) -> None:
    volume, mask = make_scan(seed=version)
    mask = Segmentation(np.roll(mask.array, 3 * version, axis=0), mask.geometry)
    for ending in FORMATS:
        write_segmentation(folder / f"case{ending}", mask)
    write_volume(folder / "probabilities" / "case.nii.gz", Volume(volume.array / 7.0, volume.geometry, volume.channels))
    flat = Segmentation(mask.array[:, :, 7:8], volume.geometry.crop((0, 0, 7), (*mask.array.shape[:2], 8)))
    write_segmentation(folder / "case.png", flat)


def _write_tables(folder: Path, version: int) -> None:
    rows = [
        Score(f"case{n}", "p", None, 0, "organ", 0, "dice", "voxel", 0.5 + version / 8 + n / 1e4, "", "ok")
        for n in range(200)
    ]
    write_rows(folder / "scores.csv", rows, Score)
    outcomes = [CaseOutcome(f"case{n}", "done", reason=str(version)) for n in range(200)]
    write_run(folder, "evaluate", outcomes, started="2026-01-01T00:00:00Z")


def _write_report(folder: Path, version: int) -> None:
    write_report(folder / "report.html", make_content(title=f"Version {version}"))


def _write_checkpoint(folder: Path, version: int) -> None:
    generator = torch.Generator().manual_seed(version)
    tensors = {f"network.{n}": torch.randn(40, 50, generator=generator) for n in range(5)}
    save_checkpoint(folder / "checkpoints", Checkpoint(tensors, {"step": 10 * version}), 5 + version)


def _read_checkpoint(folder: Path) -> Found:
    checkpoint = load_checkpoint(folder / "checkpoints")
    if checkpoint is None:
        return {"state": None}
    total = sum(float(tensor.double().sum()) for tensor in checkpoint.tensors.values())
    return {"state": (checkpoint.facts["step"], len(checkpoint.tensors), total)}


def _write_cache(folder: Path, version: int) -> None:
    configuration = make_configuration()
    volume, mask = make_scan(seed=version)
    prepared = prepare_case(volume, mask, make_plan(configuration), configuration)
    write_prepared(folder, "case", prepared, key=str(version))


def _read_cache(folder: Path) -> Found:
    keys = [key for key in ("0", "1") if is_current(folder, "case", key)]
    if not keys:
        return {"case": None}
    image, reference = open_prepared(folder, "case").read_all()
    assert reference is not None
    return {"case": (keys, float(np.abs(image).sum()), int(reference.sum()))}


def _write_model(folder: Path, version: int) -> None:
    write_model(folder / "model", folds=(version,), learning_rate=0.01 * (1 + version))


def _read_model(folder: Path) -> Found:
    try:
        model = open_model(folder / "model")
    except MedsegError:  # such as weights that are not those of model.json
        return {"model": None}
    return {"model": (model.digest, model.record.members[0].folds)}


WRITTEN = {
    "masks": Written(_write_masks, hash_files),
    "tables": Written(_write_tables, hash_files),
    "report": Written(_write_report, hash_files),
    "checkpoint": Written(_write_checkpoint, _read_checkpoint),
    "cache": Written(_write_cache, _read_cache, may_vanish=True),
    "model": Written(_write_model, _read_model, may_vanish=True),
}


class Trial:
    """One thing that is written over an older version, again and again, each time with another fault."""

    def __init__(self, kind: Written, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        kind.write(folder / "old", 0)
        self.old = kind.read(folder / "old")
        kind.write(folder / "new", 0)
        kind.write(folder / "new", 1)
        self.new = kind.read(folder / "new")
        assert self.old != self.new
        self.rounds = 0

    def attempt(self, fault: contextlib.AbstractContextManager[None]) -> bool:
        """Write the new version over the old one with a fault; whether the fault came about.

        Raises AssertionError where a reader finds anything but the old or the new one, where something is left, or
        where the next run does not put it right.
        """
        self.rounds += 1
        place = self.folder / str(self.rounds)
        self.kind.write(place, 0)
        failed = False
        with fault:
            try:
                self.kind.write(place, 1)
            except (OSError, MedsegError):
                failed = True
        found = self.kind.read(place)
        for name in {*self.old, *self.new}:
            allowed = [self.old.get(name), self.new.get(name), *([None] if self.kind.may_vanish else [])]
            assert found.get(name) in allowed, f"{name}: {found.get(name)} is neither {allowed[0]} nor {allowed[1]}"
        assert failed or found == self.new
        assert [path for path in place.rglob("*") if path.name.startswith(".tmp")] == []
        self.kind.write(place, 1)
        assert self.kind.read(place) == self.new
        return failed

    def largest_file(self) -> int:
        """Bytes of the new version's largest file."""
        return max(path.stat().st_size for path in (self.folder / "new").rglob("*") if path.is_file())


@contextlib.contextmanager
def fail_nth(step: str, count: int) -> Iterator[None]:
    """The ``count``-th step of a kind finds the disk full, and all after it."""
    left = count

    def hook(name: str, path: Path) -> None:
        nonlocal left
        if name == step:
            left -= 1
            if left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with fault_hook(hook):
        yield


def try_every_step(trial: Trial, most: int = 10_000) -> int:
    """Let the n-th step of each kind fail, for every n, at most so many; how many there are."""
    count = 0
    for step in STEPS:
        for number in range(1, most + 1):
            if not trial.attempt(fail_nth(step, number)):
                break
            count += 1
    return count


def try_full_disks(trial: Trial, count: int) -> int:
    """Let files grow to so many sizes and no further, up to the largest one's; at how many the fault came about."""
    sizes = np.unique(np.linspace(0, trial.largest_file() - 1, count).astype(int))
    return sum(trial.attempt(limited_files(int(size))) for size in sizes)
