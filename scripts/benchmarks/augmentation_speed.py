"""CPU-seconds a sample of augmentation: medseg and nnU-Net's batchgeneratorsv2, the same list, in turn.

Both get the same patches in memory, of the size that nnU-Net reads, in a process and on a thread each.

Usage: python scripts/benchmarks/augmentation_speed.py --peer-python PYTHON [--rounds 7]
PYTHON has nnunetv2 installed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REQUIRED_RATIO = 0.5
WORKER = Path(__file__).resolve().with_name("augmentation_worker.py")


@dataclass(frozen=True)
class Work:
    """A patch, the larger one that nnU-Net reads for it (``get_patch_size``), and samples a round."""

    patch: tuple[int, int, int]
    read: tuple[int, int, int]
    samples: int


WORKS = (Work((40, 56, 40), (73, 80, 64), 120), Work((96, 96, 96), (154, 154, 154), 40))


def run_augmentation(peer_python: str, rounds: int) -> dict:
    """Time both in turn.

    Args:
        peer_python: a Python that has nnU-Net.
        rounds: how often the two take turns for each patch.
    Returns:
        milliseconds a sample of each round by side, and the ratios, for each patch; the same is printed.
    """
    sides = {"nnU-Net": _start(peer_python, "nnunet"), "medseg": _start(sys.executable, "medseg")}
    try:
        return {"x".join(map(str, work.patch)): _compare(sides, work, rounds) for work in WORKS}
    finally:
        for process in sides.values():
            process.communicate()


def _compare(sides: dict[str, subprocess.Popen[str]], work: Work, rounds: int) -> dict:
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-1, rounds):  # the first round warms up
        for name, process in sides.items():
            spent = _ask(process, work, seed=number + 1)
            if number >= 0:
                times[name].append(1000 * spent / work.samples)
    ratios = [ours / theirs for ours, theirs in zip(times["medseg"], times["nnU-Net"], strict=True)]
    reached = statistics.median(ratios) <= REQUIRED_RATIO
    print(f"augmentation, patch {'x'.join(map(str, work.patch))}, one thread, {work.samples} samples a round")
    for name, values in times.items():
        print(f"  {name:<8} {_spread(values)} CPU-milliseconds a sample")
    print(f"  ratio    {_spread(ratios)}; at most {REQUIRED_RATIO}: {'reached' if reached else 'missed'}")
    return {"milliseconds": times, "ratios": ratios, "reached": reached}


def _start(python: str, side: str) -> subprocess.Popen[str]:
    command = [python, str(WORKER), side]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    if "torch" not in _read(process):
        raise SystemExit(f"{' '.join(command)}: it does not say what it is")
    return process


def _ask(process: subprocess.Popen[str], work: Work, seed: int) -> float:
    asked = {"patch": work.patch, "read": work.read, "samples": work.samples, "seed": seed}
    assert process.stdin is not None
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    return float(_read(process))


def _read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{' '.join(map(str, process.args))}: exit code {process.wait()}")  # type: ignore[arg-type]
    return line


def _spread(values: list[float]) -> str:
    """Median (smallest to largest)."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    run_augmentation(options.peer_python, options.rounds)


if __name__ == "__main__":
    main()
