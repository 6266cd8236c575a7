"""Dice on a fold after the same wall-clock on two processor cores: medseg and nnU-Net.

Contestants:
  a  `medseg run DATA --workspace W --folds 0 --budget 15m`
  b  nnU-Net as it comes: its planner, preprocessing, 3d_fullres network and trainer
  c  nnU-Net with medseg's network, patch, batch size and AdamW written into its plans and trainer
The time counts from the raw data set to the masks of fold 0, the start of Python included. nnU-Net's learning rate
decays by the clock to the end of training (nnunet_training.py says what else was changed; nothing slows it). It trains
to the end of the time and predicts after it, since its prediction, eight mirrored copies of a large scan on a CPU,
would leave it next to none for training; medseg predicts within the time. The table shows the minutes of all. All masks
are scored here, by the same lines of numpy; medseg's are those before any postprocessing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.data_sets import find_layout, list_validation_cases, score_masks
from benchmarks.nnunet_folders import find_version, make_environment, make_raw_folder

CONTESTANTS = {
    "a": "medseg run",
    "b": "nnU-Net as it comes",
    "c": "nnU-Net, medseg's network",
}
CORES = 2
# Of medseg run in 15 minutes, where a number is asked for.
REQUIRED_DICE = {"hippocampus": 0.87}


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


def run_accuracy(setting: Setting, contestants: Sequence[str]) -> dict[str, dict]:
    """Run the contestants one after another, print the table and what was reached.

    Args:
        setting: data, time and folders.
        contestants: some of a, b and c.
    Returns:
        a row per contestant, those of earlier calls with the same output too; also in OUTPUT/results.json.
    """
    setting.output.mkdir(parents=True, exist_ok=True)
    cores, version = limit_cores(), find_version(setting.nnunet_python)
    cases, minutes = len(list_validation_cases(setting.data)), setting.seconds / 60
    print(f"{setting.data.name}: {cores} cores, {minutes:g} minutes each, {cases} validation cases", flush=True)
    record = setting.output / "results.json"
    results = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    for name in contestants:
        if name != "a" and version is None:
            print(f"{name} skipped: {setting.nnunet_python} has no nnunetv2")
            continue
        results[name] = asdict(compete(setting, name))
        record.write_text(json.dumps(results, indent=1), "utf-8")
        print(f"{name}: {results[name]['mean_dice']:.4f} after {results[name]['minutes']} minutes", flush=True)
    print_table(results, version)
    print_verdict(results, REQUIRED_DICE.get(setting.data.name))
    return results


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
    make_raw_folder(find_layout(setting.data), root)
    script = Path(__file__).resolve().with_name("nnunet_training.py")
    command = [setting.nnunet_python, str(script), "--root", str(root), "--output", str(report)]
    command += ["--began", str(began), "--seconds", str(setting.seconds)]
    command += [] if name == "b" else ["--recipe", str(setting.output / "recipe" / "plan.json")]
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
    """A row per contestant."""
    labels = list(next(iter(results.values()))["dice"]) if results else []
    head = f"{'contestant':<34}{'limit':>7}{'minutes':>9}{'steps':>7}"
    print(head + "".join(f"{label:>11}" for label in labels) + f"{'mean Dice':>11}")
    for name in sorted(results):
        row = results[name]
        title = row["contestant"].replace("nnU-Net", f"nnU-Net {version or ''}".strip())
        line = f"{name}  {title:<31}{row['limit_minutes']:>7.1f}{row['minutes']:>9.2f}{row['steps']:>7}"
        print(line + "".join(f"{row['dice'][label]:>11.4f}" for label in labels) + f"{row['mean_dice']:>11.4f}")


def print_verdict(results: dict[str, dict], required: float | None) -> None:
    """What was asked for and whether it was reached, as far as the contestants are there."""
    limits = {row["limit_minutes"] for row in results.values()}
    if len(limits) != 1:
        print("not compared: the contestants were run with different limits")
        return
    means = {name: row["mean_dice"] for name, row in results.items()}
    checks = []
    if "a" in means and limits == {15.0} and required is not None:
        checks.append((f"medseg run at least {required}", means["a"] >= required))
    if {"a", "b"} <= means.keys():
        checks.append(("medseg run above nnU-Net as it comes", means["a"] > means["b"]))
    if {"a", "c"} <= means.keys():
        checks.append(("medseg run not below nnU-Net with medseg's network", means["a"] >= means["c"]))
    for text, reached in checks:
        print(f"{text}: {'reached' if reached else 'missed'}")
