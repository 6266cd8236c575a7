#!/usr/bin/env python3
"""`medseg listen` killed at every step that it writes: no promised instance is lost, the next one goes on.

Usage: scripts/soak listener, or scripts/soaking/listener.py [--minutes 15]
Prints at how many steps it was killed; ends with 1 at the first fault. Steps are taken in an order that spreads them
over the whole, until all are done or the time is over.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.inference.examples import write_model
from tests.tools.listen.deaths import check, play

STRIDE = 7


def main() -> int:
    """Kill at step after step until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0)
    end = time.monotonic() + 60 * parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="medseg-soak-") as folder:
        model = Path(folder) / "model"
        write_model(model, folds=(2,))
        (whole,) = play(Path(folder) / "whole", model, 0)
        count, done = whole["steps"], 0
        for first in range(1, STRIDE + 1):
            steps = range(first, count + 1, STRIDE)
            if time.monotonic() < end:
                for round_ in play(Path(folder) / f"killed{first}", model, *steps):
                    check(round_)
                done += len(steps)
    print(f"killed at {done} of {count} steps, nothing lost")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
