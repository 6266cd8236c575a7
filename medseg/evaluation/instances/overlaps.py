"""Which components of two masks share voxels, and how many: all that matching needs to know."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.shapes.components import find_components

Connectivity = Literal[6, 18, 26]
SLAB_VOXELS = 1 << 21  # counted at once: what a scan needs besides its numbered lesions stays small


@dataclass(frozen=True, eq=False)
class LesionOverlaps:
    """The lesions of a reference and of a prediction, and those pairs that share voxels.

    Args:
        reference_voxels: size of each lesion of the reference, largest first.
        prediction_voxels: size of each lesion of the prediction, largest first.
        references: for each pair that shares voxels, its lesion of the reference, counted from 0.
        predictions: for each such pair, its lesion of the prediction, counted from 0.
        shared_voxels: for each such pair, how many voxels.
    """

    reference_voxels: NDArray[np.int64]
    prediction_voxels: NDArray[np.int64]
    references: NDArray[np.int64]
    predictions: NDArray[np.int64]
    shared_voxels: NDArray[np.int64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """The intersection over union of each pair, above 0 up to 1."""
        union = self.reference_voxels[self.references] + self.prediction_voxels[self.predictions] - self.shared_voxels
        return np.asarray(self.shared_voxels / union)


def overlap_lesions(
    prediction: NDArray[Any], reference: NDArray[Any], *, connectivity: Connectivity = 26
) -> LesionOverlaps:
    """The connected components of two masks and what they share.

    Args:
        prediction: non-zero inside, (i, j, k).
        reference: the same grid.
        connectivity: how many neighbours a voxel has.
    Returns:
        their sizes and the pairs that share voxels, ordered by lesion of the reference, then of the prediction.
    """
    predicted, prediction_count = find_components(prediction, connectivity=connectivity)
    expected, reference_count = find_components(reference, connectivity=connectivity)
    return count_overlaps(predicted, prediction_count, expected, reference_count)


def count_overlaps(
    predicted: NDArray[Any], prediction_count: int, expected: NDArray[Any], reference_count: int
) -> LesionOverlaps:
    """As ``overlap_lesions``, for lesions that are numbered already.

    Args:
        predicted: the lesion of each voxel of the prediction, 1 to ``prediction_count``, 0 outside, (i, j, k).
        prediction_count: how many there are.
        expected: the same of the reference.
        reference_count: how many there are.
    Returns:
        the sizes and the pairs; a number that no voxel has is a lesion of 0 voxels.
    """
    columns = prediction_count + 1
    reference_voxels, prediction_voxels = np.zeros(reference_count + 1, np.int64), np.zeros(columns, np.int64)
    joint: Counter[int] = Counter()
    rows = max(1, SLAB_VOXELS // max(1, predicted[:1].size))
    for start in range(0, predicted.shape[0], rows):
        found, real = predicted[start : start + rows], expected[start : start + rows]
        inside, lesion = found > 0, real > 0
        prediction_voxels += np.bincount(found[inside], minlength=columns)
        reference_voxels += np.bincount(real[lesion], minlength=reference_count + 1)
        inside &= lesion
        numbers, voxels = np.unique(real[inside].astype(np.int64) * columns + found[inside], return_counts=True)
        joint.update(dict(zip(numbers.tolist(), voxels.tolist(), strict=True)))
    pairs = np.array(sorted(joint), np.int64)
    return LesionOverlaps(
        reference_voxels[1:],
        prediction_voxels[1:],
        pairs // columns - 1,
        pairs % columns - 1,
        np.array([joint[pair] for pair in pairs.tolist()], np.int64),
    )
