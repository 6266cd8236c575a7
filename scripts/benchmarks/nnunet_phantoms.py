"""Small made-up scans in nnU-Net's raw layout: ellipsoids inside one another, drawn from a seed."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
from nnunet_recipes import Recipe
from numpy.typing import NDArray
from PIL import Image

TRAINING_SCANS = 6
TEST_EXTENTS = (1.0, 0.9, 0.7)  # the last is smaller than the patch along some axis
RADII = (0.85, 0.64, 0.46, 0.3)  # of body, organ, lesion and core, in parts of half the scan
ORIENTATIONS = ("LPS", "RAS", "ASL", "LIP")
DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
TILT_DEGREES = 8.0  # about two of the patient's axes, so that no axis of a grid lies straight
# Intensities of outside, body, organ, lesion and core, per channel.
MR_LEVELS = ((20, 300, 500, 700, 950), (15, 420, 250, 800, 560), (30, 250, 620, 380, 900))
CT_LEVELS = (-1000, -80, 60, 160, 320)  # HU
MR_NOISE, CT_NOISE_HU = 40, 30
NO_NORM_SCALE = 1 / 300  # a channel that nnU-Net leaves as it is comes with numbers around 1
PICTURE_SCALE = 1 / 4  # to bytes


def write_raw_folder(recipe: Recipe, folder: Path) -> None:
    """Draw all scans of a model and write them with their ``dataset.json``.

    Args:
        recipe: the model's.
        folder: the raw data set's own; gets ``imagesTr``, ``labelsTr``, ``imagesTs`` and ``labelsTs``.
    """
    for number in range(TRAINING_SCANS + len(recipe.test_scales)):
        test = number - TRAINING_SCANS
        scale, extent = (recipe.test_scales[test], TEST_EXTENTS[test]) if test >= 0 else ((1.0, 1.0, 1.0), 1.0)
        is_picture = recipe.ending == ".png"
        spacing = np.array(recipe.spacing_mm) * (1.0 if is_picture else np.array(scale))
        extents = np.array(recipe.extent_mm) * np.where(np.array(recipe.extent_mm) > 1, extent, 1)
        jitter = np.random.default_rng([number, 1]).integers(-2, 3, 3) * (extents > 1)
        shape = np.maximum(1, np.rint(extents / spacing).astype(int) + jitter)
        image, labels = draw_scan(recipe, tuple(shape.tolist()), seed=number)
        kind = "Ts" if test >= 0 else "Tr"
        name = f"{recipe.name}_{number:03}"
        if is_picture:
            write_picture(folder / f"images{kind}" / f"{name}_0000.png", image)
            write_picture(folder / f"labels{kind}" / f"{name}.png", labels[None])
            continue
        affine = make_affine(spacing, ORIENTATIONS[number % len(ORIENTATIONS)])
        for channel, array in enumerate(image):
            write_nifti(folder / f"images{kind}" / f"{name}_{channel:04}.nii.gz", array, affine)
        write_nifti(folder / f"labels{kind}" / f"{name}.nii.gz", labels, affine)
    (folder / "dataset.json").write_text(json.dumps(describe(recipe), indent=1), "utf-8")


def describe(recipe: Recipe) -> dict:
    """The content of ``dataset.json``."""
    content: dict = {
        "channel_names": {str(index): name for index, name in enumerate(recipe.channels)},
        "labels": recipe.labels,
        "numTraining": TRAINING_SCANS,
        "file_ending": recipe.ending,
    }
    if any(isinstance(entry, list) for entry in recipe.labels.values()):
        content["regions_class_order"] = list(range(1, recipe.structures + 1))
    if recipe.reader is not None:
        content["overwrite_image_reader_writer"] = recipe.reader
    return content


def draw_scan(recipe: Recipe, shape: tuple[int, int, int], *, seed: int) -> tuple[NDArray, NDArray[np.uint8]]:
    """An image (channel, i, j, k) and its labels (i, j, k)."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in shape]
    places = np.meshgrid(*axes, indexing="ij")
    middle = rng.uniform(-0.1, 0.1, 3)
    depth = np.zeros(shape, np.uint8)
    for inner, radius in enumerate(RADII[: recipe.structures + 1]):
        radii = radius * rng.uniform(0.92, 1.08, 3)
        centre = middle if inner else 0 * middle
        inside = sum(((p - c) / r) ** 2 for p, c, r in zip(places, centre, radii, strict=True)) <= 1
        depth[inside] = inner + 1
    labels = np.maximum(depth, 1) - 1
    if "ignore" in recipe.labels:
        labels[..., -max(1, shape[2] // 8) :] = recipe.labels["ignore"]
    shading = 1 + 0.1 * places[0]
    image = np.stack([draw_channel(recipe, number, depth, shading, rng) for number in range(len(recipe.channels))])
    if recipe.zero_outside:
        image = np.where(depth > 0, np.maximum(image, 1), 0)
    return image.astype(choose_type(recipe)), labels


def draw_channel(
    recipe: Recipe, number: int, depth: NDArray[np.uint8], shading: NDArray, rng: np.random.Generator
) -> NDArray:
    """The intensities of one channel (i, j, k)."""
    name = recipe.channels[number]
    if name == "CT":
        return np.rint(np.array(CT_LEVELS)[depth] + rng.normal(0, CT_NOISE_HU, depth.shape))
    array = np.array(MR_LEVELS[number])[depth] * shading + rng.normal(0, MR_NOISE, depth.shape)
    if recipe.ending == ".png":
        return np.clip(np.rint(array * PICTURE_SCALE), 0, 255)
    return array * (NO_NORM_SCALE if name == "noNorm" else 1)


def choose_type(recipe: Recipe) -> type:
    """The type of the file's numbers."""
    if recipe.ending == ".png":
        return np.uint8
    return np.int16 if recipe.channels == ("CT",) else np.float32


def make_affine(spacing_mm: NDArray, orientation: str) -> NDArray[np.float64]:
    """From index to RAS+ millimetres: axes that run to ``orientation``, tilted a little."""
    angle = np.radians(TILT_DEGREES)
    c, s = np.cos(angle), np.sin(angle)
    tilt = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    axes = np.array([DIRECTIONS[letter] for letter in orientation], float).T
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes @ np.diag(spacing_mm)
    affine[:3, 3] = (-20, 35, 60)
    return affine


def write_nifti(path: Path, array: NDArray, affine: NDArray[np.float64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    nibabel.save(image, path)


def write_picture(path: Path, array: NDArray) -> None:
    """A picture from (channel, row, column, 1): grey for one channel, colours for three."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.moveaxis(array[..., 0], 0, -1)
    Image.fromarray(pixels[..., 0] if len(array) == 1 else pixels).save(path)
