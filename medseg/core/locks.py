"""One writer a folder: a lock file that says who holds it, and that its holder's death frees.

The system frees a lock (``flock``) with the process, however it ends. Where a file system has none, the lock is a file
that is there or not, and its holder is looked for among the processes of the machine.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from medseg.core.disk import explain_write
from medseg.core.errors import ResourceError
from medseg.core.manifest import name_time
from medseg.core.processes import is_running, name_place, read_beginning

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

LOCK = ".lock"
# Beside a lock file, where the file system knows no locks.
_CLAIM = ".claim"
# A claim that nobody can read is being written, or was when its writer was killed.
_WRITING_SECONDS = 10.0

_held: dict[Path, tuple[int, int]] = {}  # lock file: thread, how often
_guard = threading.Lock()


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Args:
        process: its number.
        host: the machine's name.
        place: where the number means something, from ``name_place``.
        beginning: when the process began, from ``read_beginning``.
        purpose: what it does.
        since: when it took the lock.
    """

    process: int
    host: str
    place: str
    beginning: str
    purpose: str
    since: str

    def describe(self) -> str:
        """The holder in words."""
        return f"{self.purpose} (process {self.process} on {self.host}, since {self.since})"


class _NoLocksError(Exception):
    """The file system knows no locks."""


@contextlib.contextmanager
def hold_lock(path: str | Path, purpose: str, *, rivals: Iterable[Path] = ()) -> Iterator[Holder | None]:
    """Hold a lock while the block runs; the thread that has it may take it again.

    Args:
        path: the lock file; its folder is made where missing. It is removed in the end.
        purpose: what the holder does, for the one who has to wait.
        rivals: lock files that nobody else may hold at the same time.
    Returns:
        a context manager giving the holder before, where that one was killed and its lock taken over; else None.
    Raises:
        ResourceError: another process or thread holds it, with code ``in_use``; or the folder cannot be written.
    """
    path = Path(path).absolute()
    own = Holder(os.getpid(), socket.gethostname(), name_place(), read_beginning(os.getpid()), purpose, name_time())
    if not _enter(path, own):
        try:
            yield None
        finally:
            _leave(path)
        return
    with contextlib.ExitStack() as stack:
        stack.callback(_leave, path)
        try:
            stack.callback(_remove_empty, [place for place in path.parents if not place.exists()])
            path.parent.mkdir(parents=True, exist_ok=True)
            before = stack.enter_context(_take(path, own))
        except OSError as error:
            raise explain_write(OSError(error.errno, error.strerror), path.parent) from None
        for rival in rivals:
            _refuse_held(rival.absolute())
        if before is not None:
            logger.warning("%s: taken over from %s, which ended without finishing", path.parent, before.describe())
        yield before


def _remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders in which nothing came about, the deepest first."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _enter(path: Path, own: Holder) -> bool:
    """Whether the lock has to be taken: False where this thread has it already."""
    with _guard:
        thread, count = _held.get(path, (threading.get_ident(), 0))
        if thread != threading.get_ident():
            raise _refusal(path, own)
        _held[path] = (thread, count + 1)
        return count == 0


def _leave(path: Path) -> None:
    with _guard:
        thread, count = _held.pop(path)
        if count > 1:
            _held[path] = (thread, count - 1)


@contextlib.contextmanager
def _take(path: Path, own: Holder) -> Iterator[Holder | None]:
    try:
        descriptor = _lock_file(path)
    except _NoLocksError:
        claim = path.with_name(path.name + _CLAIM)
        before = _claim_file(claim, own)
        try:
            yield before
        finally:
            claim.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        return
    try:
        before = _read_holder(path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(own)).encode(), 0)
        yield before
    finally:
        path.unlink(missing_ok=True)  # while it is locked, so that nobody else's goes
        os.close(descriptor)


def _lock_file(path: Path) -> int:
    """A descriptor of the lock file that holds its lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _try_flock(descriptor, shared=False):
                raise _refusal(path, _read_holder(path))
            if _is_same(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # removed by its holder between opening and locking


def _try_flock(descriptor: int, *, shared: bool) -> bool:
    if fcntl is None:
        raise _NoLocksError
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # such as NFS without a lock service
        raise _NoLocksError from None
    return True


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _claim_file(claim: Path, own: Holder) -> Holder | None:
    """Make the file that stands for a lock; the holder before, where that one has ended."""
    before: Holder | None = None
    while True:
        try:
            with claim.open("x", encoding="utf-8") as stream:
                json.dump(asdict(own), stream)
            return before
        except FileExistsError:
            before = _read_holder(claim)
        if _is_claimed(claim, before):
            raise _refusal(claim, before)
        claim.unlink(missing_ok=True)


def _is_claimed(claim: Path, holder: Holder | None) -> bool:
    if holder is None:
        try:
            return time.time() - claim.stat().st_mtime < _WRITING_SECONDS
        except OSError:
            return False
    if holder.place == name_place():
        return is_running(holder.process, holder.beginning)
    return holder.host != socket.gethostname()  # of this machine before it was started anew, it has ended


def _refuse_held(path: Path) -> None:
    """Raise ResourceError where another process or thread holds a lock."""
    with _guard:
        thread = _held.get(path, (None, 0))[0]
    if thread == threading.get_ident():
        return
    claim = path.with_name(path.name + _CLAIM)
    if claim.is_file() and _is_claimed(claim, holder := _read_holder(claim)):
        raise _refusal(claim, holder)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        if not _try_flock(descriptor, shared=True):
            raise _refusal(path, _read_holder(path))
    except _NoLocksError:
        return
    finally:
        os.close(descriptor)


def _read_holder(path: Path) -> Holder | None:
    try:
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, Mapping):
            return None
        return Holder(**content)
    except (OSError, ValueError, TypeError):  # empty, cut short, or of another version
        return None


def _refusal(path: Path, holder: Holder | None) -> ResourceError:
    who = "another process" if holder is None else holder.describe()
    remedy = "Wait until it has ended, or use another folder"
    if path.name.endswith(_CLAIM):
        remedy += f"; where it has ended, delete {path.name} there"
    return ResourceError(f"the folder is in use by {who}", code="in_use", file=path.parent, remedy=remedy)
