#!/usr/bin/env python3
"""CPU-seconds from a raw data set to prepared cases: medseg and nnU-Net on the hippocampus (208 MRI cases).

Compared are
  medseg            `medseg check`, `medseg plan` (which makes the fingerprint) and `medseg preprocess --configuration
                    3d_fullres`, three processes, in a fresh workspace each time
  medseg, one call  the same three steps in one process, through the Python functions
  nnU-Net           `nnUNetv2_plan_and_preprocess -c 3d_fullres --verify_dataset_integrity` with two processes
in turn. CPU-seconds are user and system time of the processes and all their children, the start of Python included.

Usage: python scripts/bench_preparation.py [--repeats 5] [--nnunet-python PYTHON] [--nnunet-repeats 1] [--data FOLDER]
                                           [--output FILE]
The data set is $MEDSEG_TEST_DATA/data/hippocampus where --data is not given. nnU-Net runs on all of its cases, in each
of the first --nnunet-repeats rounds (as many as --repeats where it is not given), through a Python that has it. Prints
median, smallest and largest wall-clock and CPU-seconds of each, of medseg's steps too, and the ratio of nnU-Net's
median to medseg's; a line says so where nnU-Net is absent. Ends where a contestant leaves a case out. Asked for are at
most 30 CPU-seconds. FILE gets the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.clock import Clocked, clock_command, format_times, median
from benchmarks.data_sets import add_data_option, find_data, find_layout
from benchmarks.nnunet_folders import DATASET_ID, DATASET_NAME, find_version, make_environment, make_raw_folder

CONFIGURATION = "3d_fullres"
PROCESSES = "2"
REQUIRED_CPU_S = 30.0
RUNS = OURS, ONE_CALL, THEIRS = "medseg", "medseg, one call", "nnU-Net"
ONE_PROCESS = """
import sys
from medseg import pipeline
data, space = sys.argv[1:]
pipeline.check(data)
pipeline.plan(data, space)
pipeline.preprocess(space, configurations=["3d_fullres"])
"""

Times = dict[str, Clocked]


def count_cases(data: Path) -> int:
    """How many images the data set has to train on."""
    return sum(1 for _ in (data / "imagesTr").glob("[!.]*.nii.gz"))


def add(times: list[Clocked]) -> Clocked:
    """Commands run one after another."""
    return Clocked(sum(each.wall_s for each in times), sum(each.cpu_s for each in times))


def require_all(contestant: str, files: Iterable[Path], cases: int) -> None:
    """End the benchmark where a contestant prepared another number of cases than there are."""
    found = sum(1 for _ in files)
    if found != cases:
        raise SystemExit(f"{contestant} prepared {found} of {cases} cases")


def list_prepared(space: Path) -> Iterable[Path]:
    """A file per case that medseg prepared."""
    return (space / "prepared" / CONFIGURATION).glob("*.reference.b2nd")


def clock_medseg(data: Path, space: Path, cases: int) -> Times:
    """The three commands, alone and together."""
    medseg = str(Path(sys.executable).with_name("medseg"))
    steps = {
        "  check": [medseg, "check", str(data)],
        "  plan": [medseg, "plan", str(data), "--workspace", str(space)],
        "  preprocess": [medseg, "preprocess", "--workspace", str(space), "--configuration", CONFIGURATION],
    }
    times = {name: clock_command(command) for name, command in steps.items()}
    require_all(OURS, list_prepared(space), cases)
    return {OURS: add(list(times.values())), **times}


def clock_one_call(data: Path, space: Path, cases: int) -> Times:
    """The three steps in one process."""
    clocked = clock_command([sys.executable, "-c", ONE_PROCESS, str(data), str(space)])
    require_all(ONE_CALL, list_prepared(space), cases)
    return {ONE_CALL: clocked}


def clock_nnunet(data: Path, root: Path, python: str) -> Times:
    """nnU-Net's own command on all cases, through the Python that has it."""
    cases = make_raw_folder(find_layout(data), root)
    entry = "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry as run"
    script = root / "plan_and_preprocess.py"  # a file, since nnU-Net starts its workers by spawning
    script.write_text(f'{entry}\n\nif __name__ == "__main__":\n    run()\n', "utf-8")
    command = [python, str(script), "-d", str(DATASET_ID), "-c", CONFIGURATION, "--verify_dataset_integrity"]
    command += ["-npfp", PROCESSES, "-np", PROCESSES]
    clocked = clock_command(command, environment=make_environment(root))
    # A case has a .pkl of its properties whatever format its arrays are kept in.
    prepared = (root / "preprocessed" / DATASET_NAME).glob(f"nnUNetPlans_{CONFIGURATION}/*.pkl")
    require_all(THEIRS, prepared, cases)
    return {THEIRS: clocked}


def compare(data: Path, repeats: int, python: str | None, nnunet_repeats: int) -> dict[str, list[Clocked]]:
    """Every contestant in turn, in new folders."""
    rows: dict[str, list[Clocked]] = {}
    cases = count_cases(data)
    for number in range(repeats):
        with tempfile.TemporaryDirectory(prefix="bench_preparation_") as name:
            folder = Path(name)
            times = clock_medseg(data, folder / "steps", cases) | clock_one_call(data, folder / "one", cases)
            if python is not None and number < nnunet_repeats:
                times |= clock_nnunet(data, folder / "nnunet", python)
        for contestant, clocked in times.items():
            rows.setdefault(contestant, []).append(clocked)
    return rows


def print_result(rows: dict[str, list[Clocked]]) -> dict[str, float]:
    """The table, the ratios and the verdict; returns the ratios."""
    for name, each in rows.items():
        print(f"{name:<18}{format_times(each)}")
    ratios = {}
    for name in (OURS, ONE_CALL) if THEIRS in rows else ():
        for field in ("cpu_s", "wall_s"):
            ratios[f"{name}, {field}"] = median(rows[THEIRS], field) / median(rows[name], field)
        cpu, wall = ratios[f"{name}, cpu_s"], ratios[f"{name}, wall_s"]
        print(f"nnU-Net / {name}: CPU {cpu:.1f} x, wall {wall:.1f} x")
    for name in (OURS, ONE_CALL):
        reached = median(rows[name], "cpu_s") <= REQUIRED_CPU_S
        print(f"{name}: at most {REQUIRED_CPU_S:g} CPU-seconds: {'reached' if reached else 'missed'}")
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--nnunet-python", default=sys.executable, help="a Python that has nnunetv2")
    parser.add_argument("--nnunet-repeats", type=int, help="runs of nnU-Net, at most (default: --repeats)")
    add_data_option(parser)
    parser.add_argument("--output", type=Path, help="a JSON file")
    options = parser.parse_args()
    data = find_data(parser, options.data)
    version = find_version(options.nnunet_python)
    if version is None:
        print(f"nnU-Net skipped: {options.nnunet_python} has no nnunetv2; give --nnunet-python")
    else:
        print(f"nnU-Net {version}, {PROCESSES} processes")
    theirs = options.repeats if options.nnunet_repeats is None else options.nnunet_repeats
    rows = compare(data, options.repeats, options.nnunet_python if version else None, theirs)
    runs = "; ".join(f"{name}: {len(rows[name])}" for name in RUNS if name in rows)
    print(f"{count_cases(data)} cases; runs of {runs}")
    ratios = print_result(rows)
    if options.output:
        times = {name.strip(): [vars(clocked) for clocked in each] for name, each in rows.items()}
        content = {"nnunet": version, "times": times, "ratios": ratios}
        options.output.write_text(json.dumps(content, indent=1), "utf-8")


if __name__ == "__main__":
    main()
