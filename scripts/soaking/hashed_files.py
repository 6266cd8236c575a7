#!/usr/bin/env python3
"""Weights, checkpoints and model records cut at 1,000 places and with one bit flipped at 1,000, again and again.

Usage: scripts/soak hashed_files, or python scripts/soaking/hashed_files.py [--minutes 5] [--seed 0]
Prints, for each kind, how many were refused (of checkpoints: the one before was used), read as the same, and read as
something else; of those there must be none. Ends with 1 where there is one. The first round is always finished.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.hashed_files import judge_damage, make_folders

COUNT = 1000


def main() -> int:
    """Run rounds until the time is over; 1 where a damaged file was read as something else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    end, rounds = time.monotonic() + 60 * arguments.minutes, 0
    counts: dict[str, Counter[str]] = {}
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="medseg-soak-") as folder:
        kinds = make_folders(Path(folder))
        while rounds == 0 or time.monotonic() < end:
            for name, (place, kind) in kinds.items():
                found, changed = judge_damage(place, kind, COUNT, arguments.seed + 2 * rounds)
                counts.setdefault(name, Counter()).update(found)
                faults += changed
            rounds += 1
    print(f"rounds: {rounds}")
    for name, found in counts.items():
        print(f"{name:18s} refused {found['refused']:7d}  same {found['same']:6d}  changed {found['changed']:4d}")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
