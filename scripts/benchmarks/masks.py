"""Comparing folders of masks, ``CASE.nii.gz``, with numpy and nibabel alone."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray


def read_mask(path: Path) -> NDArray:
    """The label map of a file."""
    return np.asarray(nibabel.load(path).dataobj)


def count_differing(masks: Path, others: Path) -> tuple[int, int, int]:
    """How many voxels of two folders' masks differ.

    Args:
        masks, others: folders with the same cases; a case that only one has ends the benchmark.
    Returns:
        differing voxels, all voxels and cases. A mask on another grid differs in all its voxels.
    """
    names = [sorted(path.name for path in folder.glob("*.nii.gz")) for folder in (masks, others)]
    if names[0] != names[1] or not names[0]:
        raise SystemExit(f"{masks} and {others} hold other cases: {names[0]} and {names[1]}")
    differing = total = 0
    for name in names[0]:
        a, b = nibabel.load(masks / name), nibabel.load(others / name)
        same_grid = a.shape == b.shape and np.allclose(a.affine, b.affine, atol=1e-3)
        size = int(np.prod(b.shape))
        unequal = read_mask(masks / name) != read_mask(others / name) if same_grid else np.ones(size, bool)
        differing, total = differing + int(np.count_nonzero(unequal)), total + size
    return differing, total, len(names[0])


def score_folder(masks: Path, references: Path) -> list[float]:
    """The Dice of each case of a folder, mean over the labels that either mask holds; 1 where both are empty."""
    return [score_mask(read_mask(path), read_mask(references / path.name)) for path in sorted(masks.glob("*.nii.gz"))]


def score_mask(mask: NDArray, reference: NDArray) -> float:
    values = (set(np.unique(mask).tolist()) | set(np.unique(reference).tolist())) - {0}
    pairs = [(mask == value, reference == value) for value in values]
    return float(np.mean([2 * np.sum(a & b) / (np.sum(a) + np.sum(b)) for a, b in pairs])) if pairs else 1.0
