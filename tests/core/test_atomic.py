"""Whatever fails while a file is written: the old file or the new one stands there, whole, and nothing else."""

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.core import atomic
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, write_run
from medseg.core.records import write_json
from medseg.core.results import Score, write_rows

OLD = b"old and whole\n"
STEPS = ("write", "fsync", "rename")


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


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(OSError, match="file"):
        atomic.write_text(tmp_path / "file" / "a.txt", "new")
    assert (tmp_path / "file").read_bytes() == OLD
