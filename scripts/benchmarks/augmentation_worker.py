"""One side of augmentation_speed.py, in its own process and Python: augments patches on one thread and says how long.

Usage: python augmentation_worker.py nnunet|medseg
Each line of the input is a JSON object ``{"patch": [a, b, c], "read": [a, b, c], "samples": n, "seed": s}``; for each
the output has a line with the CPU-seconds of augmenting, copies of the input not counted. The output's first line names
the version of torch.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

BATCH = 2
ROTATION = float(np.deg2rad(30.0))
LABELS = 2

Clock = Callable[[Sequence[int], torch.Tensor, torch.Tensor, int, int], float]


def draw_patch(size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth image, (1, *size), and two round labels in its middle, (*size), alike in every process."""
    axes = [np.linspace(-1, 1, length, dtype=np.float32) for length in size]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    noise = np.random.default_rng(0).normal(scale=0.3, size=tuple(size)).astype(np.float32)
    labels = np.zeros(tuple(size), np.uint8)
    for value, centre in enumerate((-0.15, 0.15), start=1):
        labels[(x - centre) ** 2 + y**2 + z**2 < 0.12] = value
    return torch.from_numpy(noise + labels + np.cos(3 * x) * y)[None], torch.from_numpy(labels)


def clock_nnunet(patch: Sequence[int], image: torch.Tensor, labels: torch.Tensor, samples: int, seed: int) -> float:
    """CPU-seconds of nnU-Net's own list, sample by sample as its loader calls it."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    make = nnUNetTrainer.get_training_transforms
    transforms = make(tuple(patch), (-ROTATION, ROTATION), None, (0, 1, 2), False, [False])
    whole = labels[None].to(torch.int16)
    for step in transforms.transforms:  # blur tries two ways the first times, which is not what training costs
        blur = getattr(step, "transform", None)
        for _ in range(30 if type(blur).__name__ == "GaussianBlurTransform" else 0):
            blur(image=torch.zeros(1, *patch))
    np.random.seed(seed)  # the generator that it draws from
    torch.manual_seed(seed)
    spent = 0.0
    with torch.no_grad():
        for _ in range(samples):
            given = {"image": image.clone(), "segmentation": whole.clone()}
            began = time.process_time()
            transforms(**given)
            spent += time.process_time() - began
    return spent


def clock_medseg(patch: Sequence[int], image: torch.Tensor, labels: torch.Tensor, samples: int, seed: int) -> float:
    """CPU-seconds of medseg's default list, batch by batch."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from medseg.augmentation import Scene, augment_batch

    scene = Scene(tuple(patch), 1, False, (0, 1, 2))
    spent = 0.0
    for first in range(0, samples, BATCH):
        count = min(BATCH, samples - first)
        generators = [np.random.Generator(np.random.Philox(key=[seed, first + slot])) for slot in range(count)]
        given = image.repeat(count, 1, 1, 1, 1), labels.repeat(count, 1, 1, 1)
        began = time.process_time()
        augment_batch(*given, generators, scene)
        spent += time.process_time() - began
    return spent


def main() -> None:
    torch.set_num_threads(1)
    clocks: dict[str, Clock] = {"nnunet": clock_nnunet, "medseg": clock_medseg}
    clock = clocks[sys.argv[1]]
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        image, labels = draw_patch(asked["read"])
        print(clock(asked["patch"], image, labels, asked["samples"], asked["seed"]), flush=True)


if __name__ == "__main__":
    main()
