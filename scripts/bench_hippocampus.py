#!/usr/bin/env python3
"""Dice on the hippocampus after the same wall-clock on two processor cores: medseg and nnU-Net.

208 MRI cases of the Medical Segmentation Decathlon, fold 0 of nnU-Net's five (42 validation cases). Contestants:
  a  `medseg run DATA --workspace W --folds 0 --budget 15m`
  b  nnU-Net as it comes: its planner, preprocessing, 3d_fullres network and trainer
  c  nnU-Net with medseg's network, patch, batch size and AdamW written into its plans and trainer
The time counts from the raw data set to the 42 masks, the start of Python included. nnU-Net's learning rate decays by
the clock to the end of training (benchmarks/nnunet_hippocampus.py says what else was changed; nothing slows it).
b trains to the end of the time and predicts after it, since its network is slow on a CPU; the table shows its minutes.
All masks are scored here, by the same lines of numpy; medseg's are those before any postprocessing.

Usage: python scripts/bench_hippocampus.py [--minutes 15] [--contestants a,b,c] [--nnunet-python PYTHON]
       [--data FOLDER] [--output FOLDER]
The data set is $MEDSEG_TEST_DATA/data/hippocampus where --data is not given. Prints a row per contestant: minutes,
optimiser steps, mean Dice of each label and of both; the same stands in OUTPUT/results.json, which keeps the
contestants of earlier calls, and the contestants' own words in OUTPUT/a.log and so on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.hippocampus import LABELS, add_data_option, find_data, list_validation_cases, score_masks
from benchmarks.nnunet_folders import find_version, make_environment, make_raw_folder

CONTESTANTS = {
    "a": "medseg run",
    "b": "nnU-Net as it comes",
    "c": "nnU-Net, medseg's network",
}
CORES = 2
REQUIRED_DICE = 0.87  # of medseg run in 15 minutes


@dataclass(frozen=True)
class Setting:
    """What all contestants share."""

    data: Path
    output: Path
    seconds: float
    nnunet_python: str


@dataclass(frozen=True)
class Result:
    """One row of the table; ``details`` are the contestant's own figures."""

    contestant: str
    limit_minutes: float
    minutes: float
    steps: int
    dice: dict[str, float]
    mean_dice: float
    details: dict


def run_logged(command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
    """Run a command with its words in a file; ends the benchmark where it fails."""
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode != 0:
        tail = "\n".join(log.read_text("utf-8").splitlines()[-15:])
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}, {log}:\n{tail}")


def find_medseg() -> str:
    """The executable beside this Python."""
    return str(Path(sys.executable).with_name("medseg"))


def compete_medseg(setting: Setting) -> tuple[Path, int, dict]:
    """`medseg run` with the budget; returns the folder of masks, the steps and details."""
    space = setting.output / "a"
    budget = f"{round(setting.seconds)}s"
    command = [find_medseg(), "run", str(setting.data), "--workspace", str(space)]
    command += ["--folds", "0", "--budget", budget, "--device", "cpu"]
    run_logged(command, setting.output / "a.log")
    fold = space / "runs" / "3d_fullres" / "fold_0"
    last = json.loads((fold / "log.jsonl").read_text("utf-8").splitlines()[-1])
    plan = json.loads((space / "plan.json").read_text("utf-8"))["configurations"]["3d_fullres"]
    details = {"batch_size": plan["batch_size"], "patch": plan["patch_size"], "features": plan["network"]["features"]}
    return fold / "validation", last["steps"], details


def compete_nnunet(setting: Setting, name: str) -> tuple[Path, int, dict]:
    """nnU-Net in a process of its own; returns the folder of masks, the steps and details."""
    root, report = setting.output / name, setting.output / f"{name}.json"
    began = time.time()
    make_raw_folder(setting.data, root)
    script = Path(__file__).resolve().parent / "benchmarks" / "nnunet_hippocampus.py"
    command = [setting.nnunet_python, str(script), "--root", str(root), "--output", str(report)]
    command += ["--began", str(began), "--seconds", str(setting.seconds)]
    command += ["--predict-beyond"] if name == "b" else ["--recipe", str(setting.output / "recipe" / "plan.json")]
    run_logged(command, setting.output / f"{name}.log", make_environment(root))
    details = json.loads(report.read_text("utf-8"))
    return root / "masks", details.pop("steps"), details


