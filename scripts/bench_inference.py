#!/usr/bin/env python3
"""Prediction by nnU-Net and by medseg with the same weights: the same masks, in what time and memory.

Both run in turn on the same cases, on the CPU, mirrored, with a step of 0.5; every mask is compared voxel by voxel.
Parts:
  small     a folder of 20 hippocampus scans from a cold start: `nnUNetv2_predict_from_modelfolder`, `medseg predict`
  large     six sarcoma MR scans, where the network dominates, one by one in warm processes: nnU-Net's predictor, and
            medseg's in exact mode, with bf16, and with OpenVINO in bf16
  export    the way from logits to a mask alone (bench_export.py)
  resample  resampling alone (bench_resample.py)

Usage: python scripts/bench_inference.py [--parts small,large] [--rounds 3] [--nnunet-python PYTHON] [--quick]
       [--models FOLDER] [--output FOLDER]
In a round everyone predicts every case once. The models are those of $MEDSEG_TEST_DATA/models where --models is not
given, the references those of the folder data beside it. Printed are medians over the rounds of wall-clock and
CPU-seconds for all cases and of peak memory, children included, and medseg's parts of nnU-Net's with their range over
the rounds; what was asked for is said to be reached or missed. OUTPUT keeps the masks, the processes' own words and
results.json. --quick takes few cases, one round. On two cores a round of small takes a minute and a half, of large
two minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.contestants import Taken, WarmProcess, add_up, compare, format_ratios, format_taken, measure_command
from benchmarks.masks import count_differing, score_folder
from benchmarks.nnunet_folders import find_version

THEIRS, OURS = "nnU-Net", "medseg exact"
SMALL_MODEL, LARGE_MODEL = "hippocampus_3d", "sarcoma_mr_3d"
QUICK_SMALL_CASES, QUICK_LARGE_CASES = 3, 2
# The other ways to compute: engine and precision.
VARIANTS = {"medseg bf16": ("torch", "bf16"), "medseg OpenVINO bf16": ("openvino", "bf16")}
# What is asked for: our part of nnU-Net's, and the Dice of masks that may differ.
SMALL_WALL = 1 / 8
LARGE_CPU = {OURS: 0.9, "medseg bf16": 0.55, "medseg OpenVINO bf16": 0.40}
DICE_TO_EXACT, DICE_CHANGE = 0.998, 0.001


@dataclass(frozen=True)
class Setting:
    """What all parts share."""

    models: Path
    output: Path
    rounds: int
    nnunet_python: str
    quick: bool


def find_medseg() -> str:
    """The executable beside this Python."""
    return str(Path(sys.executable).with_name("medseg"))


def import_for_medseg(setting: Setting, name: str) -> Path:
    """The medseg model of one of the given nnU-Net models; made once, outside what is measured."""
    target = setting.output / "imported" / name
    source = setting.models / name / "model"
    command = [find_medseg(), "import-nnunet", str(source), str(target)]
    taken = measure_command(command, log=setting.output / f"import_{name}.log")
    print(f"imported {name}: {format_taken([taken])}", flush=True)
    return target


def link_cases(setting: Setting, name: str, count: int | None) -> Path:
    """A folder with links to a model's images: all of them, or the smallest."""
    folder = setting.output / "images" / name
    folder.mkdir(parents=True)
    images = sorted((setting.models / name / "images").glob("*.nii.gz"), key=lambda path: path.stat().st_size)
    for image in images[:count]:
        (folder / image.name).symlink_to(image.resolve())
    return folder


