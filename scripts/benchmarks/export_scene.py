"""Logits of an imagined network on a prepared grid, block by block, and the scan they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from medseg.core.labels import LabelScheme
from medseg.preprocessing import LogitBlock, PreparedGrid

Kind = Literal["smooth", "noise"]

# A class is ahead by this in its middle and behind by as much far away; a network's logits range as far.
REACH = 16.0
STEEPNESS = 30.0


@dataclass(frozen=True)
class Scene:
    """A scan and its prepared grid.

    Args:
        name: for the table.
        classes: with the background.
        prepared: voxels of the prepared grid.
        scan: voxels of the scan.
        kind: ``smooth``: ellipsoids, one class far ahead in most places; ``noise``: all classes alike everywhere.
    """

    name: str
    classes: int
    prepared: tuple[int, int, int]
    scan: tuple[int, int, int]
    kind: Kind = "smooth"

    def labels(self) -> LabelScheme:
        """A softmax over the classes."""
        return LabelScheme.make({f"label {n}": n for n in range(1, self.classes)})

    def grid(self) -> PreparedGrid:
        """The whole scan, in the file's own axis order."""
        return PreparedGrid(
            shape=self.scan,
            affine=tuple(tuple(row) for row in np.eye(4).tolist()),
            axis_order=(0, 1, 2),
            crop_start=(0, 0, 0),
            crop_stop=self.scan,
            cropped_shape=self.scan,
            resampled_shape=self.prepared,
            cropped_mm=(1.0, 1.0, 1.0),
            resampled_mm=tuple(n / m for n, m in zip(self.scan, self.prepared, strict=True)),
        )


def generate_blocks(scene: Scene, rows: int, columns: int) -> Iterator[LogitBlock]:
    """The scene's logits, halves, in blocks of some rows and columns."""
    a, b, _ = scene.prepared
    for start_a in range(0, a, rows):
        for start_b in range(0, b, columns):
            stop_a, stop_b = min(a, start_a + rows), min(b, start_b + columns)
            logits = make_logits(scene, (start_a, stop_a), (start_b, stop_b))
            block = LogitBlock((start_a, start_b), (stop_a, stop_b), logits)
            del logits
            yield block
            del block


def make_logits(scene: Scene, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Logits (class, a, b, c), halves, of some rows and columns of the prepared grid."""
    sides = [np.arange(*rows), np.arange(*columns), np.arange(scene.prepared[2])]
    result = torch.empty((scene.classes, *(len(side) for side in sides)), dtype=torch.half)
    for number in range(scene.classes):
        if scene.kind == "noise":
            noise = torch.Generator().manual_seed(number * 1_000_003 + rows[0] * 1_009 + columns[0])
            result[number] = torch.randn(result.shape[1:], generator=noise) * 3
        else:
            result[number] = _make_class(number, sides, scene.prepared)
    return result


def _make_class(number: int, sides: list[np.ndarray], shape: tuple[int, int, int]) -> Tensor:
    """An ellipsoid, or for class 0 what none of them holds, with slow waves upon it."""
    rng = np.random.default_rng(number)
    centre, radius = rng.uniform(0.15, 0.85, 3) * shape, rng.uniform(0.04, 0.16, 3) * shape
    squared, wave = [], []
    for axis, side in enumerate(sides):
        turned = [-1 if axis == other else 1 for other in range(3)]
        squared.append(_as_tensor(((side - centre[axis]) / radius[axis]) ** 2).reshape(turned))
        phase, length = rng.uniform(0, 2 * np.pi), rng.uniform(10, 40)
        wave.append(_as_tensor(np.sin(side * 2 * np.pi / length + phase)).reshape(turned))
    result = wave[0] * wave[1] * wave[2]
    if number > 0:
        result += ((1 - (squared[0] + squared[1] + squared[2])) * (STEEPNESS / 2)).clamp_(-REACH, REACH)
    return result


def _as_tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
