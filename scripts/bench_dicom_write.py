"""What a DICOM segmentation costs: written and verified by medseg, written and read by highdicom, in turn.

A BINARY segmentation of 512 x 512 x 300 with 5 labels is written for a CT series of 300 files. medseg: ``write_seg``,
which reads the patient from the series, writes through highdicom, reads the object back and compares every voxel.
highdicom: ``Segmentation``, ``save_as``, ``segread`` and ``get_volume``; once with the 300 headers that it wants in
memory already, once reading them with pydicom as a program that has files must. All are given the mask in memory, run
in this process on one thread, in another order each round; printed are median CPU-seconds and the ratios with their
range. A first, untimed round loads what is needed. Asked for is at most 1.2 times highdicom with its headers in memory.

Usage: OMP_NUM_THREADS=1 python scripts/bench_dicom_write.py [--rounds 7] [--json FILE]
Ends with 1 where that was missed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from benchmarks.cpu_clock import read_cpu

SHAPE = (512, 512, 300)
SPACING_MM = (0.7, 0.7, 1.5)
# Centres as shares of the grid and radii in millimetres: a large organ and four smaller ones, none touching another.
BALLS = (
    *(((0.50, 0.50, 0.50), 90.0), ((0.25, 0.25, 0.33), 42.0), ((0.70, 0.72, 0.70), 42.0)),
    *(((0.80, 0.20, 0.50), 28.0), ((0.20, 0.80, 0.50), 28.0)),
)
OURS, PEER, PEER_FROM_FILES = "medseg", "highdicom, headers in memory", "highdicom, headers read"
MOST_RATIO = 1.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        runs = make_runs(Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(options.rounds + 1):
            for name in random.Random(turn).sample(list(runs), len(runs)):
                start = read_cpu()
                runs[name]()
                if turn:
                    seconds[name].append(read_cpu() - start)
    sys.exit(report(seconds, options.json) > MOST_RATIO)


def make_runs(folder: Path) -> dict[str, Callable[[], None]]:
    """The three programs, each from the mask in memory to a file that was read back."""
    from medseg.core.labels import LabelScheme
    from medseg.core.volume import Segmentation
    from medseg.io.dicom.seg_write import write_seg
    from tests.io.dicom.small_series import make_geometry, write_series

    geometry = make_geometry(SHAPE, SPACING_MM)
    source = write_series(folder / "series", geometry)
    planes = draw_balls()
    labels = LabelScheme.make({f"organ {number}": number for number in range(1, len(BALLS) + 1)})
    mask = Segmentation(planes.transpose(2, 1, 0), geometry)
    files = [frame.path for frame in source.frames]
    in_memory = read_headers(files)
    place = folder / "peer.dcm"
    return {
        OURS: lambda: write_seg(folder / "medseg.dcm", mask, labels, source) and None,
        PEER: lambda: write_and_read(place, planes, in_memory),
        PEER_FROM_FILES: lambda: write_and_read(place, planes, read_headers(files)),
    }


def draw_balls() -> Any:
    """The mask, (k, j, i)."""
    planes = np.zeros(SHAPE[::-1], np.uint8)
    axes = np.ogrid[tuple(slice(0, count) for count in SHAPE[::-1])]
    for number, (centre, radius_mm) in enumerate(BALLS, start=1):
        steps = zip(axes, centre[::-1], SHAPE[::-1], SPACING_MM[::-1], strict=True)
        distance = sum(((axis - share * count) * step) ** 2 for axis, share, count, step in steps)
        planes[distance < radius_mm**2] = number
    return planes


def read_headers(files: list[Path]) -> list[Any]:
    """The series as highdicom wants it."""
    import pydicom

    return [pydicom.dcmread(file, stop_before_pixels=True) for file in files]


def write_and_read(path: Path, planes: Any, headers: list[Any]) -> None:
    """highdicom's own way there and back; its volume holds the planes that have a frame."""
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence("peer", codes.DCM.ArtificialIntelligence, "1")
    descriptions = [
        highdicom.seg.SegmentDescription(n, f"organ {n}", codes.SCT.Organ, codes.SCT.Liver, "AUTOMATIC", algorithm)
        for n in range(1, len(BALLS) + 1)
    ]
    uids = [highdicom.UID() for _ in range(2)]
    highdicom.seg.Segmentation(
        headers, planes, "BINARY", descriptions, uids[0], 1, uids[1], 1, "peer", "peer", "1", "1"
    ).save_as(path)
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    occupied = np.flatnonzero(planes.any(axis=(1, 2)))
    found = np.asarray(volume.array)
    if found.shape[0] != occupied[-1] - occupied[0] + 1:
        raise SystemExit("highdicom read back other planes than were written")


def report(seconds: dict[str, list[float]], file: Path | None) -> float:
    """Print medians and the ratios round by round; medseg's to highdicom with its headers in memory."""
    ours, rows = np.array(seconds[OURS]), {}
    for name, found in seconds.items():
        ratios = ours / np.array(found)
        rows[name] = {"median_s": float(np.median(found)), "ratios": ratios.round(3).tolist()}
        spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        print(f"{name:30} {np.median(found):6.2f} CPU-s" + ("" if name == OURS else f"   medseg takes {spread} of it"))
    if file:
        file.write_text(json.dumps({"shape": SHAPE, "labels": len(BALLS), "results": rows}, indent=1), "utf-8")
    return float(np.median(rows[PEER]["ratios"]))


if __name__ == "__main__":
    main()
