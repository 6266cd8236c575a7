"""Two commands on one workspace or output folder: the second ends with 2, one line naming process, host and purpose."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from medseg.core.locks import LOCK
from medseg.io import write_volume
from tests.core.test_locks import end, start_holder
from tests.end_to_end.command_line import medseg
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder that another process holds, and that process's number."""
    process = start_holder(tmp_path / "held" / LOCK)
    yield tmp_path / "held", process.pid
    end(process)


@pytest.mark.parametrize(
    "words",
    [
        ["fingerprint", "data", "--workspace"],
        ["plan", "data", "--workspace"],
        ["preprocess", "--workspace"],
        ["train", "--configuration", "2d", "--workspace"],
        ["choose", "--workspace"],
        ["run", "data", "--workspace"],
    ],
)
def test_a_workspace_in_use(words: list[str], held: tuple[Path, int]) -> None:
    folder, process = held
    (folder / "cases.json").write_text("{}", "utf-8")
    before = sorted(path.name for path in folder.iterdir())
    ended = medseg(*words, folder)
    if words[0] == "train":  # reads the cases before it trains
        (folder / "cases.json").unlink()
        assert ended.code == 2
        return
    assert ended.code == 2
    (line,) = ended.lines
    for part in (str(folder), "in use by medseg train", f"process {process} on {socket.gethostname()}", "Wait until"):
        assert part in line
    assert sorted(path.name for path in folder.iterdir()) == before


def test_an_output_in_use(held: tuple[Path, int], tmp_path: Path) -> None:
    write_model(tmp_path / "model", folds=(0,))
    write_volume(tmp_path / "scans" / "a.nii.gz", make_scan()[0])
    words = ["predict", tmp_path / "scans", held[0], "--model", tmp_path / "model", "--device", "cpu"]
    ended = medseg(*words)
    assert ended.code == 2
    assert f"process {held[1]} on {socket.gethostname()}" in ended.lines[-1]
    assert [path.name for path in held[0].iterdir()] == [LOCK]
    ended = medseg(*words[:2], tmp_path / "out", *words[3:])
    assert ended.code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.nii.gz", "run.json"]


def test_what_a_killed_command_left_is_taken_over_and_tidied(held: tuple[Path, int], tmp_path: Path) -> None:
    folder, process = held
    leftover = folder / "prepared" / "2d" / f".tmp-{'0' * 8}-1-{'0' * 8}-case.b2nd"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    os.kill(process, 9)
    os.waitpid(process, 0)
    ended = medseg("preprocess", "--workspace", folder)
    assert ended.code == 2  # there is no plan
    assert f"taken over from medseg train (process {process} on" in "\n".join(ended.lines)
    assert not leftover.exists()


def test_a_typing_error_leaves_no_folder(tmp_path: Path) -> None:
    for words in (["preprocess"], ["choose"], ["train", "--configuration", "2d"]):
        assert medseg(*words, "--workspace", tmp_path / "a" / "b").code == 2
        assert list(tmp_path.iterdir()) == []


def test_no_room_is_told_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage(tmp_path))
    write_model(tmp_path / "model", folds=(0,))
    write_volume(tmp_path / "scans" / "a.nii.gz", make_scan(shape=(120, 120, 120))[0])
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10**12, 0, 1000))
    words = ["predict", tmp_path / "scans", tmp_path / "out", "--model", tmp_path / "model", "--device", "cpu"]
    ended = medseg(*words, "--save-probabilities")
    assert ended.code == 2
    assert "writing masks and probabilities of 1 scans needs about" in ended.lines[-1]
    assert "1e-06 GB are free" in ended.lines[-1]
    assert not (tmp_path / "out").exists()