def make_recipe(setting: Setting) -> None:
    """medseg's plan for two cores, made outside the time of the contestant that uses it."""
    space = setting.output / "recipe"
    command = [find_medseg(), "plan", str(setting.data), "--workspace", str(space), "--preset", "cpu"]
    run_logged(command, setting.output / "recipe.log")


def compete(setting: Setting, name: str) -> Result:
    """Run one contestant and score its masks."""
    shutil.rmtree(setting.output / name, ignore_errors=True)
    if name == "c":
        make_recipe(setting)
    run: dict[str, Callable[[], tuple[Path, int, dict]]] = {
        "a": lambda: compete_medseg(setting),
        "b": lambda: compete_nnunet(setting, "b"),
        "c": lambda: compete_nnunet(setting, "c"),
    }
    began = time.monotonic()
    masks, steps, details = run[name]()
    dice = score_masks(masks, setting.data)
    minutes = (time.monotonic() - began) / 60
    mean = sum(dice.values()) / len(dice)
    return Result(CONTESTANTS[name], setting.seconds / 60, round(minutes, 2), steps, dice, mean, details)


def limit_cores() -> int:
    """Keep this process and its children on two cores; returns how many there are."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    return len(os.sched_getaffinity(0))


def print_table(results: dict[str, dict], version: str | None) -> None:
    head = f"{'contestant':<34}{'limit':>7}{'minutes':>9}{'steps':>7}"
    print(head + "".join(f"{label:>11}" for label in LABELS) + f"{'mean Dice':>11}")
    for name in sorted(results):
        row = results[name]
        title = row["contestant"].replace("nnU-Net", f"nnU-Net {version or ''}".strip())
        line = f"{name}  {title:<31}{row['limit_minutes']:>7.1f}{row['minutes']:>9.2f}{row['steps']:>7}"
        print(line + "".join(f"{row['dice'][label]:>11.4f}" for label in LABELS) + f"{row['mean_dice']:>11.4f}")


def print_verdict(results: dict[str, dict]) -> None:
    """What was asked for and whether it was reached, as far as the contestants are there."""
    limits = {row["limit_minutes"] for row in results.values()}
    if len(limits) != 1:
        print("not compared: the contestants were run with different limits")
        return
    means = {name: row["mean_dice"] for name, row in results.items()}
    checks = []
    if "a" in means and limits == {15.0}:
        checks.append((f"medseg run at least {REQUIRED_DICE}", means["a"] >= REQUIRED_DICE))
    if {"a", "b"} <= means.keys():
        checks.append(("medseg run above nnU-Net as it comes", means["a"] > means["b"]))
    if {"a", "c"} <= means.keys():
        checks.append(("medseg run not below nnU-Net with medseg's network", means["a"] >= means["c"]))
    for text, reached in checks:
        print(f"{text}: {'reached' if reached else 'missed'}")


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
    output.mkdir(parents=True, exist_ok=True)
    setting = Setting(options.data, output, options.minutes * 60, options.nnunet_python)
    cores, version = limit_cores(), find_version(setting.nnunet_python)
    cases = len(list_validation_cases(setting.data))
    print(f"{cores} cores, {options.minutes:g} minutes each, {cases} validation cases; output in {output}", flush=True)
    record = output / "results.json"
    results = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    for name in options.contestants:
        if name != "a" and version is None:
            print(f"{name} skipped: {setting.nnunet_python} has no nnunetv2; give --nnunet-python")
            continue
        results[name] = asdict(compete(setting, name))
        record.write_text(json.dumps(results, indent=1), "utf-8")
        print(f"{name}: {results[name]['mean_dice']:.4f} after {results[name]['minutes']} minutes", flush=True)
    print_table(results, version)
    print_verdict(results)


if __name__ == "__main__":
    main()
