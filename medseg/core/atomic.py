"""Writing files so that nobody ever sees a half-written one.

A file is written under a hidden name beside its place, forced to the disk, read back, and renamed. Whatever fails, the
old file or the new one stands there, whole. What a killed process leaves is removed by the next run.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from medseg.core.processes import is_running, name_place

_HOOK: Callable[[str, Path], None] | None = None
# What this process is writing now, for ``remove_unfinished``.
_UNFINISHED: set[Path] = set()
_LEFTOVER = re.compile(r"^\.tmp-(?P<place>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}-")
# So many of a name's last characters go into its temporary name: file systems take 255 bytes.
_KEPT_CHARACTERS = 40
# What grows is touched. What nobody has touched for a day belongs to no process, on whichever machine it ran.
_FORGOTTEN_SECONDS = 24 * 3600.0
_CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def fault_hook(hook: Callable[[str, Path], None]) -> Iterator[None]:
    """Call ``hook(step, path)`` before each ``open``, ``write``, ``fsync`` and ``rename``, for tests to make them fail.

    A library that writes a file by itself does so after ``open``, without ``write``.
    """
    global _HOOK
    _HOOK = hook
    try:
        yield
    finally:
        _HOOK = None


def _step(name: str, path: Path) -> None:
    if _HOOK is not None:
        _HOOK(name, path)


def temporary_path(path: Path) -> Path:
    """A hidden name beside ``path`` that no reader takes for a result, ending as ``path`` does; another each time."""
    # Two machines that share a folder may have processes of one number.
    mark = f".tmp-{name_place()}-{os.getpid()}-{secrets.token_hex(4)}-"
    return path.with_name(mark + path.name[-_KEPT_CHARACTERS:])


@contextlib.contextmanager
def atomic_path(path: str | Path, verify: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes ``path`` when the block ends well.

    Args:
        path: where the finished file shall stand; its folder is made where missing.
        verify: reads what was written, and raises where it is not what was meant; for libraries that write files
            themselves, some of which report success on a full disk.
    Returns:
        a context manager giving the temporary path in the same folder; on an error it is removed and
        an older ``path`` stays as it was.
    Raises:
        OSError: the disk is full or the folder cannot be written; its ``filename`` is ``path``.
    """
    target = Path(path)
    temporary = temporary_path(target)
    with _name_file(target, temporary):
        made = _make_folder(target.parent)
        _UNFINISHED.add(temporary)
        try:
            _step("open", target)
            yield temporary
            _step("fsync", target)
            _sync(temporary)
            if verify is not None:
                verify(temporary)
            _step("rename", target)
            temporary.replace(target)
        except BaseException:
            _remove(temporary)
            raise
        finally:
            _UNFINISHED.discard(temporary)
        for folder in (target.parent, *made):
            _sync_folder(folder)