def run_small(setting: Setting) -> dict:
    """Both commands on the folder, in turn."""
    model = import_for_medseg(setting, SMALL_MODEL)
    images = link_cases(setting, SMALL_MODEL, QUICK_SMALL_CASES if setting.quick else None)
    script = Path(__file__).parent / "benchmarks" / "nnunet_predict.py"
    theirs = [setting.nnunet_python, str(script), "-i", str(images), "-f", "0"]
    theirs += ["-m", str(setting.models / SMALL_MODEL / "model"), "-device", "cpu", "--disable_progress_bar"]
    ours = [find_medseg(), "predict", str(images), "--model", str(model), "--device", "cpu"]
    rows: dict[str, list[Taken]] = {THEIRS: [], OURS: []}
    differing = []
    for number in range(setting.rounds):
        folder = setting.output / "small" / str(number)
        masks = {name: folder / name for name in rows}
        folder.mkdir(parents=True)
        commands = {THEIRS: [*theirs, "-o", str(masks[THEIRS])], OURS: [*ours[:3], str(masks[OURS]), *ours[3:]]}
        for name, command in commands.items():
            rows[name].append(measure_command(command, log=folder / f"{name}.log"))
        differing.append(count_differing(masks[OURS], masks[THEIRS]))
    ratios = print_rows(f"small: {len(list(images.iterdir()))} hippocampus scans, cold start", rows)
    wrong = print_differing(differing)
    print_verdict("all masks equal nnU-Net's", wrong == 0)
    print_verdict(
        f"wall-clock at most {SMALL_WALL:.3f} of nnU-Net's", statistics.median(ratios[OURS]["wall_s"]) <= SMALL_WALL
    )
    return summarise(rows, ratios, wrong)


def run_large(setting: Setting) -> dict:
    """Warm predictors on each case, in turn."""
    model = import_for_medseg(setting, LARGE_MODEL)
    images = sorted(link_cases(setting, LARGE_MODEL, QUICK_LARGE_CASES if setting.quick else None).iterdir())
    folder = setting.output / "large"
    folder.mkdir()
    starts = {
        THEIRS: (setting.nnunet_python, ["--peer", "nnunet", "--model", str(setting.models / LARGE_MODEL / "model")])
    }
    for name, (engine, precision) in {OURS: ("torch", "exact"), **VARIANTS}.items():
        if engine == "openvino" and find_spec("openvino") is None:
            print(f"{name} skipped: openvino is not installed")
            continue
        options = ["--peer", "medseg", "--model", str(model), "--engine", engine, "--precision", precision]
        starts[name] = (sys.executable, options)
    rows: dict[str, list[Taken]] = {name: [] for name in starts}
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(WarmProcess(python, options, folder / f"{name}.log"))
            for name, (python, options) in starts.items()
        }
        for name, process in running.items():
            (folder / name).mkdir()
            (folder / "first" / name).mkdir(parents=True)
            process.predict(
                [images[0]], folder / "first" / name / "first.nii.gz"
            )  # not counted: it compiles and allocates
        each: dict[str, list[Taken]] = {name: [] for name in starts}  # case by case, round after round
        for _ in range(setting.rounds):
            for image in images:
                case = image.name.replace("_0000.nii.gz", ".nii.gz")
                for name, process in running.items():
                    each[name].append(process.predict([image], folder / name / case))
            for name, taken in rows.items():
                taken.append(add_up(each[name][-len(images) :]))
    ratios = print_rows(f"large: {len(images)} sarcoma MR scans, warm", rows)
    for name in ratios:
        print(f"{name:<22}{format_ratios(compare(each[name], each[THEIRS]))}   case by case")
    wrong = print_differing([count_differing(folder / OURS, folder / THEIRS)])
    print_verdict("all exact masks equal nnU-Net's", wrong == 0)
    for name, limit in LARGE_CPU.items():
        if name in ratios:
            part = statistics.median(ratios[name]["cpu_s"])
            print_verdict(f"{name}: CPU-seconds at most {limit:g} of nnU-Net's", part <= limit)
    dice = print_dice(setting, folder, [name for name in VARIANTS if name in rows])
    return {**summarise(rows, ratios, wrong), "dice": dice}


def print_dice(setting: Setting, folder: Path, names: list[str]) -> dict[str, dict[str, float | None]]:
    """How far masks that may differ are from the exact ones, and what that does to their score."""
    references = setting.models.parent / "data" / "sarcoma_mr" / "masks"
    exact = statistics.mean(score_folder(folder / OURS, references)) if references.is_dir() else None
    found: dict[str, dict[str, float | None]] = {}
    for name in names:
        each = score_folder(folder / name, folder / OURS)
        mean, change = statistics.mean(each), None
        text = f"{name}: Dice against the exact masks {mean:.5f} ({min(each):.5f} to {max(each):.5f})"
        if exact is not None:
            change = statistics.mean(score_folder(folder / name, references)) - exact
            text += f", against the references {exact + change:.5f} in place of {exact:.5f}"
        print(text)
        reached = mean >= DICE_TO_EXACT and abs(change or 0) <= DICE_CHANGE
        print_verdict(f"{name}: at least {DICE_TO_EXACT:g}, changed by at most {DICE_CHANGE:g}", reached)
        found[name] = {"to_exact": mean, "change": change}
    return found


