"""Training steps per CPU-second: medseg and nnU-Net with the same network, patch and batch, in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clock import clock_command
from benchmarks.data_sets import find_layout
from benchmarks.nnunet_folders import make_environment, make_raw_folder

REQUIRED_RATIO = 1.5  # of steps per CPU-second
THREADS = 1
FOLDER = Path(__file__).resolve().parent
CONFIGURATION = "3d_fullres"
OURS, OURS_WIDE, THEIRS = "medseg", "medseg, float32", "nnU-Net"


@dataclass(frozen=True)
class Amount:
    """How much is run.

    Args:
        rounds: how often the two take turns, each time in a fresh process.
        steps: that are timed; a multiple of ``warm_up``.
        warm_up: steps before them.
    """

    rounds: int = 3
    steps: int = 40
    warm_up: int = 10


def run_step_speed(data: Path, output: Path, peer_python: str | None, amount: Amount) -> dict:
    """Prepare the data set for both, then time them in turn.

    Args:
        data: the data set.
        output: a folder for everything written.
        peer_python: a Python that has nnU-Net; medseg alone is timed where None.
        amount: how much is run.
    Returns:
        steps per CPU-second of each round and their ratios; the same is printed.
    """
    space = prepare_medseg(data, output)
    ours = [sys.executable, str(FOLDER / "medseg_steps.py"), "--workspace", str(space)]
    commands = {OURS: ours, OURS_WIDE: [*ours, "--precision", "float32"]}
    if peer_python is not None:
        commands[THEIRS] = prepare_nnunet(data, output, peer_python, space / "plan.json")
    limits = ["--steps", str(amount.steps), "--warm-up", str(amount.warm_up), "--threads", str(THREADS)]
    rates: dict[str, list[float]] = {name: [] for name in commands}
    facts: dict[str, dict] = {}
    for _ in range(amount.rounds):
        for name, command in commands.items():
            facts[name] = read_last_line([*command, *limits], one_thread(output / "nnunet"))
            rates[name].append(facts[name]["steps"] / facts[name]["cpu_s"])
    return report(rates, facts, space)


def one_thread(root: Path) -> dict[str, str]:
    """The environment of both: a thread each, and nnU-Net's folders."""
    count = str(THREADS)
    return {**make_environment(root), "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}


def prepare_medseg(data: Path, output: Path) -> Path:
    """A workspace with the plan for two cores and prepared cases."""
    space, medseg = output / "medseg", str(Path(sys.executable).with_name("medseg"))
    plan = [medseg, "plan", str(data), "--workspace", str(space), "--preset", "cpu"]
    clock_command(plan, log=output / "plan.log")
    prepare = [medseg, "preprocess", "--workspace", str(space), "--configuration", CONFIGURATION]
    clock_command(prepare, log=output / "preprocess.log")
    return space


def prepare_nnunet(data: Path, output: Path, python: str, recipe: Path) -> list[str]:
    """nnU-Net's prepared cases for that plan's network; returns the command that runs steps on them."""
    root = output / "nnunet"
    make_raw_folder(find_layout(data), root)
    command = [python, str(FOLDER / "nnunet_steps.py"), "--root", str(root), "--recipe", str(recipe)]
    clock_command([*command, "--prepare"], environment=make_environment(root), log=output / "nnunet.log")
    return command


def read_last_line(command: list[str], environment: dict[str, str]) -> dict:
    """The JSON that a command prints last; ends the benchmark where it fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{tail}")
    return json.loads(done.stdout.splitlines()[-1])


def report(rates: dict[str, list[float]], facts: dict[str, dict], space: Path) -> dict:
    """Print and return what was measured."""
    plan = json.loads((space / "plan.json").read_text("utf-8"))["configurations"][CONFIGURATION]
    scene = {"patch": plan["patch_size"], "batch": plan["batch_size"], "features": plan["network"]["features"]}
    print(f"training step, {THREADS} thread of {os.cpu_count()}: {scene}")
    for name, values in rates.items():
        words = f"{facts[name]['precision']}, torch {facts[name]['torch']}"
        print(f"  {name:<26} {spread(values)} steps per CPU-second ({words})")
    result = {"scene": scene, "rates": rates, "facts": facts}
    if THEIRS not in rates:
        return result
    ratios = {name: [a / b for a, b in zip(rates[name], rates[THEIRS], strict=True)] for name in (OURS, OURS_WIDE)}
    for name, values in ratios.items():
        print(f"  {name + ' / ' + THEIRS:<26} {spread(values)}")
    reached = statistics.median(ratios[OURS]) >= REQUIRED_RATIO
    print(f"  at least {REQUIRED_RATIO}: {'reached' if reached else 'missed'}")
    return result | {"ratios": ratios, "reached": reached}


def spread(values: list[float]) -> str:
    """Median (smallest to largest)."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"
