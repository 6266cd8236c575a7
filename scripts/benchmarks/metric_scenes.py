"""Pairs of label maps to score: drawn, or real references with predictions that are wrong in a known way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CT_SHAPE, CT_SPACING_MM = (512, 512, 300), (0.8, 0.8, 1.0)
LESION_RADIUS, ORGAN_RADIUS = 9.0, 62.0  # voxels: about 3000 and a million of them
CLASSES = 10


@dataclass(frozen=True, eq=False)
class Scene:
    """Label maps, (i, j, k), with the labels 1 to ``labels``."""

    name: str
    prediction: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    labels: int = 1

    @property
    def values(self) -> range:
        """The labels' values."""
        return range(1, self.labels + 1)


def draw_lesion() -> Scene:
    """A lesion of about 3000 voxels in a CT."""
    maps = [_place(_draw_blob(LESION_RADIUS, 0.6, seed), (300, 180, 140)) for seed in (1, 2)]
    return Scene("lesion in a CT", maps[0], maps[1], CT_SPACING_MM)


def draw_organ(*, whole_scan: bool) -> Scene:
    """An organ of about a million voxels, in a CT or in a box a little larger than itself."""
    blobs = [_draw_blob(ORGAN_RADIUS, 2.0, seed) for seed in (3, 4)]
    if not whole_scan:
        return Scene("organ in its box", blobs[0], blobs[1], CT_SPACING_MM)
    maps = [_place(blob, (150, 200, 80)) for blob in blobs]
    return Scene("organ in a CT", maps[0], maps[1], CT_SPACING_MM)


def draw_classes() -> Scene:
    """Ten balls of different size in 128^3; of the prediction each is moved a little."""
    rng = np.random.default_rng(5)
    maps = [np.zeros((128, 128, 128), np.uint8) for _ in range(2)]
    centres = [(32 + 64 * (n % 2), 32 + 64 * (n // 2 % 2), 14 + 25 * (n // 4) + 12 * (n % 4)) for n in range(CLASSES)]
    for n, centre in enumerate(centres):
        radius = rng.uniform(8, 22)
        for array, shift in zip(maps, (rng.uniform(-1.5, 1.5, 3), np.zeros(3)), strict=True):
            array[_ball(array.shape, np.add(centre, shift), radius)] = n + 1
    return Scene("10 classes in 128^3", maps[0], maps[1], (1.0, 1.0, 1.0), CLASSES)


def write_predictions(references: Sequence[Path], predictions: Path, copies: Path) -> None:
    """Copy reference masks and write predictions for them: moved by a voxel, and eaten at one voxel in ten.

    Args:
        references: NIfTI label maps.
        predictions: the folder for the predictions, made here.
        copies: the folder for the references, made here.
    """
    for folder in (predictions, copies):
        folder.mkdir()
    rng = np.random.default_rng(6)
    for path in references:
        image = nibabel.load(path)
        array = np.asarray(image.dataobj).astype(np.uint8)
        moved = np.roll(array, 1, axis=int(rng.integers(3))) * (rng.random(array.shape) < 0.9)
        nibabel.save(nibabel.Nifti1Image(array, image.affine), copies / path.name)
        nibabel.save(nibabel.Nifti1Image(moved.astype(np.uint8), image.affine), predictions / path.name)


def _draw_blob(radius: float, roughness: float, seed: int) -> NDArray[np.uint8]:
    """A ball whose surface goes smoothly up and down by ``roughness`` voxels (one standard deviation)."""
    size = int(2 * (radius + 4 * roughness)) + 3
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((size,) * 3), max(2.0, radius / 8))
    steps = np.arange(size) - (size - 1) / 2
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(steps, steps, steps, indexing="ij", sparse=True)))
    return (distance + noise / noise.std() * roughness < radius).astype(np.uint8)


def _place(blob: NDArray[np.uint8], corner: tuple[int, int, int]) -> NDArray[np.uint8]:
    scan = np.full(CT_SHAPE, 0, np.uint8)  # written, not only reserved: an untouched page costs nothing to read
    scan[tuple(slice(start, start + n) for start, n in zip(corner, blob.shape, strict=True))] = blob
    return scan


def _ball(shape: tuple[int, ...], centre: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    return np.asarray(sum((x - c) ** 2 for x, c in zip(grid, centre, strict=True)) < radius**2)
