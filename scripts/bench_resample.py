"""How fast images are resampled, against scikit-image's resize as nnU-Net calls it.

Both run in this process in turn; printed are the median ratio of wall-clock and of CPU-seconds with their range, and
the largest difference in parts of the value range. Asked for of cubic splines at two threads: in float32 at least 8 x
faster and at most 1e-4 apart, exactly (float64) at least 4 x and at most 1e-6.
Usage: python scripts/bench_resample.py [--repeats 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from scipy import ndimage
from skimage.transform import resize

from medseg.grids import resample_array

CASES = [
    ("hippocampus", (35, 51, 35), (44, 64, 44)),
    ("abdomen CT, finer", (60, 256, 256), (100, 300, 300)),
    ("abdomen CT, coarser", (100, 256, 256), (60, 160, 160)),
    ("in-plane only", (40, 320, 320), (40, 448, 448)),
]
# What is asked for by (order, exact): times faster, largest difference.
ASKED = {(3, False): (8.0, 1e-4), (3, True): (4.0, 1e-6)}


def resize_each(array: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    options = {"order": order, "mode": "edge", "anti_aliasing": False, "clip": True, "preserve_range": True}
    return np.stack([resize(channel.astype(float), shape, **options) for channel in array])


def clock(function: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def compare(name: str, image: np.ndarray, wanted: tuple[int, ...], order: int, exact: bool, repeats: int) -> bool:
    """Print one line; whether it is within what is asked for."""
    resample_array(image, wanted, order=order, exact=exact)  # builds the matrices, starts torch's threads: once each
    walls, cpus, seconds, difference = [], [], [], 0.0
    for _ in range(repeats):
        their_wall, their_cpu, expected = clock(lambda: resize_each(image, wanted, order))
        our_wall, our_cpu, result = clock(lambda: resample_array(image, wanted, order=order, exact=exact))
        walls.append(their_wall / our_wall)
        cpus.append(their_cpu / our_cpu)
        seconds.append(our_wall)
        difference = max(difference, float(np.abs(result - expected).max() / np.ptp(image)))
    faster, apart = ASKED.get((order, exact), (0.0, np.inf))
    within = statistics.median(walls) >= faster and difference <= apart
    kind = "exact  " if exact else "float32"
    print(
        f"{name:20} order {order} {kind} {statistics.median(walls):6.1f} x ({min(walls):.1f} to {max(walls):.1f})"
        f"   CPU {statistics.median(cpus):6.1f} x ({min(cpus):.1f} to {max(cpus):.1f})"
        f"   {statistics.median(seconds):7.4f} s   largest difference {difference:.1e}{'' if within else '   NOT MET'}",
        flush=True,
    )
    return within


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch with {arguments.threads} threads; ratio above 1: medseg is faster; seconds are medseg's")
    within = []
    for name, shape, wanted in CASES:
        noise = np.random.default_rng(0).normal(size=shape)
        image = (ndimage.gaussian_filter(noise, 1.5) * 3000).astype(np.float32)[None]
        for order, exact in ((3, False), (3, True), (1, False), (1, True)):
            within.append(compare(name, image, wanted, order, exact, arguments.repeats))
    return 0 if all(within) else 1


if __name__ == "__main__":
    raise SystemExit(main())