@contextlib.contextmanager
def atomic_open(path: str | Path) -> Iterator[IO[bytes]]:
    """Open ``path`` for binary writing, from its beginning to its end, so that it appears whole or not at all.

    Args:
        path: where the finished file shall stand; its folder is made where missing.
    Returns:
        a context manager giving the stream; what was written is read back before it becomes ``path``.
    Raises:
        OSError: the disk is full, the folder cannot be written, or the file does not hold what was written.
    """
    target = Path(path)
    written: list[_CheckedFile] = []
    with atomic_path(target, lambda temporary: _read_back(temporary, written[0])) as temporary:
        written.append(_CheckedFile(temporary, target))
        with io.BufferedWriter(written[0], _CHUNK_BYTES) as stream:
            yield stream


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path`` whole or not at all."""
    with atomic_open(path) as stream:
        stream.write(content)


def write_text(path: str | Path, content: str) -> None:
    """Write ``content`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def append_bytes(path: str | Path, content: bytes) -> None:
    """Add ``content`` to the end of a log that only grows; where that fails, the log is as long as it was.

    Args:
        path: the log; it and its folder are made where missing. It is not forced to the disk.
        content: a whole entry. A process that is killed in the middle leaves a part of its last entry, which readers
            of such a log pass over.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    target = Path(path)
    with _name_file(target, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab", buffering=0) as stream:
            length = stream.seek(0, os.SEEK_END)
            left = memoryview(content)
            try:
                while left:
                    _step("write", target)
                    left = left[stream.write(left) or 0 :]
            except BaseException:
                with contextlib.suppress(OSError):
                    stream.truncate(length)
                raise


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it becomes ``path`` when the block ends well, in the place of an older one.

    Args:
        path: where the finished folder shall stand.
    Returns:
        a context manager giving the temporary folder beside it; on an error it is removed and an older ``path`` stays
        as it was.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    target = Path(path)
    temporary, old = temporary_path(target), temporary_path(target)
    with _name_file(target, temporary):
        made = _make_folder(target.parent)
        _UNFINISHED.add(temporary)
        try:
            temporary.mkdir()
            yield temporary
            _step("rename", target)
            if target.exists():
                target.rename(old)
            temporary.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            _remove(temporary)
            raise
        finally:
            _UNFINISHED.discard(temporary)
        for folder in (target.parent, *made):
            _sync_folder(folder)
        _remove(old)


def relocate(path: str | Path, target: str | Path) -> None:
    """Give a file or folder that is whole its next place; once this returns, it stands there after a power cut too.

    Args:
        path: the file or folder, on the disk already.
        target: its next place, on the same disk; its folder is made where missing. An older file is replaced, an
            older folder has to be empty.
    Raises:
        OSError: it cannot be moved; it then stands where it was.
    """
    path, target = Path(path), Path(target)
    made = _make_folder(target.parent)
    _step("rename", target)
    path.replace(target)
    for folder in (target.parent, path.parent, *made):
        _sync_folder(folder)


def remove_leftovers(folder: str | Path, *, deep: bool = False, alone: bool = False) -> int:
    """Remove temporary files and folders of processes that were killed.

    Args:
        folder: where they may lie.
        deep: whether in folders below, too.
        alone: whether no other process, on any machine, can be writing there; else only those go whose process
            has ended, or that nobody has touched for a day.
    Returns:
        how many went.
    """
    count = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            found = _LEFTOVER.match(name)
            if found and path not in _UNFINISHED and (alone or _is_orphan(path, found)):
                count += _remove(path)
        folders[:] = [name for name in folders if deep and not _LEFTOVER.match(name)]
    return count


def remove_unfinished() -> None:
    """Remove what this process was about to write, before it ends without another word."""
    for path in list(_UNFINISHED):
        _remove(path)


class _CheckedFile(io.FileIO):
    """A new file that knows the checksum of what was written to it, from its beginning to its end."""

    def __init__(self, path: Path, target: Path) -> None:
        super().__init__(path, "xb")
        self.target, self.length, self.checksum = target, 0, 0

    def write(self, content: Any) -> int:
        _step("write", self.target)
        written = super().write(content) or 0
        self.checksum = zlib.crc32(memoryview(content).cast("B")[:written], self.checksum)
        self.length += written
        return written

    def seekable(self) -> bool:
        return False

    def seek(self, *arguments: int) -> int:
        raise io.UnsupportedOperation("seek")


def _read_back(path: Path, written: _CheckedFile) -> None:
    checksum = length = 0
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            checksum = zlib.crc32(piece, checksum)
            length += len(piece)
    if (length, checksum) != (written.length, written.checksum):
        raise OSError(errno.EIO, f"the disk gives back {length} bytes that are not the {written.length} written")


@contextlib.contextmanager
def _name_file(target: Path, temporary: Path) -> Iterator[None]:
    """Errors of writing name the file that was meant: a descriptor's have no name, a temporary name helps nobody."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(target), None
        raise


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder where it is missing; the folders that hold a new one."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return [place.parent for place in missing]


def _is_orphan(path: Path, found: re.Match[str]) -> bool:
    if found["place"] == name_place():
        return not is_running(int(found["process"]))
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > _FORGOTTEN_SECONDS
    return False


def _remove(path: Path) -> bool:
    """Remove a file or folder where that can be done; an error here would hide the one that matters."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # A rename is durable only once its folder is; some file systems refuse to sync one, which loses nothing.
    with contextlib.suppress(OSError):
        _sync(folder)
