"""Lesions of known size planted in real scans, so that small ones can be counted.

An ellipsoid with a smooth edge takes the signal of a lesion that enhances: from a little below fat's to well above it,
some of the tissue's own texture kept. In muscle it looks like a strand of fat, in fat it may hardly stand out, and
voxels as large as a small lesion mix its signal with what is around it. Sizes are drawn evenly on a logarithmic scale,
so that each volume stratum has its share. Lesions lie inside the body, apart from one another and from the patient's
own tumour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

VOLUME_ML = (0.05, 2.0)
SCANS_WITHOUT = 0.15  # share of scans that get none
MEAN_COUNT = 10.0
MUSCLE_PERCENTILE, FAT_PERCENTILE = 35, 92  # of a limb's T1 signal inside the body
SIGNAL = (0.8, 1.5)  # of a lesion, 0 is muscle's and 1 is fat's
KEPT_TEXTURE = 0.3
STRETCH = 0.25  # sd of the logarithm of an axis's length
EDGE_MM = 0.5  # over which a lesion fades
GAP_MM = 4.0  # to the tumour and between lesions
SKIN_MM = 2.0
RIM_MM = 2.0  # beyond a lesion, for its edge
SUBVOXELS = (5, 5, 9)  # per axis of a voxel, whose third one is the longest
TRIES = 200  # per lesion, until it is given up
LESION, TUMOUR = 1, 2
LABELS = {"lesion": LESION, "tumour": TUMOUR}


@dataclass(frozen=True)
class Ellipsoid:
    """A lesion's place and form: ``axes_mm`` are its half axes along the columns of ``rotation``."""

    centre_mm: NDArray[np.float64]
    axes_mm: NDArray[np.float64]
    rotation: NDArray[np.float64]

    @property
    def reach_mm(self) -> float:
        """From the centre to the farthest point."""
        return float(self.axes_mm.max())


def plant_data_set(source: Path, target: Path, cases: Sequence[str], seed: int) -> dict[str, int]:
    """Write scans with planted lesions and their masks as two folders.

    Args:
        source: with ``images/CASE.nii.gz`` and ``masks/CASE.nii.gz`` of tumours.
        target: gets ``images`` and ``masks`` of lesion 1 and tumour 2.
        cases: which.
        seed: a case's lesions depend on it and on the case's place in ``cases``.
    Returns:
        how many lesions each case has.
    """
    import nibabel

    for folder in ("images", "masks"):
        (target / folder).mkdir(parents=True, exist_ok=True)

    def plant(index: int, case: str) -> int:
        image = nibabel.load(source / "images" / f"{case}.nii.gz")
        tumour = np.asarray(nibabel.load(source / "masks" / f"{case}.nii.gz").dataobj) > 0
        spacing = [float(step) for step in image.header.get_zooms()[:3]]
        rng = np.random.default_rng([seed, index])
        planted, labels = plant_lesions(np.asarray(image.dataobj, np.float32), tumour, spacing, rng)
        for folder, array in (("images", planted), ("masks", labels)):
            nibabel.save(nibabel.Nifti1Image(array, image.affine), target / folder / f"{case}.nii.gz")
        return int(ndimage.label(labels == LESION, np.ones((3, 3, 3)))[1])

    with ThreadPoolExecutor() as pool:
        return dict(zip(cases, pool.map(plant, range(len(cases)), cases), strict=True))


