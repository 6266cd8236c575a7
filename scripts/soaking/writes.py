#!/usr/bin/env python3
"""The n-th open, write, fsync and rename fails for every n, and disks are full at 40 sizes, for all that is written.

Usage: scripts/soak writes, or python scripts/soaking/writes.py [--minutes 5]
Masks of all formats, tables, the report, checkpoints, prepared cases and models are written over older ones; after each
fault a reader must find the old or the new one, whole, nothing may be left, and the next run must put it right.
Prints how many faults came about. A training and a prediction meet a fault at every n too, and a rerun must end with
what an undisturbed run gives, to the last bit. Ends with an error at the first fault that is not survived; trainings
and predictions are tried until the time is over, in random order.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.faults.reruns import RERUNS, Rerun
from tests.faults.writes import STEPS, WRITTEN, Trial, try_every_step, try_full_disks


def main() -> int:
    """Try every fault; 1 never, since a fault that is not survived raises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory(prefix="medseg-soak-") as folder:
        for name, kind in WRITTEN.items():
            trial = Trial(kind, Path(folder) / name)
            steps, sizes = try_every_step(trial), try_full_disks(trial, 40)
            print(f"{name:12s} {steps:4d} failing steps, {sizes:3d} full disks", flush=True)
        reruns = {name: Rerun(make(Path(folder) / f"{name}_rerun")) for name, make in RERUNS.items()}
        places = [
            (name, step, number)
            for name, rerun in reruns.items()
            for step in STEPS
            for number in range(1, rerun.count_steps(step) + 1)
        ]
        random.Random(arguments.seed).shuffle(places)
        tried = 0
        for name, step, number in places:
            if tried and time.monotonic() > end:
                break
            reruns[name].attempt(step, number)
            tried += 1
    print(f"reruns: {tried} of {len(places)} failing steps of {', '.join(reruns)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
