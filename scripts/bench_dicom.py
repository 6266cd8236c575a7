#!/usr/bin/env python3
"""Reading DICOM series: how fast beside SimpleITK, and how rightly beside five other readers.

Usage: python scripts/bench_dicom.py [--parts speed,table] [--rounds 7] [--slices 300] [--readers ...] [--output FILE]

speed: a CT of 300 uncompressed slices of 512 x 512 is read by medseg (``find_series``, ``read_series``) and by
SimpleITK (``GetGDCMSeriesIDs``, ``GetGDCMSeriesFileNames``, ``ImageSeriesReader``), in turn in this process, discovery
included on both sides, files in the page cache. Asked for is a ratio of wall-clock time of at most 1.0; printed are the
medians, the ratio with its range, and CPU time.

table: each situation of tests/io/dicom_situations.py is read by each reader that is installed, and judged by the values
at the reader's own affine: ``right`` (within a tenth of a millimetre); ``refused`` where nothing should be made of it;
``none`` where nothing was made of what is sound; ``part`` where volumes are left out; ``accepted`` where a fault is
taken for sound; ``WRONG`` where some value lies at a place that is not its own.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import logging
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from scripts.benchmarks.dicom_peers import READERS, Found, read_quietly
from tests.io.dicom_series import GRADIENT, Plane, build, is_right, save
from tests.io.dicom_situations import SITUATIONS, Situation

REQUIRED_RATIO = 1.0
# What a tenth of a millimetre makes where values change fastest.
TOLERANCE = 0.1 * float(np.linalg.norm(GRADIENT))
SIDE = 512
PACKAGES = {name: name for name in ("SimpleITK", "dcm2niix", "dicom2nifti", "highdicom", "medseg")} | {"MONAI": "monai"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="speed,table")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    if "speed" in arguments.parts:
        results["speed"] = compare_speed(arguments.slices, arguments.rounds)
    if "table" in arguments.parts:
        results["table"] = compare_readers(arguments.readers.split(","))
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


def write_ct(folder: Path, count: int) -> None:
    """An uncompressed CT with the hundred elements and the sequences that a scanner writes."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    generator = np.random.default_rng(0)
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "113100", "DCM", "Basic Application Confidentiality"
    for number in range(count):
        data = build(Plane(np.array([-180.0, -170.0, 1.25 * number]), shape=(8, 8), spacing=(0.7, 0.7)), number)
        data.Rows = data.Columns = SIDE
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = generator.integers(0, 3000, (SIDE, SIDE)).astype("<i2").tobytes()
        data.DeidentificationMethodCodeSequence = Sequence([item] * 7)
        block = data.private_block(0x0043, "ODD MAKER 01", create=True)
        for element in range(40):
            block.add_new(element, "LO", f"private value {element}")
        save(folder / f"{number:05}", data)


def compare_speed(count: int, rounds: int) -> dict[str, Any]:
    """Both readers in turn, the first round of each left out."""
    import SimpleITK

    def read_ours(folder: Path) -> np.ndarray:
        (series,) = find_series(folder).images
        return read_series(series)[0].array[0]

    def read_theirs(folder: Path) -> Any:
        reader = SimpleITK.ImageSeriesReader()
        (series,) = reader.GetGDCMSeriesIDs(str(folder))
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series))
        return reader.Execute()

    with tempfile.TemporaryDirectory() as folder:
        write_ct(Path(folder), count)
        # Also warms both: libraries loaded, files in the page cache.
        assert np.array_equal(read_ours(Path(folder)), SimpleITK.GetArrayFromImage(read_theirs(Path(folder))).T)
        pairs = [(_time(read_ours, Path(folder)), _time(read_theirs, Path(folder))) for _ in range(rounds)]
    ratios = sorted(ours[0] / theirs[0] for ours, theirs in pairs)
    ours, theirs = ([statistics.median(pair[side][which] for pair in pairs) for which in (0, 1)] for side in (0, 1))
    ratio = statistics.median(ratios)
    print(f"{count} slices of {SIDE} x {SIDE}, {rounds} rounds")
    print(f"medseg    {ours[0]:.3f} s wall, {ours[1]:.3f} s CPU")
    print(f"SimpleITK {theirs[0]:.3f} s wall, {theirs[1]:.3f} s CPU")
    verdict = "reached" if ratio <= REQUIRED_RATIO else "missed"
    print(f"ratio {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), asked {REQUIRED_RATIO}: {verdict}; CPU"
          f" {ours[1] / theirs[1]:.2f}")  # fmt: skip
    return {"ratio": ratio, "range": [ratios[0], ratios[-1]], "medseg_s": ours, "simpleitk_s": theirs, "slices": count}


def _time(read: Callable[[Path], object], folder: Path) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    read(folder)
    return time.perf_counter() - wall, time.process_time() - cpu


def compare_readers(names: list[str]) -> dict[str, dict[str, str]]:
    """A line a situation: what each reader made of it."""
    names = [name for name in names if importlib.util.find_spec(PACKAGES[name]) is not None]
    logging.disable(logging.CRITICAL)
    table: dict[str, dict[str, str]] = {}
    print("| situation | " + " | ".join(names) + " |\n| --- |" + " --- |" * len(names))
    for title, situation in SITUATIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            situation.make(Path(folder, "study"))
            table[title] = {name: judge(_read(name, Path(folder, "study"), situation), situation) for name in names}
        print(f"| {title} | " + " | ".join(table[title].values()) + " |", flush=True)
    for name in names:
        counts = Counter(verdicts[name] for verdicts in table.values())
        print(f"{name}: " + ", ".join(f"{verdict} {count}" for verdict, count in counts.most_common()))
    return table


def _read(name: str, folder: Path, situation: Situation) -> Found:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return read_quietly(name, folder, situation.options)


def judge(found: Found, situation: Situation) -> str:
    """What a reader made of a situation, in a word."""
    tilted = situation.options.get("tilt") == "resample" or "tilted" in situation.codes
    rights = [is_right(*one, TOLERANCE) or (tilted and is_right(*one, TOLERANCE, straightened=True)) for one in found]
    if not found:
        return "none" if situation.counts else "refused"
    if not all(rights):
        return "WRONG"
    if len(found) > len(situation.counts):
        return "accepted"
    return "part" if len(found) < len(situation.counts) else "right"


if __name__ == "__main__":
    main()
