"""One writer a folder: whoever comes second is told who was first, and nobody waits for the dead."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from medseg.core import atomic
from medseg.core.errors import ResourceError
from medseg.core.locks import LOCK, Holder, hold_lock
from medseg.core.processes import is_running, name_place, read_beginning
from medseg.core.workspace import Workspace, lock_run, lock_workspace, locks_workspace
from medseg.inference.folders.locking import lock_output

HOLDER = """
import sys, time
from pathlib import Path
from medseg.core.locks import hold_lock
with hold_lock(Path(sys.argv[1]), "medseg train"):
    print("held", flush=True)
    time.sleep(60)
"""
CLAIMING = "import fcntl\ndef refuse(*_): raise OSError(37, 'No locks available')\nfcntl.flock = refuse\n"


def start_holder(path: Path, *, claiming: bool = False) -> subprocess.Popen[str]:
    """A process that holds a lock until it is killed."""
    code = (CLAIMING if claiming else "") + HOLDER
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture(params=["flock", "claims"])
def claiming(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A file system with locks, and one without."""
    if request.param == "claims":

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", refuse)
    return bool(request.param == "claims")


def test_a_lock_leaves_nothing(tmp_path: Path, claiming: bool) -> None:
    with hold_lock(tmp_path / "a" / "b" / LOCK, "medseg run") as before:
        assert before is None
        assert (tmp_path / "a" / "b" / LOCK).is_file()
        with hold_lock(tmp_path / "a" / "b" / LOCK, "medseg train"):  # a step of the same run
            pass
        assert (tmp_path / "a" / "b" / LOCK).is_file()
    assert list(tmp_path.iterdir()) == []
    with hold_lock(tmp_path / "a" / LOCK, "medseg run"):
        (tmp_path / "a" / "file").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


def test_the_second_is_told_who_was_first_and_follows_when_that_one_was_killed(
    tmp_path: Path, claiming: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / LOCK
    first = start_holder(path, claiming=claiming)
    try:
        with pytest.raises(ResourceError, match="in use by medseg train") as caught, hold_lock(path, "medseg run"):
            pytest.fail("two hold it")
        assert caught.value.code == "in_use"
        assert caught.value.file == str(tmp_path)
        for part in (f"process {first.pid} on {socket.gethostname()}", "since 20"):
            assert part in caught.value.reason
        os.kill(first.pid, signal.SIGSTOP)  # a stopped one may go on
        with pytest.raises(ResourceError), hold_lock(path, "medseg run"):
            pytest.fail("two hold it")
    finally:
        end(first)
    with hold_lock(path, "medseg run") as before:
        assert before is not None
        assert before.process == first.pid
    assert f"taken over from medseg train (process {first.pid}" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_another_thread_is_another_one(tmp_path: Path) -> None:
    found: list[ResourceError] = []

    def try_it() -> None:
        try:
            with hold_lock(tmp_path / LOCK, "medseg train"):
                pass
        except ResourceError as error:
            found.append(error)

    with hold_lock(tmp_path / LOCK, "medseg run"):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert [error.code for error in found] == ["in_use"]
    with hold_lock(tmp_path / LOCK, "medseg run"):
        pass


def claim(path: Path, **changes: object) -> None:
    own = Holder(os.getpid(), socket.gethostname(), name_place(), read_beginning(os.getpid()), "medseg run", "today")
    path.with_name(path.name + ".claim").write_text(json.dumps({**asdict(own), **changes}), "utf-8")


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, True),
        ({"beginning": "1"}, False),  # a later process of the same number
        ({"process": 2**22 + 1}, False),
        ({"place": "another", "host": "elsewhere"}, True),  # nobody here can know
        ({"place": "another"}, False),  # this machine, before it was started anew
    ],
)
def test_without_locks_the_holder_is_looked_for(
    tmp_path: Path, changes: dict[str, object], held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", refuse)
    claim(tmp_path / LOCK, **changes)
    if held:
        with pytest.raises(ResourceError, match="in use by medseg run") as caught, hold_lock(tmp_path / LOCK, "me"):
            pytest.fail("two hold it")
        assert "delete .lock.claim there" in str(caught.value.remedy)
    else:
        with hold_lock(tmp_path / LOCK, "me") as before:
            assert before is not None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"process": 1}', "\0\0\0"])
def test_a_damaged_lock_file_stops_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content, "utf-8")
    with hold_lock(tmp_path / LOCK, "medseg run"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folds_are_trained_side_by_side_and_a_workspace_is_changed_alone(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    other = start_holder(space.run("2d", 0) / LOCK)
    try:
        with lock_run(space, "2d", 1):
            pass
        with lock_workspace(space, "medseg choose", beside_training=True):
            pass
        for lock in (lock_run(space, "2d", 0), lock_workspace(space, "medseg preprocess")):
            with pytest.raises(ResourceError, match="in use by medseg train"), lock:
                pytest.fail("two hold it")
    finally:
        end(other)
    whole = start_holder(space.root / LOCK)
    try:
        with pytest.raises(ResourceError, match="in use"), lock_run(space, "2d", 0):
            pytest.fail("two hold it")
    finally:
        end(whole)
    with lock_workspace(space, "medseg run"), lock_run(space, "2d", 0):
        pass


def test_parts_of_a_folder_are_written_side_by_side(tmp_path: Path) -> None:
    part = start_holder(tmp_path / f"{LOCK}-1-of-2")
    try:
        with lock_output(tmp_path, (2, 2)):
            pass
        for share in ((1, 2), None):
            with pytest.raises(ResourceError, match="in use"), lock_output(tmp_path, share):
                pytest.fail("two hold it")
    finally:
        end(part)
    with lock_output(tmp_path, None):
        pass


def test_a_run_removes_what_killed_ones_left(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    for folder in (space.prepared("2d"), space.run("2d", 0) / "checkpoints" / "00001", space.predictions):
        folder.mkdir(parents=True)
        atomic.temporary_path(folder / "case.nii.gz").touch()
    with lock_run(space, "2d", 0):
        assert len(list(tmp_path.rglob(".tmp*"))) == 2
    with lock_workspace(space, "medseg run"):
        assert list(tmp_path.rglob(".tmp*")) == []


def test_a_function_is_locked_by_its_workspace(tmp_path: Path) -> None:
    @locks_workspace("medseg plan")
    def step(data: str, workspace: Path | None = None, *, name: str = "") -> tuple[str, list[str]]:
        """What stands in the workspace meanwhile."""
        return data + name, [] if workspace is None else [path.name for path in workspace.iterdir()]

    assert step("a", tmp_path, name="b") == ("ab", [LOCK])
    assert step("a", workspace=tmp_path) == ("a", [LOCK])
    assert step("a") == ("a", [])
    assert step.__name__ == "step"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError, match="cannot be written: Permission denied"), hold_lock(tmp_path / LOCK, "me"):
        pytest.fail("it was written")


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot be written"), hold_lock(tmp_path / "file" / LOCK, "me"):
        pytest.fail("it was written")


def test_a_process_that_nobody_has_buried_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(process.pid)
    process.wait()
    assert is_running(os.getpid(), read_beginning(os.getpid()))
    assert not is_running(os.getpid(), "1")
