"""Rounds of damage until the time is over, and what became of it."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

Found = Mapping[str, tuple[Counter[str], list[str]]]


def soak_rounds(description: str | None, words: tuple[str, ...], soak_round: Callable[[Path, int], Found]) -> int:
    """Do rounds until the time of the command line is over, at least one; print how often each word applied.

    Args:
        description: of the command line.
        words: what may become of damaged files, in the order of printing.
        soak_round: called with a folder and a seed; gives a count by word and a line per fault, for each kind.
    Returns:
        the exit code: 1 where there was a fault.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    counts: dict[str, Counter[str]] = {}
    faults, rounds = [], 0
    with tempfile.TemporaryDirectory(prefix="medseg-soak-") as folder:
        while rounds == 0 or time.monotonic() < end:
            seed = arguments.seed + rounds
            for name, (found, wrong) in soak_round(Path(folder), seed).items():
                counts.setdefault(name, Counter()).update(found)
                faults += [f"{name}, seed {seed}: {what}" for what in wrong]
            rounds += 1
    print(f"rounds: {rounds}")
    for name, found in counts.items():
        print(f"{name:22s} " + "  ".join(f"{word} {found[word]:7d}" for word in words))
    print("\n".join(faults))
    return 1 if faults else 0
