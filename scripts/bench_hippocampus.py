#!/usr/bin/env python3
"""Dice on the hippocampus after the same wall-clock on two processor cores: medseg and nnU-Net.

208 MRI cases of the Medical Segmentation Decathlon, fold 0 of nnU-Net's five (42 validation cases); contestants and
rules stand in benchmarks/accuracy.py. The same on other data: bench_training.py --parts accuracy.

Usage: python scripts/bench_hippocampus.py [--minutes 15] [--contestants a,b,c] [--nnunet-python PYTHON]
       [--data FOLDER] [--output FOLDER]
The data set is $MEDSEG_TEST_DATA/data/hippocampus where --data is not given. Prints a row per contestant: minutes,
optimiser steps, mean Dice of each label and of both; the same stands in OUTPUT/results.json, which keeps the
contestants of earlier calls, and the contestants' own words in OUTPUT/a.log and so on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.accuracy import CONTESTANTS, Setting, run_accuracy
from benchmarks.data_sets import add_data_option, find_data


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="wall-clock of each contestant")
    parser.add_argument("--contestants", default="a,b,c", help="which, separated by commas")
    parser.add_argument("--nnunet-python", default=sys.executable, help="a Python that has nnunetv2")
    add_data_option(parser)
    parser.add_argument("--output", type=Path, help="folder for everything written; a temporary one if not given")
    options = parser.parse_args()
    options.data = find_data(parser, options.data)
    options.contestants = options.contestants.split(",")
    if not set(options.contestants) <= CONTESTANTS.keys():
        parser.error(f"--contestants are some of {', '.join(CONTESTANTS)}")
    return options


def main() -> None:
    options = read_options()
    output = (options.output or Path(tempfile.mkdtemp(prefix="bench_hippocampus_"))).resolve()
    print(f"output in {output}", flush=True)
    run_accuracy(Setting(options.data, output, options.minutes * 60, options.nnunet_python), options.contestants)


if __name__ == "__main__":
    main()
