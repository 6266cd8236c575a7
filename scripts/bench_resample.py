"""How fast images are resampled, and logits led back to the scan, against scikit-image's resize as nnU-Net calls it.

Both run in this process in turn; printed are the median ratio of wall-clock and of CPU-seconds with their range, and
the largest difference in parts of the value range. Usage: python scripts/bench_resample.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from skimage.transform import resize

from medseg.core.labels import LabelScheme
from medseg.grids import resample_array
from medseg.preprocessing import PreparedGrid, restore_segmentation

CASES = [
    ("hippocampus", (35, 51, 35), (44, 64, 44)),
    ("abdomen CT, finer", (60, 256, 256), (100, 300, 300)),
    ("abdomen CT, coarser", (100, 256, 256), (60, 160, 160)),
    ("in-plane only", (40, 320, 320), (40, 448, 448)),
]
LOGITS = [
    ("3 classes", 3, (80, 160, 160), (60, 256, 256)),
    ("20 classes", 20, (48, 96, 96), (60, 160, 160)),
]


def resize_each(array: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    options = {"order": order, "mode": "edge", "anti_aliasing": False, "clip": True, "preserve_range": True}
    return np.stack([resize(channel.astype(float), shape, **options) for channel in array])


def clock(function: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def compare(
    name: str,
    theirs: Callable[[], np.ndarray],
    ours: Callable[[], np.ndarray],
    difference: Callable[[np.ndarray, np.ndarray], str],
    repeats: int,
) -> None:
    ours()  # builds the matrices and starts torch's threads, once per process
    walls, cpus, seconds = [], [], []
    for _ in range(repeats):
        their_wall, their_cpu, expected = clock(theirs)
        our_wall, our_cpu, result = clock(ours)
        walls.append(their_wall / our_wall)
        cpus.append(their_cpu / our_cpu)
        seconds.append(our_wall)
    print(
        f"{name:44} {statistics.median(walls):6.1f} x ({min(walls):.1f} to {max(walls):.1f})"
        f"   CPU {statistics.median(cpus):6.1f} x ({min(cpus):.1f} to {max(cpus):.1f})"
        f"   {statistics.median(seconds):7.4f} s   {difference(result, expected)}"
    )


def bench_images(repeats: int) -> None:
    for name, shape, wanted in CASES:
        noise = np.random.default_rng(0).normal(size=shape)
        image = (ndimage.gaussian_filter(noise, 1.5) * 3000).astype(np.float32)[None]
        span = float(np.ptp(image))
        for order in (3, 1):
            compare(
                f"{name}, order {order}",
                lambda image=image, wanted=wanted, order=order: resize_each(image, wanted, order),
                lambda image=image, wanted=wanted, order=order: resample_array(image, wanted, order=order),
                lambda a, b, span=span: f"largest difference {np.abs(a - b).max() / span:.1e}",
                repeats,
            )


def bench_logits(repeats: int) -> None:
    for name, classes, shape, wanted in LOGITS:
        noise = np.random.default_rng(1).normal(size=(classes, *shape))
        logits = ndimage.gaussian_filter(noise, (0, 3, 3, 3)).astype(np.float32)
        labels = LabelScheme.make({f"label {n}": n for n in range(1, classes)})
        grid = PreparedGrid(
            shape=wanted,
            affine=tuple(tuple(row) for row in np.eye(4).tolist()),
            axis_order=(0, 1, 2),
            crop_start=(0, 0, 0),
            crop_stop=wanted,
            cropped_shape=wanted,
            resampled_shape=shape,
            cropped_mm=(1.0, 1.0, 1.0),
            resampled_mm=(1.0, 1.0, 1.0),
        )
        tensor = torch.from_numpy(logits)
        compare(
            f"back to the scan, {name}",
            lambda logits=logits, wanted=wanted: resize_each(logits, wanted, 1).argmax(axis=0),
            lambda tensor=tensor, grid=grid, labels=labels: restore_segmentation(tensor, grid, labels).array,
            lambda a, b: f"other label in {np.mean(a != b):.1e} of voxels",
            repeats,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"torch with {torch.get_num_threads()} threads; ratio above 1: medseg is faster; seconds are medseg's")
    bench_images(repeats)
    bench_logits(repeats)


if __name__ == "__main__":
    main()
