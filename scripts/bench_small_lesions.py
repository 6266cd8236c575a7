#!/usr/bin/env python3
"""Small lesions: `--sampling lesion` with the lesion-wise loss against the default, after equally many steps.

Lesions of 0.05 to 2 ml are planted in the real sarcoma MR scans (benchmarks/planted_lesions.py says how): several a
scan, some scans without, brighter than the tissue around them and darker than fat, beside the patient's own tumour,
which is a label of its own. Two thirds of the patients are trained on, the others scored. Arms:
  default   medseg's cpu preset: sampling=foreground, loss=auto
  lesion    the same plan with --sampling lesion --set loss=lesion_dice
Both arms take the same number of steps on the same prepared cases; several arms run at the same time, a core each. A
lesion is found where a predicted component overlaps it; each component counts for one lesion at most. All is counted
twice: with every predicted component however small, and without those below 0.05 ml, the smallest size planted, as
challenges do: a handful of voxels is no lesion of this task. Real lesions all count both times, those too of which the
voxels hold less than was planted.

Usage: python scripts/bench_small_lesions.py [--steps 1000] [--arms default,lesion] [--seed 0] [--cases N]
       [--data FOLDER] [--output FOLDER]
The scans are those of $MEDSEG_TEST_DATA/data/sarcoma_mr where --data is not given. Prints recall and F1 by volume, the
Dice of the tumour, and the difference of F1, of which at least 0.05 is asked for. OUTPUT keeps scans, runs, masks and
results.json; arms that finished there with the same scans and as many steps are not run again.
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
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from benchmarks.data_sets import find_data
from benchmarks.lesion_strata import Counts, count_lesions, format_strata
from benchmarks.planted_lesions import LABELS, LESION, TUMOUR, VOLUME_ML, plant_data_set

ARMS: dict[str, tuple[str, ...]] = {
    "default": (),
    "sampling": ("--sampling", "lesion"),
    "loss": ("--set", "loss=lesion_dice"),
    "lesion": ("--sampling", "lesion", "--set", "loss=lesion_dice"),
}
REQUIRED_GAIN = 0.05
CONFIGURATION = "3d_fullres"
HELD_OUT = 3  # one patient of so many is scored
SPLIT_SEED = 12345
MEDSEG = str(Path(sys.executable).with_name("medseg"))


def split_patients(names: Sequence[str]) -> dict[str, list[str]]:
    """Two thirds to train on, the rest to score, the same whatever the seed of the lesions."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(names))
    held_out = {names[index] for index in order[: len(names) // HELD_OUT]}
    return {"train": [name for name in names if name not in held_out], "validation": sorted(held_out)}


def run_logged(command: Sequence[str], log: Path) -> None:
    """Run a command with its words in a file; ends the benchmark where it fails."""
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False)
    check_end(done.returncode, command, log)


def check_end(code: int, command: Sequence[str], log: Path) -> None:
    """End the benchmark with a command's last words where it failed."""
    if code:
        tail = "\n".join(log.read_text("utf-8").splitlines()[-15:])
        raise SystemExit(f"{' '.join(command)}: exit code {code}, {log}:\n{tail}")


def make_workspace(options: argparse.Namespace) -> dict[str, list[str]]:
    """Plant the lesions, plan and prepare; returns the split."""
    names = sorted(path.name.removesuffix(".nii.gz") for path in (options.data / "images").glob("[!.]*.nii.gz"))
    split = split_patients(names[: options.cases])
    scans, space = options.output / "scans", options.output / "workspace"
    folds = options.output / "folds.json"
    request = {"seed": options.seed, "cases": len(names[: options.cases]), "data": str(options.data)}
    made = options.output / "made.json"
    if made.is_file() and json.loads(made.read_text("utf-8")) == request:
        return split
    for folder in (scans, space, options.output / "arms"):
        shutil.rmtree(folder, ignore_errors=True)
    counts = plant_data_set(options.data, scans, names[: options.cases], options.seed)
    scored = sum(counts[case] for case in split["validation"])
    print(f"{sum(counts.values())} lesions in {len(counts)} scans, {scored} of them to be found", flush=True)
    folds.write_text(json.dumps([split]), "utf-8")
    labels = ",".join(f"{name}={value}" for name, value in LABELS.items())
    command = [MEDSEG, "plan", str(scans), "--workspace", str(space), "--preset", "cpu", "--labels", labels]
    command += ["--channels", "MR", "--folds-file", str(folds)]
    run_logged(command, options.output / "plan.log")
    command = [MEDSEG, "preprocess", "--workspace", str(space), "--configuration", CONFIGURATION]
    run_logged(command, options.output / "preprocess.log")
    made.write_text(json.dumps(request), "utf-8")
    return split


def start_arm(options: argparse.Namespace, name: str) -> tuple[subprocess.Popen, list[str], Path, Path]:
    """Train and validate an arm in a process of one thread; returns it, its command, its log and its run folder."""
    space, base = options.output / "arms" / f"{name}_{options.steps}", options.output / "workspace"
    space.mkdir(parents=True, exist_ok=True)
    for file in ("cases.json", "fingerprint.json", "plan.json", "folds.json"):
        shutil.copyfile(base / file, space / file)
    if not (space / "prepared").exists():
        (space / "prepared").symlink_to((base / "prepared").resolve(), target_is_directory=True)
    plan = json.loads((space / "plan.json").read_text("utf-8"))["configurations"][CONFIGURATION]
    epochs = max(1, round(options.steps / plan["training"]["iterations_per_epoch"]))
    command = [MEDSEG, "train", "--workspace", str(space), "--configuration", CONFIGURATION, "--fold", "0"]
    command += ["--epochs", str(epochs), "--device", "cpu", *ARMS[name]]
    log = space / "train.log"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
    return process, command, log, space / "runs" / CONFIGURATION / "fold_0"


def run_arms(options: argparse.Namespace) -> dict[str, Path]:
    """Train the arms that are still to be trained, all at once; returns their folders of masks."""
    began, masks = time.monotonic(), {}
    started = {name: start_arm(options, name) for name in options.arms}
    for name, (process, command, log, folder) in started.items():
        check_end(process.wait(), command, log)
        masks[name] = folder / "validation"
        print(f"{name}: done after {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    return masks


def score_tumour(masks: Path, references: Path, cases: Sequence[str]) -> float:
    """Mean Dice of the tumour, which no arm should lose."""
    import nibabel

    scores = []
    for case in cases:
        both = [np.asarray(nibabel.load(folder / f"{case}.nii.gz").dataobj) == TUMOUR for folder in (masks, references)]
        scores.append(2 * np.sum(both[0] & both[1]) / max(1, np.sum(both[0]) + np.sum(both[1])))
    return float(np.mean(scores))


def print_arms(title: str, counts: dict[str, Counts], dice: dict[str, float]) -> None:
    """The table by volume, each arm's precision, and what was asked for."""
    print(f"\n{title}")
    print("\n".join(format_strata(counts)))
    for name, arm in counts.items():
        precision = "-" if arm.precision is None else f"{arm.precision:.3f}"
        print(f"{name}: precision {precision}, Dice of the tumour {dice[name]:.3f}")
    print_verdict(counts)


def print_verdict(counts: dict[str, Counts]) -> None:
    """The difference that was asked for, where both arms are there."""
    scores = {name: counts[name].f1 for name in ("default", "lesion") if name in counts}
    if len(scores) < 2 or None in scores.values():
        return
    gain = scores["lesion"] - scores["default"]
    word = "reached" if gain >= REQUIRED_GAIN else "missed"
    print(f"F1 of lesion above default by {gain:+.3f}; at least {REQUIRED_GAIN:+.2f} was asked for: {word}")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="optimiser steps of each arm")
    parser.add_argument("--arms", default="default,lesion", help=f"some of {', '.join(ARMS)}")
    parser.add_argument("--seed", type=int, default=0, help="of the planted lesions")
    parser.add_argument("--cases", type=int, help="how many scans; all where not given")
    parser.add_argument("--data", type=Path, help="the sarcoma scans (default: below $MEDSEG_TEST_DATA)")
    parser.add_argument("--output", type=Path, help="folder for everything written; a temporary one if not given")
    options = parser.parse_args()
    options.data = find_data(parser, options.data, "sarcoma_mr")
    options.arms = options.arms.split(",")
    if not set(options.arms) <= ARMS.keys():
        parser.error(f"--arms are some of {', '.join(ARMS)}")
    options.output = (options.output or Path(tempfile.mkdtemp(prefix="bench_small_lesions_"))).resolve()
    return options


def main() -> None:
    options = read_options()
    options.output.mkdir(parents=True, exist_ok=True)
    print(f"arms {', '.join(options.arms)}, {options.steps} steps each; output in {options.output}", flush=True)
    split = make_workspace(options)
    masks, references = run_arms(options), options.output / "scans" / "masks"
    counts, large = (
        {name: count_lesions(folder, references, split["validation"], LESION, ml) for name, folder in masks.items()}
        for ml in (0.0, VOLUME_ML[0])
    )
    dice = {name: score_tumour(folder, references, split["validation"]) for name, folder in masks.items()}
    print_arms("every predicted component", counts, dice)
    print_arms(f"without predicted components below {VOLUME_ML[0]:g} ml", large, dice)
    results = {
        name: asdict(arm) | {"f1": arm.f1, "f1_without_small": large[name].f1, "tumour_dice": dice[name]}
        for name, arm in counts.items()
    }
    (options.output / "results.json").write_text(json.dumps(results, indent=1), "utf-8")


if __name__ == "__main__":
    main()
