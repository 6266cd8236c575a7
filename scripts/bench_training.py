#!/usr/bin/env python3
"""What training costs and gives on processor cores: medseg and nnU-Net, in turn.

Parts (--parts, all by default):
  augmentation  CPU-seconds a sample of nnU-Net's list of transforms: medseg's and batchgeneratorsv2's, one thread each
                (asked for: at most 1/2)
  step          training steps per CPU-second, loading and augmentation included, with one network, patch, batch and
                optimiser on the hippocampus; nnU-Net's trainer augments in its own process (asked for: at least 1.5
                times as many)
  planner       CPU-seconds of make_plan for six data sets that nnU-Net fingerprinted (asked for: at most 0.2), and
                whether the plans are those that nnU-Net wrote
  accuracy      mean Dice of fold 0 after the same wall-clock with the same network: hippocampus (42 validation cases)
                and sarcoma_mr (8); contestants and rules stand in benchmarks/accuracy.py (asked for: not below nnU-Net)
  lesions       lesion F1 with --sampling lesion and the lesion-wise loss against the default, on lesions planted in
                the sarcoma scans: bench_small_lesions.py (asked for: 0.05 more)

Usage: python scripts/bench_training.py [--parts augmentation,step,planner,accuracy,lesions] [--peer-python PYTHON]
       [--minutes 15] [--contestants a,c] [--data-sets hippocampus,sarcoma_mr] [--rounds 5] [--steps 40]
       [--lesion-steps 1000] [--output FOLDER]
PYTHON has nnunetv2; without it the peer is left out and a line says so. The data lie below $MEDSEG_TEST_DATA/data.
--rounds is how often the two take turns in `augmentation` and `step`, --steps how many training steps are timed in a
round (a quarter more warm up), --minutes the wall-clock of each contestant, --lesion-steps the training of each arm.
Prints median, smallest and largest; OUTPUT/results.json holds the figures, those of earlier calls too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.data_sets import NAMES
from benchmarks.nnunet_folders import find_version

CONTESTANTS = ("a", "b", "c")


def measure_augmentation(options: argparse.Namespace) -> dict:
    """Milliseconds a sample, and their ratios."""
    from benchmarks.augmentation_speed import run_augmentation

    if options.peer_python is None:
        return leave_out("augmentation", "it is a ratio to nnU-Net's; give --peer-python")
    return run_augmentation(options.peer_python, options.rounds)


def measure_step(options: argparse.Namespace) -> dict:
    """Steps per CPU-second, and their ratios."""
    from benchmarks.step_speed import Amount, run_step_speed

    with tempfile.TemporaryDirectory(dir=options.output, prefix="step_") as folder:
        warm_up = max(1, options.steps // 4)
        amount = Amount(options.rounds, 4 * warm_up, warm_up)
        return run_step_speed(options.data / "hippocampus", Path(folder), options.peer_python, amount)


def measure_planner(options: argparse.Namespace) -> dict:
    """CPU-seconds of planning by data set."""
    from benchmarks.planner_speed import run_planner

    return run_planner(options.data / "nnunet_reference_plans")


def measure_accuracy(options: argparse.Namespace) -> dict:
    """A row per contestant, by data set."""
    from benchmarks.accuracy import Setting, run_accuracy

    python = options.peer_python or sys.executable
    return {
        name: run_accuracy(
            Setting(options.data / name, options.output / name, options.minutes * 60, python), options.contestants
        )
        for name in options.data_sets
    }


def measure_lesions(options: argparse.Namespace) -> dict:
    """What bench_small_lesions.py writes, arm by arm."""
    output = options.output / "lesions"
    script = Path(__file__).resolve().with_name("bench_small_lesions.py")
    command = [sys.executable, str(script), "--steps", str(options.lesion_steps), "--output", str(output)]
    subprocess.run(command, check=True)
    return json.loads((output / "results.json").read_text("utf-8"))


def leave_out(part: str, why: str) -> dict:
    """What stands in place of figures that cannot be measured."""
    print(f"{part}: not measured: {why}")
    return {"not_measured": why}


PARTS: dict[str, Callable[[argparse.Namespace], dict]] = {
    "augmentation": measure_augmentation,
    "step": measure_step,
    "planner": measure_planner,
    "accuracy": measure_accuracy,
    "lesions": measure_lesions,
}


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="which, separated by commas")
    parser.add_argument("--peer-python", help="a Python that has nnunetv2")
    parser.add_argument("--minutes", type=float, default=15.0, help="wall-clock of each contestant of accuracy")
    parser.add_argument("--contestants", default="a,c", help="of accuracy, separated by commas")
    parser.add_argument("--data-sets", default=",".join(NAMES), help="of accuracy, separated by commas")
    parser.add_argument("--rounds", type=int, default=5, help="how often the two take turns")
    parser.add_argument("--steps", type=int, default=40, help="training steps that are timed in a round")
    parser.add_argument("--lesion-steps", type=int, default=1000, help="training steps of each arm of lesions")
    parser.add_argument("--output", type=Path, help="folder for everything written; a temporary one if not given")
    options = parser.parse_args()
    for key, known in (("parts", PARTS), ("contestants", CONTESTANTS), ("data_sets", NAMES)):
        setattr(options, key, getattr(options, key).split(","))
        if not set(getattr(options, key)) <= set(known):
            parser.error(f"--{key.replace('_', '-')} are some of {', '.join(known)}")
    if not os.environ.get("MEDSEG_TEST_DATA"):
        parser.error("set MEDSEG_TEST_DATA")
    options.data = Path(os.environ["MEDSEG_TEST_DATA"]).resolve() / "data"
    options.output = (options.output or Path(tempfile.mkdtemp(prefix="bench_training_"))).resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def main() -> None:
    options = read_options()
    version = find_version(options.peer_python) if options.peer_python else None
    if version is None:
        print(f"nnU-Net is left out: {options.peer_python or 'no --peer-python'}")
        options.peer_python = None
    print(f"nnU-Net {version or '-'}; output in {options.output}", flush=True)
    record = options.output / "results.json"
    results = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    for part in options.parts:
        results[part] = PARTS[part](options)
        record.write_text(json.dumps(results, indent=1), "utf-8")


if __name__ == "__main__":
    main()
