"""The peak memory of a process and its children, watched while it runs (Linux only: it reads /proc)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

PERIOD_S = 0.05
PROC = Path("/proc")


class Peak:
    """The largest sum seen so far, GB (1e9 bytes)."""

    gb = 0.0


@contextlib.contextmanager
def watch_memory(root: int, *, with_root: bool) -> Iterator[Peak]:
    """Watch a process and all its descendants.

    Args:
        root: its id.
        with_root: whether the process itself counts, or only the descendants that begin from now on.
    Yields:
        the peak, which is final once the context is left.
    """
    peak, stop = Peak(), threading.Event()
    older = frozenset[int]() if with_root else frozenset(list_tree(root)) - {root}

    def watch() -> None:
        while True:
            peak.gb = max(peak.gb, measure_tree(root, with_root=with_root, older=older))
            if stop.wait(PERIOD_S):
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def measure_tree(root: int, *, with_root: bool, older: frozenset[int] = frozenset()) -> float:
    """What a process and its descendants hold now, GB: the sum of what each has for itself (anonymous and shared
    memory), and the mapped files of the one that maps most, since libraries lie in memory once for all. Children in
    ``older`` are left out, with theirs."""
    own = mapped = 0
    parent = read_command(root)
    for pid in list_tree(root, older):
        # A child that was made but has not begun its program yet still shows its parent's memory.
        if read_command(pid) == parent and not (with_root and pid == root):
            continue
        fields = read_status(pid)
        own += fields.get("RssAnon", 0) + fields.get("RssShmem", 0)
        mapped = max(mapped, fields.get("RssFile", 0))
    return (own + mapped) * 1024 / 1e9


def list_tree(root: int, older: frozenset[int] = frozenset()) -> list[int]:
    """A process and its descendants without those in ``older``, itself first; what ended meanwhile is left out."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        if pid in older:
            continue
        found.append(pid)
        for task in list_tasks(pid):
            with contextlib.suppress(OSError):
                waiting += map(int, (task / "children").read_text("ascii").split())
    return found


def list_tasks(pid: int) -> list[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def read_command(pid: int) -> bytes:
    """The command line of a process; empty where it ended."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def read_status(pid: int) -> dict[str, int]:
    """The memory fields of a process's status, kB; empty where it ended."""
    try:
        lines = (PROC / str(pid) / "status").read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.startswith("Rss"))
    return {name: int(value.split()[0]) for name, value in pairs}
