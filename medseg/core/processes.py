"""Which process this is, and whether another one still runs: for temporary files and locks whose owners were killed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from functools import cache
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
# In a process's line in /proc, after its name: when it began, in ticks since the machine did. Source: proc_pid_stat(5).
_BEGAN_FIELD = 19
_DEAD_STATES = ("Z", "X")


@cache
def name_place() -> str:
    """Where this process's number means something: this boot of this machine, this container; 8 hexadecimal digits."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # not Linux: the host's name alone has to do
        parts += [_BOOT.read_text("ascii").strip(), str(_NAMESPACE.stat().st_ino)]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def read_beginning(process: int) -> str:
    """When a process of this place began, which tells it from a later one of its number; empty where nobody knows."""
    fields = _read_fields(process)
    return fields[_BEGAN_FIELD] if len(fields) > _BEGAN_FIELD else ""


def is_running(process: int, beginning: str = "") -> bool:
    """Whether a process of this place still runs.

    Args:
        process: its number.
        beginning: from ``read_beginning``; another process of that number is not it. Empty where it is not known.
    Returns:
        False where it has ended, also where nobody has asked for its exit code yet; True where that cannot be known.
    """
    fields = _read_fields(process)
    if fields:
        return fields[0] not in _DEAD_STATES and beginning in ("", fields[_BEGAN_FIELD])
    if _BOOT.exists():
        return False
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _read_fields(process: int) -> list[str]:
    try:
        # The name stands in brackets and may hold anything, brackets too.
        return Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []
