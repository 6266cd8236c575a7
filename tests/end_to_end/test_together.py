"""``torchrun -m medseg train``: two processes train and validate one fold together, and leave what one would leave."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medseg import pipeline
from medseg.core.records import read_json
from medseg.core.results import Score, read_rows
from medseg.core.workspace import Workspace
from medseg.inference import open_model
from tests.end_to_end.command_line import medseg
from tests.end_to_end.scans import write_data_set

ROOT = Path(__file__).parents[2]
SETTINGS = {"iterations_per_epoch": "3", "batch_size": "3"}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planned")
    pipeline.plan(write_data_set(folder / "data"), folder / "W", preset="cpu")
    pipeline.preprocess(folder / "W", configurations=["2d"])
    return folder / "W"


def train_together(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "medseg"]
    command += ["train", "--workspace", str(workspace), "--configuration", "2d", "--device", "cpu", *words]
    for key, value in SETTINGS.items():
        command += ["--set", f"{key}={value}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250)


def read_dice(space: Workspace) -> dict[tuple[str, str], float | None]:
    """The Dice of each validation case and label, in the order of the table."""
    rows = read_rows(space.run("2d", 0) / "validation" / "scores.csv", Score)
    return {(row.case, row.label): row.value for row in rows if row.metric == "dice" and row.instance == 0}


def test_two_processes_leave_what_one_leaves(planned: Path, tmp_path: Path) -> None:
    alone, together = Workspace(tmp_path / "alone"), Workspace(tmp_path / "together")
    for space in (alone, together):
        shutil.copytree(planned, space.root)
    pipeline.train(alone.root, configuration="2d", fold=0, epochs=2, device="cpu", settings=SETTINGS)
    result = train_together(together.root, "--epochs", "2")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("organ") == 1  # one process prints
    assert len([line for line in result.stderr.splitlines() if "patch Dice" in line]) <= 2  # and one logs
    ours, theirs = read_dice(together), read_dice(alone)
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert ours[key] == (value if value is None else pytest.approx(value, abs=0.02))
    files = [sorted(path.name for path in (space.run("2d", 0) / "validation").iterdir()) for space in (together, alone)]
    assert files[0] == files[1]
    assert {case["status"] for case in read_json(together.run("2d", 0) / "run.json")["cases"]} == {"done"}
    pipeline.choose(together.root)
    assert open_model(together.model).record.members[0].folds == (0,)


def test_what_cannot_be_shared_is_one_line(planned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    ended = medseg("choose", "--workspace", planned)
    assert ended.code == 2
    assert "torchrun starts several processes for medseg train alone" in " ".join(ended.lines)
    monkeypatch.delitem(os.environ, "TORCHELASTIC_RUN_ID")
    ended = medseg("train", "--workspace", planned, "--configuration", "2d")
    assert ended.code == 2
    assert "WORLD_SIZE is 2, but RANK" in ended.lines[-1]
