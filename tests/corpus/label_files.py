"""Label maps whose values stand for no label, and unusual ones that do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.corpus.entry import Build, Entry, accepted, refused
from tests.corpus.nifti_headers import header

MASK = ("mask",)


def values(change: Callable[[np.ndarray], np.ndarray], kind: Any = np.float32) -> Build:
    """A label map with other values, of another type."""

    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        changed = change(array.astype(np.float64)).astype(kind)
        nib.save(nib.Nifti1Image(changed, affine, dtype=changed.dtype), path)

    return build


def some(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """A few voxels of this value."""

    def change(array: np.ndarray) -> np.ndarray:
        array[3:6, 7, 5] = value
        return array

    return change


def bad(name: str, build: Build, codes: str, says: str = "") -> Entry:
    return refused(name, ".nii.gz", build, codes, says, roles=MASK)


def fine(name: str, build: Build) -> Entry:
    return accepted(name, ".nii.gz", build, roles=MASK)


LABEL_FILES: tuple[Entry, ...] = (
    bad("fractional_label", values(some(1.5)), "bad_label_values", "3 voxels have values not whole numbers: 1.5"),
    bad("nearly_whole_label", values(some(1.001)), "bad_label_values", "not whole numbers: 1.001"),
    bad("probabilities_as_labels", values(lambda a: a / 3), "bad_label_values", "not whole numbers"),
    bad("smoothed_labels", values(lambda a: (a + np.roll(a, 1, 0)) / 2), "bad_label_values", "0.5"),
    bad("negative_label", values(some(-1), np.int16), "bad_label_values", "outside 0 to 65535: -1"),
    bad("negative_zero_and_less", values(some(-0.25)), "bad_label_values", "-0.25"),
    bad("huge_label", values(some(70000), np.int32), "bad_label_values", "outside 0 to 65535: 70000"),
    bad("wrapped_label", values(some(2**32 + 1), np.int64), "bad_label_values bad_data_type"),
    bad("nan_label", values(some(np.nan)), "not_finite", "3 voxels are NaN"),
    bad("infinite_label", values(some(np.inf)), "not_finite", "3 infinite"),
    bad("unknown_label", values(some(7), np.uint8), "bad_label_values", "that no label has"),
    bad("labels_as_255", values(lambda a: (a > 0) * 255, np.uint8), "bad_label_values", "255"),
    bad("grey_values", values(lambda a: np.arange(a.size).reshape(a.shape) % 999, np.uint16), "bad_label_values"),
    bad("halved_by_scaling", header(scl_slope=0.5, scl_inter=0), "bad_label_values", "0.5"),
    bad("shifted_by_scaling", header(scl_slope=1, scl_inter=100), "bad_label_values", "100"),
    bad("one_hot", values(lambda a: np.stack([a == 0, a == 1, a == 2], -1), np.uint8), "four_dimensions"),
    fine("labels_float32", values(lambda a: a, np.float32)),
    fine("labels_float64", values(lambda a: a, np.float64)),
    fine("labels_int8", values(lambda a: a, np.int8)),
    fine("labels_int32", values(lambda a: a, np.int32)),
    fine("labels_uint16", values(lambda a: a, np.uint16)),
)
