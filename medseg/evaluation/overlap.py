"""How far two masks hold the same voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """Voxels by what the prediction and the reference say of them.

    Args:
        both: inside in both (true positives).
        prediction_only: inside in the prediction alone (false positives).
        reference_only: inside in the reference alone (false negatives).
        neither: outside in both (true negatives).
    """

    both: int
    prediction_only: int
    reference_only: int
    neither: int

    @property
    def prediction(self) -> int:
        """Voxels of the prediction."""
        return self.both + self.prediction_only

    @property
    def reference(self) -> int:
        """Voxels of the reference."""
        return self.both + self.reference_only


def measure_dice(counts: Counts) -> float | None:
    """Twice the shared voxels over the voxels of both masks, 0 to 1; None where both are empty."""
    return _divide(2 * counts.both, counts.prediction + counts.reference)


def measure_iou(counts: Counts) -> float | None:
    """The shared voxels over those of the masks' union (Jaccard), 0 to 1; None where both are empty."""
    return _divide(counts.both, counts.both + counts.prediction_only + counts.reference_only)


def average_iou(labels: Sequence[Counts]) -> float | None:
    """The mean of the labels' IoU, 0 to 1; labels that neither mask holds are left out; None where that is all."""
    known = [value for value in map(measure_iou, labels) if value is not None]
    return math.fsum(known) / len(known) if known else None


def measure_sensitivity(counts: Counts) -> float | None:
    """Which part of the reference was found (recall), 0 to 1; None where the reference is empty."""
    return _divide(counts.both, counts.reference)


def measure_precision(counts: Counts) -> float | None:
    """Which part of the prediction is right, 0 to 1; None where the prediction is empty."""
    return _divide(counts.both, counts.prediction)


def measure_specificity(counts: Counts) -> float | None:
    """Which part of the outside was left outside, 0 to 1 (it grows with the field of view); None without an outside."""
    return _divide(counts.neither, counts.neither + counts.prediction_only)


def measure_volume_similarity(counts: Counts) -> float | None:
    """How alike two masks' volumes are, wherever they lie.

    Args:
        counts: the masks' voxels.
    Returns:
        1 for equal volumes, 0 where one mask is empty, None where both are.
    Source: Taha and Hanbury, BMC Med Imaging 2015;15:29, equation 24.
    """
    difference = _divide(abs(counts.prediction - counts.reference), counts.prediction + counts.reference)
    return None if difference is None else 1.0 - difference


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None
