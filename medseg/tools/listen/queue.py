"""The queue on disk: a folder per case, whose parent says what state it is in; a step is one rename.

    QUEUE/arriving/              instances that are still looked at; nobody was told that they are here
    QUEUE/receiving/CASE/        grows
    QUEUE/waiting/CASE/          complete, to be segmented
    QUEUE/working/CASE/          being segmented
    QUEUE/sending/CASE/          segmented, to be sent
    QUEUE/done/CASE/             all was sent; removed after some days
    QUEUE/unused/CASE/           no rule fits; removed after some days
    QUEUE/failed/CASE/           kept, with the reason in case.json; to try again, move it to waiting

A case holds ``scans/SERIES/INSTANCE.dcm``, ``case.json``, later ``earlier/RULE/STUDY/SERIES/INSTANCE.dcm``
and ``results/RULE/``. Whatever ends the program, each case stands in one of these folders, and the next run goes on
there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from medseg.core import atomic
from medseg.core.errors import MedsegError
from medseg.core.manifest import hash_file
from medseg.tools.listen.records import CaseRecord

ARRIVING, RECEIVING, WAITING, WORKING = "arriving", "receiving", "waiting", "working"
SENDING, DONE, UNUSED, FAILED = "sending", "done", "unused", "failed"
STATES = (RECEIVING, WAITING, WORKING, SENDING, DONE, UNUSED, FAILED)
SCANS, EARLIER, RESULTS = "scans", "earlier", "results"
RECORD = "case.json"
# Patients' scans are nobody else's.
_MODE = 0o700


class Queue:
    """The folders of the queue; the receiver's threads and the main one may use it at the same time.

    Args:
        folder: made where missing, for this user alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._storing: Counter[str] = Counter()
        self._last: dict[str, float] = {}
        for place in (folder, *(folder / state for state in (ARRIVING, *STATES))):
            make_private(place)
        self.used_bytes = self.measure()

    def path(self, state: str, name: str) -> Path:
        """A case's folder in a state."""
        return self.folder / state / name

    def list_cases(self, state: str) -> list[str]:
        """The cases in a state, by name."""
        with os.scandir(self.folder / state) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    def find(self, name: str) -> str | None:
        """The state of a case that is complete; None where there is none."""
        return next((state for state in STATES[1:] if self.path(state, name).is_dir()), None)

    def recover(self) -> list[str]:
        """Put everything where this run goes on after the last one ended somehow; the cases it was working on."""
        atomic.remove_leftovers(self.folder, deep=True, alone=True)
        for path in (self.folder / ARRIVING).iterdir():
            path.unlink()
        interrupted = self.list_cases(WORKING)
        for name in interrupted:
            self.advance(name, WORKING, WAITING)
        return interrupted

    def place(self, arrived: Path, case: str, series: str, instance: str) -> None:
        """Put an instance that arrived among its case's; once this returns it outlives the process and the machine.

        Args:
            arrived: the file, whole and on the disk already.
            case, series, instance: keys; an older file of that instance is replaced.
        """
        with self._hold(case):
            atomic.relocate(arrived, self.path(RECEIVING, case) / SCANS / series / f"{instance}.dcm")

    @contextlib.contextmanager
    def _hold(self, case: str) -> Iterator[None]:
        """While this lasts, a case is not complete; afterwards, its time counts from then."""
        with self._lock:
            self._storing[case] += 1
        try:
            yield
        finally:
            with self._lock:
                self._storing[case] -= 1
                self._last[case] = time.monotonic()

    def take_complete(self, name: str, after_s: float, target: str) -> bool:
        """Move a case out of ``receiving`` where nothing of it has come for a while; else, False."""
        with self._lock:
            if not self._is_quiet(name, after_s):
                return False
            self.advance(name, RECEIVING, target)
            self._forget(name)
        return True

    def take_files(self, name: str, after_s: float, target: Path) -> bool:
        """Move what came late to the rest of its case, where nothing more has come for a while; else, False."""
        with self._lock:
            if not self._is_quiet(name, after_s):
                return False
            for path in list_instances(self.path(RECEIVING, name)):
                atomic.relocate(path, target / path.relative_to(self.path(RECEIVING, name)))
            shutil.rmtree(self.path(RECEIVING, name))
            self._forget(name)
        return True

    def drop_empty(self, name: str, after_s: float) -> bool:
        """Remove a case from ``receiving`` that holds no instance; False where it may yet get one."""
        with self._lock:
            if not self._is_quiet(name, after_s) or list_instances(self.path(RECEIVING, name)):
                return False
            shutil.rmtree(self.path(RECEIVING, name))
            self._forget(name)
        return True

    def is_quiet(self, name: str, after_s: float) -> bool:
        """Whether nothing of a case has come for so many seconds, counted from this program's start at least."""
        with self._lock:
            return self._is_quiet(name, after_s)

    def _is_quiet(self, name: str, after_s: float) -> bool:
        last = self._last.setdefault(name, time.monotonic())
        return not self._storing[name] and time.monotonic() - last >= after_s

    def _forget(self, name: str) -> None:
        self._last.pop(name, None)
        self._storing.pop(name, None)

    def advance(self, name: str, state: str, target: str) -> None:
        """Move a case to another state, whole."""
        atomic.relocate(self.path(state, name), self.path(target, name))

    def read_record(self, state: str, name: str) -> CaseRecord:
        """A case's record; raises FormatError where it cannot be read."""
        return CaseRecord.read(self.path(state, name) / RECORD)

    def write_record(self, state: str, name: str, record: CaseRecord) -> None:
        """Write a case's record."""
        record.write(self.path(state, name) / RECORD)

    def remove(self, state: str, name: str) -> None:
        """Remove a case; a part that stays behind after a crash is no case any more."""
        self.used_bytes -= self.measure(self.path(state, name))
        gone = atomic.temporary_path(self.path(state, name))
        atomic.relocate(self.path(state, name), gone)
        shutil.rmtree(gone, ignore_errors=True)

    def measure(self, part: Path | None = None) -> int:
        """Bytes of all files in the queue, or in a part of it."""
        count = 0
        for place, _, files in os.walk(part or self.folder):
            for file in files:
                with contextlib.suppress(OSError):
                    count += os.lstat(os.path.join(place, file)).st_size  # noqa: PTH118 (a Path per file takes longer)
        return count


def make_private(folder: Path) -> None:
    """Make a folder that only this user may look into; one that is there stays as it is."""
    folder.mkdir(mode=_MODE, parents=True, exist_ok=True)


def list_instances(case: Path) -> list[Path]:
    """The instances of a case's own scans."""
    return sorted((case / SCANS).glob("*/*.dcm"))


def list_series(case: Path) -> list[Path]:
    """The folders of a case's own series."""
    return sorted(path for path in (case / SCANS).glob("*") if path.is_dir())


def is_news(case: Path, other: Path) -> bool:
    """Whether a case holds an instance that another folder of it does not hold, or holds otherwise."""
    for path in list_instances(case):
        known = other / path.relative_to(case)
        if not known.is_file() or known.stat().st_size != path.stat().st_size or hash_file(known) != hash_file(path):
            return True
    return False


def try_record(queue: Queue, state: str, name: str) -> CaseRecord | None:
    """A case's record; None where there is none that can be read."""
    try:
        return queue.read_record(state, name)
    except MedsegError:
        return None