def run_script(name: str) -> Callable[[Setting], dict]:
    """A part that is a benchmark of its own; it prints its own table."""

    def run(setting: Setting) -> dict:
        command = [sys.executable, str(Path(__file__).with_name(name)), "--repeats", str(setting.rounds)]
        print(f"{name}:", flush=True)
        return {"exit_code": subprocess.run(command, check=False).returncode}

    return run


def print_rows(title: str, rows: dict[str, list[Taken]]) -> dict[str, dict[str, list[float]]]:
    """What each took and our parts of nnU-Net's; returns the parts."""
    count = len(rows[THEIRS])
    print(
        f"\n{title}, {count} round{'s' if count > 1 else ''}; medians of a round, then parts of nnU-Net's: median "
        "(smallest to largest)"
    )
    ratios = {name: compare(taken, rows[THEIRS]) for name, taken in rows.items() if name != THEIRS}
    for name, taken in rows.items():
        print(f"{name:<22}{format_taken(taken)}")
    for name, parts in ratios.items():
        print(f"{name:<22}{format_ratios(parts)}")
    return ratios


def print_differing(counts: list[tuple[int, int, int]]) -> int:
    """Differing voxels over all comparisons."""
    wrong, total, cases = (sum(column) for column in zip(*counts, strict=True))
    print(f"differing voxels: {wrong} of {total} in {cases} masks")
    return wrong


def print_verdict(text: str, reached: bool) -> None:
    print(f"{text}: {'reached' if reached else 'missed'}", flush=True)


def summarise(rows: dict[str, list[Taken]], ratios: dict, wrong: int) -> dict:
    taken = {name: [asdict(each) for each in column] for name, column in rows.items()}
    return {"taken": taken, "ratios": ratios, "differing_voxels": wrong}


PARTS: dict[str, Callable[[Setting], dict]] = {
    "small": run_small,
    "large": run_large,
    "export": run_script("bench_export.py"),
    "resample": run_script("bench_resample.py"),
}


def read_options() -> tuple[Setting, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="which, separated by commas")
    parser.add_argument("--rounds", "--repeats", type=int, default=3, help="how often everyone predicts every case")
    parser.add_argument("--nnunet-python", default=sys.executable, help="a Python that has nnunetv2")
    parser.add_argument("--models", type=Path, help="the given models (default: below $MEDSEG_TEST_DATA)")
    parser.add_argument("--output", type=Path, help="an empty folder; a temporary one if not given")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if not set(parts) <= PARTS.keys():
        parser.error(f"--parts are some of {', '.join(PARTS)}")
    if options.models is None and not os.environ.get("MEDSEG_TEST_DATA"):
        parser.error("set MEDSEG_TEST_DATA or give --models")
    models = (options.models or Path(os.environ["MEDSEG_TEST_DATA"]) / "models").resolve()
    output = (options.output or Path(tempfile.mkdtemp(prefix="bench_inference_"))).resolve()
    rounds = 1 if options.quick else max(1, options.rounds)
    return Setting(models, output, rounds, options.nnunet_python, options.quick), parts


def main() -> None:
    setting, parts = read_options()
    version = find_version(setting.nnunet_python)
    setting.output.mkdir(parents=True, exist_ok=True)
    print(f"nnU-Net {version}; rounds: {setting.rounds}; output in {setting.output}", flush=True)
    results = {}
    for part in parts:
        if part in ("small", "large") and version is None:
            print(f"{part} skipped: {setting.nnunet_python} has no nnunetv2; give --nnunet-python")
            continue
        results[part] = PARTS[part](setting)
        (setting.output / "results.json").write_text(json.dumps({"nnunet": version, **results}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
