"""Wall-clock and CPU-seconds of a command with all its children."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Clocked:
    """What a command took; CPU-seconds are user and system time of the process and its children."""

    wall_s: float
    cpu_s: float


def clock_command(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> Clocked:
    """Run a command and clock it; ends the benchmark where it fails.

    Args:
        command: the executable and its arguments.
        environment: this process's where None. Python keeps its bytecode there, as everywhere but in some containers:
            a command that compiles all its modules anew each time is none that users start.
        log: a file for what the command says; it is thrown away where None.
    Returns:
        its times. Children count once they were waited for, which a process that ends properly does.
    """
    environment = {**(os.environ if environment is None else environment)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, began = _children_cpu(), time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    clocked = Clocked(time.perf_counter() - began, _children_cpu() - before)
    text = done.stdout.decode("utf-8", "replace")
    if log is not None:
        log.write_text(text, "utf-8")
    if done.returncode != 0:
        tail = "\n".join(text.splitlines()[-15:])
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{tail}")
    return clocked


def median(rows: Sequence[Clocked], field: str) -> float:
    """The median of ``wall_s`` or ``cpu_s``."""
    return statistics.median(getattr(row, field) for row in rows)


def format_times(rows: Sequence[Clocked]) -> str:
    """Median (smallest to largest) of wall-clock and CPU-seconds."""
    parts = []
    for title, field in (("wall", "wall_s"), ("CPU", "cpu_s")):
        values = [getattr(row, field) for row in rows]
        parts.append(f"{title} {median(rows, field):7.3f} s ({min(values):.3f} to {max(values):.3f})")
    return "   ".join(parts)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
