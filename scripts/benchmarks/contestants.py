"""Commands and warm processes with what they take: wall-clock, CPU-seconds and peak memory, and ratios of these."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.clock import clock_command
from benchmarks.peak_memory import watch_memory

FIELDS = {"wall_s": "wall", "cpu_s": "CPU", "peak_gb": "memory"}


@dataclass(frozen=True)
class Taken:
    """What one run took, its children included; ``peak_gb`` by ``peak_memory.measure_tree``."""

    wall_s: float
    cpu_s: float
    peak_gb: float


def measure_command(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> Taken:
    """Run a command in a fresh process; ends the benchmark where it fails."""
    with watch_memory(os.getpid(), with_root=False) as peak:
        clocked = clock_command(command, environment=environment, log=log)
    return Taken(clocked.wall_s, clocked.cpu_s, peak.gb)


class WarmProcess:
    """A started ``warm_predictor.py``; use it in a ``with`` statement, which ends the process."""

    def __init__(self, python: str, options: Sequence[str], log: Path) -> None:
        script = Path(__file__).with_name("warm_predictor.py")
        self._log = log
        self._stream = log.open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [python, str(script), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stream,
            text=True,
        )
        self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._stream.close()

    def predict(self, images: Sequence[Path], output: Path) -> Taken:
        """Predict one case into ``output``, a file; the peak holds what the process keeps between cases."""
        assert self._process.stdin is not None
        line = json.dumps({"images": [str(path) for path in images], "output": str(output)})
        with watch_memory(self._process.pid, with_root=True) as peak:
            print(line, file=self._process.stdin, flush=True)
            answer = self._listen()
        return Taken(answer["wall_s"], answer["cpu_s"], peak.gb)

    def _listen(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            tail = "\n".join(self._log.read_text("utf-8").splitlines()[-15:])
            raise SystemExit(f"a predictor ended with exit code {self._process.returncode}, {self._log}:\n{tail}")
        return json.loads(line)


def add_up(rows: Sequence[Taken]) -> Taken:
    """What several runs took together: times added, the highest peak."""
    return Taken(sum(row.wall_s for row in rows), sum(row.cpu_s for row in rows), max(row.peak_gb for row in rows))


def compare(ours: Sequence[Taken], theirs: Sequence[Taken]) -> dict[str, list[float]]:
    """Our part of what the peer took in each alternation, by field."""
    return {
        field: [getattr(a, field) / getattr(b, field) for a, b in zip(ours, theirs, strict=True)] for field in FIELDS
    }


def format_ratios(ratios: Mapping[str, Sequence[float]]) -> str:
    """Median (smallest to largest) of each field's ratios."""
    parts = [
        f"{title} {statistics.median(ratios[field]):.3f} ({min(ratios[field]):.3f} to {max(ratios[field]):.3f})"
        for field, title in FIELDS.items()
    ]
    return "   ".join(parts)


def format_taken(rows: Sequence[Taken]) -> str:
    """The medians of what a contestant took."""
    wall, cpu, peak = (statistics.median(getattr(row, field) for row in rows) for field in FIELDS)
    return f"wall {wall:8.2f} s   CPU {cpu:8.2f} s   memory {peak:6.2f} GB"
