#!/usr/bin/env python3
"""kill -9 at 100 random moments of training and at 100 of prediction.

Usage: scripts/soak kills, or python scripts/soaking/kills.py [--minutes 20] [--seed 0] [--kills 100]
Each run is killed up to five times, goes on, and must end as an undisturbed one: the training with the same weights,
log and progress to the last bit, the prediction with the same masks byte by byte; in between no checkpoint may be
unusable and no mask that is seen may be another than the right one. Prints the kills; ends with an error at the first
one that is not survived. Half of the time is for trainings, half for predictions; none is begun after it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.faults.kills import kill_predictions, kill_trainings

KILLS_EACH = 5


def main() -> int:
    """Kill until the time is over or all kills are done; 1 never, since what is not survived raises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=100)
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    for name, kill in (("training", kill_trainings), ("prediction", kill_predictions)):
        end, kills, runs = time.monotonic() + 30 * arguments.minutes, 0, 0
        with tempfile.TemporaryDirectory(prefix="medseg-soak-") as folder:
            for count in kill(Path(folder), generator, KILLS_EACH):
                kills, runs = kills + count, runs + 1
                if kills >= arguments.kills or time.monotonic() > end:
                    break
        print(f"{name}: {kills} kills in {runs} runs", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
