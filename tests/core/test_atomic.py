"""Whatever fails while a file is written: the old file or the new one stands there, whole, and nothing else."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.core import atomic
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, write_run
from medseg.core.processes import name_place
from medseg.core.records import write_json
from medseg.core.results import Score, write_rows
from tests.full_disks import limited_files

OLD = b"old and whole\n"
STEPS = ("open", "write", "fsync", "rename")


def fail_at(step: str, count: int) -> Callable[[str, Path], None]:
    """A hook whose ``count``-th call for ``step`` finds the disk full."""
    left = count

    def hook(name: str, path: Path) -> None:
        nonlocal left
        if name == step:
            left -= 1
            if left == 0:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))

    return hook


def test_write_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    atomic.write_bytes(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    atomic.write_text(path, "Größe\n")
    assert path.read_bytes() == "Größe\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_the_steps_come_in_order(tmp_path: Path) -> None:
    steps: list[str] = []
    with atomic.fault_hook(lambda step, path: steps.append(f"{step} {path.name}")):
        atomic.write_text(tmp_path / "a.txt", "a")
    assert steps == [f"{step} a.txt" for step in STEPS]


def test_the_temporary_name_keeps_the_ending(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.gz"
    with atomic.atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.name.endswith("case.nii.gz")
        temporary.write_bytes(b"x")
        assert not path.exists()
    assert path.read_bytes() == b"x"


WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: atomic.write_bytes(path, b"new"),
    "text": lambda path: atomic.write_text(path, "new"),
    "json": lambda path: write_json(path, {"new": 1}),
    "record": lambda path: LabelScheme.make({"a": 1}).write(path),
    "table": lambda path: write_rows(path, [], Score),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("existed", [True, False])
def test_a_failing_step_leaves_the_old_file(tmp_path: Path, writer: str, step: str, existed: bool) -> None:
    path = tmp_path / "file"
    if existed:
        path.write_bytes(OLD)
    with atomic.fault_hook(fail_at(step, 1)), pytest.raises(OSError, match="No space left"):
        WRITERS[writer](path)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([OLD] if existed else [])
    WRITERS[writer](path)
    assert path.read_bytes() != OLD


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("count", range(1, 6))
def test_the_nth_failure_in_a_row_of_files(tmp_path: Path, step: str, count: int) -> None:
    paths = [tmp_path / f"{index}.txt" for index in range(5)]
    for path in paths:
        path.write_bytes(OLD)

    def write_all() -> None:
        for path in paths:
            atomic.write_text(path, "new")

    with atomic.fault_hook(fail_at(step, count)), pytest.raises(OSError, match="No space left"):
        write_all()
    expected = [b"new"] * (count - 1) + [OLD] * (6 - count)
    assert [path.read_bytes() for path in paths] == expected
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("step", STEPS)
def test_run_json_is_whole_or_old(tmp_path: Path, step: str) -> None:
    (tmp_path / "run.json").write_bytes(OLD)
    with atomic.fault_hook(fail_at(step, 1)), pytest.raises(OSError, match="No space left"):
        write_run(tmp_path, "check", [CaseOutcome("a", "done")], started="2026-01-01T00:00:00Z")
    assert (tmp_path / "run.json").read_bytes() == OLD


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with pytest.raises(error), atomic.atomic_open(path) as stream:  # noqa: PT012
        stream.write(b"half of it")
        raise error
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [OLD]


def test_the_hook_is_gone_after_its_block(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space"), atomic.fault_hook(fail_at("write", 1)):
        atomic.write_text(tmp_path / "a", "new")
    atomic.write_text(tmp_path / "a", "new")


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    code = (
        "import os, signal, sys\nfrom medseg.core import atomic\n"
        "with atomic.atomic_open(sys.argv[1]) as stream:\n"
        "    stream.write(b'half of it')\n    stream.flush()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert result.returncode == -signal.SIGKILL
    assert path.read_bytes() == OLD
    # What is left beside it is hidden, so that no reader takes it for a result.
    assert all(entry.name.startswith(".tmp-") for entry in tmp_path.iterdir() if entry != path)
    assert atomic.remove_leftovers(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(OSError, match="file"):
        atomic.write_text(tmp_path / "file" / "a.txt", "new")
    assert (tmp_path / "file").read_bytes() == OLD


@pytest.mark.parametrize("count", range(1, 9))
def test_the_nth_write_into_one_file(tmp_path: Path, count: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    content = bytes(range(256)) * 4096 * 3  # three times the buffer
    pieces = [content[start : start + 700_001] for start in range(0, len(content), 700_001)]

    def write() -> None:
        with atomic.atomic_open(path) as stream:
            for piece in pieces:
                stream.write(piece)

    with atomic.fault_hook(fail_at("write", count)), contextlib.suppress(OSError):
        write()
    assert path.read_bytes() == (OLD if count <= 4 else content)
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_disk_gives_back_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def cut(step: str, target: Path) -> None:
        if step == "fsync":
            (temporary,) = tmp_path.glob(".tmp-*")
            temporary.write_bytes(temporary.read_bytes()[:-1])

    with atomic.fault_hook(cut), pytest.raises(OSError, match="not the 3 written"):
        atomic.write_bytes(path, b"new")
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [OLD]


@pytest.mark.parametrize("limit", [0, 1, 1000, 4096, 100_000, (1 << 20) - 1, 1 << 20, 2_499_999])
def test_a_file_that_may_not_grow_further(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with limited_files(limit), pytest.raises(OSError) as caught:
        atomic.write_bytes(path, bytes(2_500_000))
    assert caught.value.filename == str(path)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [OLD]


def test_a_log_grows_by_whole_entries(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "log"
    atomic.append_bytes(path, b"one\n")
    with limited_files(6), pytest.raises(OSError) as caught:
        atomic.append_bytes(path, b"two\n")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"one\n"
    with atomic.fault_hook(fail_at("write", 1)), pytest.raises(OSError, match="No space left"):
        atomic.append_bytes(path, b"two\n")
    atomic.append_bytes(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("fails", ["rename", "block", None])
def test_a_folder_is_whole_or_old(tmp_path: Path, existed: bool, fails: str | None) -> None:
    target = tmp_path / "model"
    if existed:
        target.mkdir()
        (target / "old").write_bytes(OLD)

    def fill() -> None:
        with atomic.atomic_folder(target) as folder:
            atomic.write_text(folder / "new", "new")
            if fails == "block":
                raise KeyboardInterrupt

    hook = fail_at("rename", 2) if fails == "rename" else lambda step, path: None
    with atomic.fault_hook(hook):
        if fails is None:
            fill()
        else:
            with pytest.raises((OSError, KeyboardInterrupt)):
                fill()
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    old = ["model", "model/old"] if existed else []
    assert names == (["model", "model/new"] if fails is None else old)


def test_long_names_can_be_written(tmp_path: Path) -> None:
    for name in ("a" * 248 + ".nii.gz", "ä" * 123 + ".nii.gz"):
        atomic.write_text(tmp_path / name, "new")
        assert (tmp_path / name).read_bytes() == b"new"


def test_leftovers_go_where_their_process_has_ended(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    place = name_place()
    names = {
        "alive": f".tmp-{place}-{process.pid}-0123abcd-a.txt",
        "own": f".tmp-{place}-{os.getpid()}-0123abcd-a.txt",
        "ended": f".tmp-{place}-{int(ended.stdout)}-0123abcd-a.txt",
        "elsewhere": f".tmp-{'0' * 8}-1-0123abcd-a.txt",
        "forgotten": f".tmp-{'0' * 8}-1-0123abce-a.txt",
        "no_leftover": ".tmp-file.txt",
    }
    (tmp_path / "below").mkdir()
    for name in names.values():
        (tmp_path / name).touch()
        (tmp_path / "below" / name).touch()
    staging = tmp_path / f".tmp-{place}-{int(ended.stdout)}-0123abcd-model"
    (staging / "weights").mkdir(parents=True)
    os.utime(tmp_path / names["forgotten"], (0, 0))
    try:
        assert atomic.remove_leftovers(tmp_path) == 3
        assert {path.name for path in tmp_path.iterdir()} - {"below"} == set(names.values()) - {
            names["ended"],
            names["forgotten"],
        }
        assert len(list((tmp_path / "below").iterdir())) == len(names)
        assert atomic.remove_leftovers(tmp_path, deep=True, alone=True) == 3 + 5
        assert {path.name for path in tmp_path.rglob("*")} == {"below", ".tmp-file.txt"}
    finally:
        process.kill()
        process.wait()


def test_what_is_unfinished_can_be_removed_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.atomic_open(tmp_path / "file") as stream:  # noqa: PT012
        stream.write(b"half of it")
        atomic.remove_unfinished()
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
