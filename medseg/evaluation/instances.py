"""Which lesions were found: components of the prediction matched to components of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.shapes.components import find_components

MATCHING = "any_overlap conn=26"


@dataclass(frozen=True)
class LesionMatch:
    """Which lesions of a reference and of a prediction belong together.

    Args:
        reference_count: lesions of the reference.
        prediction_count: lesions of the prediction.
        partners: for each lesion of the reference, largest first, the number of its lesion in the prediction, 0 where
            it was missed.
        dice: for each lesion of the reference, the Dice of the two components, 0 where it was missed.
    """

    reference_count: int
    prediction_count: int
    partners: tuple[int, ...]
    dice: tuple[float, ...]

    @property
    def found(self) -> int:
        """How many lesions of the reference have a partner (true positives)."""
        return sum(partner > 0 for partner in self.partners)


def match_lesions(prediction: NDArray[Any], reference: NDArray[Any]) -> LesionMatch:
    """Match the 26-connected components of two masks, each to one other at most, those sharing most voxels first.

    Sharing a voxel is enough to match. Two lesions that one predicted component covers count as one found and one
    missed; a lesion that was predicted in two pieces counts as one found and one false.

    Args:
        prediction: non-zero inside, (i, j, k).
        reference: the same grid.
    Returns:
        the matches; empty for an empty reference.
    """
    predicted, prediction_count = find_components(prediction)
    expected, reference_count = find_components(reference)
    shared = (predicted > 0) & (expected > 0)
    columns = prediction_count + 1
    joint = expected[shared].astype(np.int64) * columns + predicted[shared]
    pairs, voxels = np.unique(joint, return_counts=True)
    partners, dice, taken = [0] * reference_count, [0.0] * reference_count, set[int]()
    reference_sizes = np.bincount(expected.reshape(-1), minlength=reference_count + 1)
    prediction_sizes = np.bincount(predicted.reshape(-1), minlength=columns)
    for index in np.argsort(-voxels, kind="stable"):
        lesion, partner = divmod(int(pairs[index]), columns)
        if partners[lesion - 1] or partner in taken:
            continue
        taken.add(partner)
        partners[lesion - 1] = partner
        dice[lesion - 1] = float(2 * voxels[index] / (reference_sizes[lesion] + prediction_sizes[partner]))
    return LesionMatch(reference_count, prediction_count, tuple(partners), tuple(dice))


def measure_lesion_f1(match: LesionMatch) -> float | None:
    """The harmonic mean of lesion precision and recall, 0 to 1; None where neither mask has a lesion."""
    lesions = match.reference_count + match.prediction_count
    return 2 * match.found / lesions if lesions else None


def measure_lesion_precision(match: LesionMatch) -> float | None:
    """Which part of the predicted lesions is real, 0 to 1; None where none was predicted."""
    return match.found / match.prediction_count if match.prediction_count else None


def measure_lesion_recall(match: LesionMatch) -> float | None:
    """Which part of the real lesions was found, 0 to 1; None where there is none."""
    return match.found / match.reference_count if match.reference_count else None
