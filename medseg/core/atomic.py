"""Writing files so that nobody ever sees a half-written one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

_HOOK: Callable[[str, Path], None] | None = None


@contextlib.contextmanager
def fault_hook(hook: Callable[[str, Path], None]) -> Iterator[None]:
    """Call ``hook(step, path)`` before each ``write``, ``fsync`` and ``rename``, so that tests can make them fail."""
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
    return path.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes ``path`` when the block ends well.

    Args:
        path: where the finished file shall stand; its folder is made where missing.
    Returns:
        a context manager giving the temporary path in the same folder; on an error it is removed and
        an older ``path`` stays as it was.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(target)
    try:
        _step("write", target)
        yield temporary
        _step("fsync", target)
        _sync(temporary)
        _step("rename", target)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


@contextlib.contextmanager
def atomic_open(path: str | Path) -> Iterator[IO[bytes]]:
    """Open ``path`` for binary writing so that it appears whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        yield stream


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path`` whole or not at all."""
    with atomic_open(path) as stream:
        stream.write(content)


def write_text(path: str | Path, content: str) -> None:
    """Write ``content`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


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
