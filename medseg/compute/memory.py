"""How much memory this process may still take, in a container too."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

# A system that does not tell: what any machine of the field has free.
UNKNOWN_FREE_BYTES = 4_000_000_000
# Of a control group's memory, what the kernel gives back when it is needed: files that were read.
RECLAIMABLE = ("inactive_file", "active_file")


def read_free_bytes(root: Path = Path("/")) -> int:
    """Memory that could be taken without swapping or being killed for it.

    Args:
        root: where ``proc`` and ``sys`` are.
    Returns:
        bytes, at least 0: what the machine has left, or the limits of the control groups (containers, batch jobs)
        around this process, whichever is least; files that were read count as free.
    Source: Linux, ``proc_meminfo(5)`` (MemAvailable), cgroup v2 ``memory.max`` and v1 ``memory.limit_in_bytes``.
    """
    return max(0, min([_read_available(root), *_list_group_limits(root)]))


def _read_available(root: Path) -> int:
    fields = _read_fields(root / "proc" / "meminfo")
    if "MemAvailable" in fields:
        return fields["MemAvailable"] * 1024
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return UNKNOWN_FREE_BYTES


def _list_group_limits(root: Path) -> Iterator[int]:
    """What each control group with a limit leaves; a group is bound by those around it too."""
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    mounts = root / "sys" / "fs" / "cgroup"
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            names = ("memory.max", "memory.current", "")
            base = mounts
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
            base = mounts / "memory"
        else:
            continue
        # Inside a container the path may be the host's, which is not there; the container's own group is the mount.
        inner = PurePosixPath(path.lstrip("/"))
        for part in (inner, *inner.parents):
            yield from _read_limit(base / part, *names)


def _read_limit(group: Path, limit_name: str, used_name: str, prefix: str) -> Iterator[int]:
    try:
        limit, used = ((group / name).read_text("ascii").strip() for name in (limit_name, used_name))
    except OSError:
        return
    if limit.isdigit() and used.isdigit():
        fields = _read_fields(group / "memory.stat")
        reclaimable = sum(fields.get(prefix + name, 0) for name in RECLAIMABLE)
        yield int(limit) - int(used) + reclaimable


def _read_fields(path: Path) -> Mapping[str, int]:
    """``name value`` or ``name: value kB`` on each line."""
    try:
        rows = [line.replace(":", " ").split() for line in path.read_text("utf-8").splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
