"""One bad or unusual data set: how it is built from a sound one, and what ``medseg check`` must say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.end_to_end.scans import write_scan

NAMED = ("--channels", "CT", "--labels", "organ=1,tumour=2")
GOOD = ("good_1", "good_2", "good_3")


@dataclass(frozen=True)
class DataSet:
    """A data set with a fault.

    Args:
        name: unique.
        build: changes a sound data set, ``images`` and ``masks`` of the cases ``GOOD``, in the folder it is given.
        refused: case to the code with which ``check`` refuses it, in one line.
        doubted: case to the code of the warning with which it is used.
        says: what the lines or the result must hold besides.
        ends: the exit code; 0, or 3 where a case is refused, if None.
        cases: how many can be used; not looked at where None.
        words: of the command line.
        opened: what in the folder is the data set; the folder itself where empty.
    """

    name: str
    build: Callable[[Path], None]
    refused: Mapping[str, str] = field(default_factory=dict)
    doubted: Mapping[str, str] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    ends: int | None = None
    cases: int | None = 3
    words: tuple[str, ...] = NAMED
    opened: str = ""


def write_sound(root: Path) -> None:
    """Three cases in two folders."""
    for seed, name in enumerate(GOOD, start=1):
        write_scan(image(root, name), mask(root, name), seed)


def image(root: Path, case: str, ending: str = ".nii.gz") -> Path:
    return root / "images" / f"{case}{ending}"


def mask(root: Path, case: str, ending: str = ".nii.gz") -> Path:
    return root / "masks" / f"{case}{ending}"


def add_case(root: Path, name: str, seed: int = 7) -> None:
    """A further sound case."""
    write_scan(image(root, name), mask(root, name), seed)


def change_file(
    path: Path,
    array: Callable[[np.ndarray], np.ndarray] | None = None,
    affine: Callable[[np.ndarray], np.ndarray] | None = None,
    target: Path | None = None,
) -> None:
    """Write a NIfTI file anew with another array or affine, or under another name."""
    read = nib.load(path)
    voxels, grid = np.asarray(read.dataobj), read.affine.copy()
    voxels = voxels if array is None else np.ascontiguousarray(array(voxels))
    nib.save(nib.Nifti1Image(voxels, grid if affine is None else affine(grid), dtype=voxels.dtype), target or path)
