#!/usr/bin/env python3
"""Whether medseg is right and fast on one NVIDIA GPU.

Parts (--parts, all by default):
  checks       logits of one network and scan on the GPU against the CPU, augmentation on the GPU against the CPU, a
               short training on the GPU, predicted against measured memory of a training step (within 15 %)
  speed        optimiser steps per second: with the loader, with one constant batch, and that without augmentation;
               windows per second of sliding-window prediction against the bare network
  hippocampus  `medseg run DATA --folds 0 --budget 10m` on the GPU, then the mean Dice of the 42 validation cases
               (asked for: 0.885), scored as in bench_hippocampus.py

Usage: python scripts/bench_gpu.py [--parts checks,speed,hippocampus] [--minutes 10] [--data FOLDER] [--output FOLDER]
       python scripts/bench_gpu.py --device cpu --quick     a trial of checks and speed without a GPU, about a minute
medseg needs no installation: the checkout that holds this script is used. The data set is
$MEDSEG_TEST_DATA/data/hippocampus where --data is not given. Prints a line per check and figure; what cannot be
measured is `not measured` with the reason (no GPU, a missing package, no data). OUTPUT/results.json holds the same.
Exit code 1 where a check fails.
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

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from benchmarks.data_sets import score_masks  # noqa: E402

PARTS = ("checks", "speed", "hippocampus")
REQUIRED_DICE = 0.885
TIMED_STEPS, QUICK_STEPS = 50, 8


def measure_checks(device: torch.device, output: Path, *, quick: bool) -> dict:
    """Each check with its verdict and figures."""
    from benchmarks.gpu_checks import check_augmentation, check_logits, check_memory, check_training
    from benchmarks.gpu_scene import ABDOMEN, HIPPOCAMPUS, TRIAL

    size = TRIAL if quick else HIPPOCAMPUS
    rows = check_logits(size, device) + check_augmentation(size, device)
    with tempfile.TemporaryDirectory(dir=output, prefix="checks_") as folder:
        rows += check_training(size, device, Path(folder))
    rows += check_memory((TRIAL,) if quick else (HIPPOCAMPUS, ABDOMEN), device)
    for name, passed, text in rows:
        print(f"{'passed' if passed else 'FAILED'}  {name}: {text}", flush=True)
    return {name: {"passed": passed, "text": text} for name, passed, text in rows}


def measure_speed(device: torch.device, output: Path, *, quick: bool) -> dict:
    """Steps and windows per second of each size."""
    from benchmarks.gpu_scene import ABDOMEN, HIPPOCAMPUS, TRIAL
    from benchmarks.gpu_speed import clock_prediction, clock_training

    figures: dict[str, dict[str, float]] = {}
    for size in (TRIAL,) if quick else (HIPPOCAMPUS, ABDOMEN):
        with tempfile.TemporaryDirectory(dir=output, prefix="speed_") as folder:
            rates = clock_training(size, device, Path(folder), QUICK_STEPS if quick else TIMED_STEPS)
        figures[f"training, {size.name}"] = rates
        listed = ", ".join(f"{name} {rate:.2f}" for name, rate in rates.items())
        share = 100 * rates["loader"] / rates["constant"]
        print(f"steps/s, {size.name}: {listed}; the loader reaches {share:.0f} % of constant data", flush=True)
        for precision in (torch.float32, torch.bfloat16):
            rates = clock_prediction(size, device, precision)
            figures[f"prediction, {size.name}, {precision}"] = rates
            listed = ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items())
            share = 100 * rates["predict_logits"] / rates["bare"]
            print(f"windows/s, {size.name}, {precision}: {listed}; {share:.0f} % of the bare network", flush=True)
    return figures


def measure_hippocampus(data: Path, output: Path, minutes: float) -> dict:
    """`medseg run` on the GPU and the Dice of its validation masks."""
    space, log = output / "hippocampus", output / "hippocampus.log"
    code = "import sys; from medseg.cli import main; sys.argv[0] = 'medseg'; main()"
    command = [sys.executable, "-c", code, "run", str(data), "--workspace", str(space), "--device", "cuda"]
    command += ["--folds", "0", "--configurations", "3d_fullres", "--budget", f"{round(60 * minutes)}s"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, env=environment, check=False)
    fold = space / "runs" / "3d_fullres" / "fold_0"
    if done.returncode != 0:
        print("\n".join(log.read_text("utf-8").splitlines()[-15:]))
        print(f"medseg run ended with exit code {done.returncode}")
    dice = score_masks(fold / "validation", data)
    mean = sum(dice.values()) / len(dice)
    steps = json.loads((fold / "log.jsonl").read_text("utf-8").splitlines()[-1])["steps"]
    listed = ", ".join(f"{label} {value:.4f}" for label, value in dice.items())
    verdict = "reached" if mean >= REQUIRED_DICE else "missed"
    print(f"hippocampus, {minutes:g} minutes, {steps} steps: {listed}, mean {mean:.4f}; {REQUIRED_DICE} is {verdict}")
    return {"minutes": minutes, "steps": steps, "dice": dice, "mean_dice": mean, "exit_code": done.returncode}


def find_obstacle(part: str, options: argparse.Namespace) -> str | None:
    """Why a part cannot be measured; None where it can."""
    wanted = "cuda" if part == "hippocampus" else options.device
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        return "no GPU"
    if part == "hippocampus" and options.quick:
        return "--quick leaves it out"
    if part == "hippocampus" and (options.data is None or not (options.data / "dataset.json").is_file()):
        return "no data set; set MEDSEG_TEST_DATA or give --data"
    return None


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu for a trial")
    parser.add_argument("--quick", action="store_true", help="tiny networks and scans; the figures mean nothing")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, separated by commas")
    parser.add_argument("--minutes", type=float, default=10.0, help="the budget of medseg run")
    parser.add_argument("--data", type=Path, help="the hippocampus data set (default: below $MEDSEG_TEST_DATA)")
    parser.add_argument("--output", type=Path, help="folder for everything written; a temporary one if not given")
    options = parser.parse_args()
    options.parts = options.parts.split(",")
    if not set(options.parts) <= set(PARTS):
        parser.error(f"--parts are some of {', '.join(PARTS)}")
    if options.data is None and os.environ.get("MEDSEG_TEST_DATA"):
        options.data = Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / "hippocampus"
    return options


def main() -> None:
    options = read_options()
    output = (options.output or Path(tempfile.mkdtemp(prefix="bench_gpu_"))).resolve()
    output.mkdir(parents=True, exist_ok=True)
    device = torch.device(options.device)
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    results: dict = {"device": str(device), "gpu": machine, "torch": torch.__version__, "quick": options.quick}
    print(f"{machine}, torch {torch.__version__}, device {device}{', a quick trial' if options.quick else ''}")
    measure: dict[str, Callable[[], dict]] = {
        "checks": lambda: measure_checks(device, output, quick=options.quick),
        "speed": lambda: measure_speed(device, output, quick=options.quick),
        "hippocampus": lambda: measure_hippocampus(options.data, output, options.minutes),
    }
    for part in options.parts:
        obstacle = find_obstacle(part, options)
        try:
            results[part] = {"not measured": obstacle} if obstacle else measure[part]()
        except ModuleNotFoundError as error:  # the machine need not have all of medseg's dependencies
            obstacle = str(error)
            results[part] = {"not measured": obstacle}
        if obstacle:
            print(f"{part}: not measured: {obstacle}", flush=True)
        (output / "results.json").write_text(json.dumps(results, indent=1), "utf-8")
    checks = results.get("checks", {}).values()
    if any(isinstance(check, dict) and not check["passed"] for check in checks):
        sys.exit(1)


if __name__ == "__main__":
    main()
