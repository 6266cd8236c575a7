"""Measures what segmenting takes, in a process of its own: python -m tests.inference.folders.peak_memory FOLDER."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.plan import NetworkPlan
from medseg.core.volume import Volume
from medseg.inference import Predictor
from medseg.inference.folders.memory import count_reading_bytes, estimate_memory, measure_size, read_used_bytes
from tests.inference.examples import write_model

# Features, classes, folds, patch, windows at a time and how many of them in threads, scan, spacing: each makes
# something else large.
RUNS = {
    "warm up": ((8, 16), 30, 1, (16, 32, 32), (1, 1), (60, 60, 50), 0.8),
    "network": ((32, 64), 2, 1, (32, 64, 64), (1, 1), (64, 64, 32), 1.0),
    "threads": ((32, 64), 2, 1, (32, 64, 64), (2, 2), (64, 96, 32), 1.0),
    "windows": ((16, 32), 2, 1, (32, 48, 48), (4, 1), (80, 80, 32), 1.0),
    "sums": ((4, 8), 60, 3, (16, 48, 48), (1, 1), (70, 70, 60), 1.0),
    "scan": ((4, 8), 2, 1, (32, 48, 48), (1, 1), (150, 150, 130), 0.5),
}


def load(folder: Path, name: str) -> Predictor:
    features, classes, folds, patch, (together, _), _, _ = RUNS[name]
    count = len(features)
    network = NetworkPlan(
        features=features, strides=((1, 1, 1),) + ((2, 2, 2),) * (count - 1), kernels=((3, 3, 3),) * count,
        convolutions=(2,) * count, decoder_convolutions=(2,) * (count - 1),
    )  # fmt: skip
    labels = LabelScheme.make({f"label_{value}": value for value in range(1, classes)}, output="softmax")
    write_model(folder / name, folds=range(folds), labels=labels, network=network, patch_size=patch)
    predictor = Predictor.load(folder / name, device="cpu", mirroring=False)
    return replace(predictor, window=replace(predictor.window, together=together, overlap=0.1))


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def read_peak() -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measure(predictor: Predictor, name: str) -> dict[str, list[int]]:
    """Bytes above what the process held before, for reading and for segmenting, measured and estimated."""
    *_, (together, threads), shape, spacing = RUNS[name]
    torch.set_num_threads(threads)
    values = np.random.default_rng(0).integers(1, 200, (1, *shape)).astype(np.int16)
    before = read_used_bytes() - values.nbytes
    reset_peak()
    scan = predictor.prepare(Volume(values, Geometry.from_spacing(shape, (spacing,) * 3), ("c0",)))
    reading = read_peak() - before
    del values
    size = measure_size(scan, 1, 2)
    reset_peak()
    predictor.segment(scan)
    estimate = estimate_memory(
        predictor.members, size, together=together, at_once=threads, on_gpu=False, sums_on_gpu=False, overlap=0.1,
        exact=True, program_bytes=0,
    )  # fmt: skip
    return {
        "reading": [reading, count_reading_bytes(size, exact=True)],
        "segmenting": [read_peak() - before, estimate.ram_bytes],
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(json.dumps({name: measure(load(folder, name), name) for name in RUNS}))