def plant_lesions(
    image: NDArray[np.float32], tumour: NDArray[np.bool_], spacing_mm: Sequence[float], rng: np.random.Generator
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """A scan with lesions, and its label map.

    Args:
        image: MR intensities, (i, j, k).
        tumour: the patient's own.
        spacing_mm: of the voxels.
        rng: decides everything.
    Returns:
        the image, and labels: 1 lesions, 2 the tumour.
    """
    body = find_body(image, spacing_mm)
    depth_mm = ndimage.distance_transform_edt(body, spacing_mm) - SKIN_MM
    if tumour.any():
        depth_mm = np.minimum(depth_mm, ndimage.distance_transform_edt(~tumour, spacing_mm) - GAP_MM)
    muscle, fat = np.percentile(image[body], [MUSCLE_PERCENTILE, FAT_PERCENTILE])
    planted, labels = image.copy(), np.where(tumour, TUMOUR, 0).astype(np.uint8)
    count = 0 if rng.random() < SCANS_WITHOUT else 1 + rng.poisson(MEAN_COUNT - 1)
    placed: list[Ellipsoid] = []
    for _ in range(count):
        lesion = _draw_lesion(depth_mm, spacing_mm, placed, rng)
        level = muscle + (fat - muscle) * rng.uniform(*SIGNAL)
        if lesion is None:
            continue
        placed.append(lesion)
        box = _bound(lesion, spacing_mm, image.shape)
        share = fill_ellipsoid(lesion, spacing_mm, box)
        tissue = planted[box]
        inside = level + KEPT_TEXTURE * (tissue - np.average(tissue, weights=share))
        planted[box] = tissue + share * (inside - tissue)
        labels[box][share >= 0.5] = LESION
    return np.clip(np.rint(planted), -32768, 32767).astype(np.int16), labels


def find_body(image: NDArray[np.float32], spacing_mm: Sequence[float]) -> NDArray[np.bool_]:
    """Where a T1 scan shows soft tissue or fat: not air, nor the dark of cortical bone."""
    smooth = ndimage.gaussian_filter(image, [2.0 / step for step in spacing_mm])
    return np.asarray(smooth > 0.2 * np.percentile(image, 95))


def _draw_lesion(
    depth_mm: NDArray[np.float64], spacing_mm: Sequence[float], placed: Sequence[Ellipsoid], rng: np.random.Generator
) -> Ellipsoid | None:
    """A lesion with room around it; None where there is none."""
    volume_mm3 = 1000 * math.exp(rng.uniform(*np.log(VOLUME_ML)))
    first, second = rng.normal(0, STRETCH, 2)
    ratios = np.exp([first, second, -first - second])
    axes = ratios * (3 * volume_mm3 / (4 * math.pi)) ** (1 / 3)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    room = np.flatnonzero(depth_mm > axes.max())
    for _ in range(TRIES if len(room) else 0):
        voxel = np.unravel_index(room[rng.integers(len(room))], depth_mm.shape)
        centre = (np.array(voxel) + rng.uniform(-0.5, 0.5, 3)) * spacing_mm
        lesion = Ellipsoid(centre, axes, rotation)
        gaps = (np.linalg.norm(centre - p.centre_mm) - p.reach_mm - lesion.reach_mm for p in placed)
        if all(gap > GAP_MM for gap in gaps):
            return lesion
    return None


def _bound(lesion: Ellipsoid, spacing_mm: Sequence[float], shape: Sequence[int]) -> tuple[slice, ...]:
    reach = lesion.reach_mm + RIM_MM
    return tuple(
        slice(max(0, math.floor((at - reach) / step)), min(size, math.ceil((at + reach) / step) + 1))
        for at, step, size in zip(lesion.centre_mm, spacing_mm, shape, strict=True)
    )


def fill_ellipsoid(lesion: Ellipsoid, spacing_mm: Sequence[float], box: Sequence[slice]) -> NDArray[np.float64]:
    """How much of each voxel of a box a lesion fills, 0 to 1, its fading edge counted in part."""
    places = [
        ((np.arange(span.start * parts, span.stop * parts) + 0.5) / parts - 0.5) * step - at
        for span, parts, step, at in zip(box, SUBVOXELS, spacing_mm, lesion.centre_mm, strict=True)
    ]
    grid = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1)
    radius = np.linalg.norm(grid @ lesion.rotation / lesion.axes_mm, axis=-1)
    mean_axis = float(np.prod(lesion.axes_mm)) ** (1 / 3)
    inside = 1 / (1 + np.exp(np.clip((radius - 1) * mean_axis / (EDGE_MM / 4), -50, 50)))
    shape = [size for span, parts in zip(box, SUBVOXELS, strict=True) for size in (span.stop - span.start, parts)]
    return np.asarray(inside.reshape(shape).mean(axis=(1, 3, 5)))
