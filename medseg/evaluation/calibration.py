"""Whether probabilities can be believed: of voxels said to be 70 % tumour, are 70 % tumour?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError

BINS = 15  # as in Guo et al., ICML 2017
SLAB_VOXELS = 1 << 20
# float32 cannot tell a probability closer to 1 from 1, whose logarithm's loss would be infinite.
LEAST_PROBABILITY = 1e-7
SLACK = 1e-3  # by which rounding may push a stored probability beyond 0 or 1


@dataclass(frozen=True, eq=False)
class Reliability:
    """Voxels by their probability; those of several scans add up.

    Args:
        voxels: how many lie in each of equally wide bins of probability.
        probability_sums: their probabilities, added.
        positives: how many of them belong to the label.
        squared_error: of all voxels, (probability - truth) squared, added.
        log_loss: of all voxels, minus the logarithm of the probability given to the truth, added.
    """

    voxels: NDArray[np.int64]
    probability_sums: NDArray[np.float64]
    positives: NDArray[np.int64]
    squared_error: float
    log_loss: float

    @property
    def count(self) -> int:
        """All voxels."""
        return int(self.voxels.sum())


@dataclass(frozen=True)
class ReliabilityRow:
    """A bin of a reliability table; ``mean_probability`` and ``observed`` are None where it holds no voxel."""

    low: float
    high: float
    voxels: int
    mean_probability: float | None
    observed: float | None


def bin_probabilities(
    probability: NDArray[Any], reference: NDArray[Any], *, counted: NDArray[np.bool_] | None = None, bins: int = BINS
) -> Reliability:
    """Sort the voxels of a scan by a label's probability.

    Args:
        probability: of the label, 0 to 1, any shape.
        reference: non-zero where the label is, the same shape.
        counted: which voxels count; all where None.
        bins: how many, each as wide; 1 itself lies in the last.
    Returns:
        what calibration is worked out from.
    Raises:
        DatasetError: a value is not a probability.
    """
    voxels, positives, sums = np.zeros(bins, np.int64), np.zeros(bins, np.int64), np.zeros(bins)
    squared_error = log_loss = 0.0
    rows = max(1, SLAB_VOXELS // max(1, probability[:1].size))
    for start in range(0, probability.shape[0], rows):
        part = slice(start, start + rows)
        inside = ... if counted is None else counted[part]
        p, truth = probability[part][inside].reshape(-1).astype(np.float64), reference[part][inside].reshape(-1) != 0
        if not np.all((p >= -SLACK) & (p <= 1 + SLACK)):  # not-a-number fails too
            raise DatasetError("values that are no probabilities, 0 to 1", code="bad_probabilities")
        p = np.clip(p, 0.0, 1.0)
        bin_of = np.minimum((p * bins).astype(np.int64), bins - 1)
        voxels += np.bincount(bin_of, minlength=bins)
        positives += np.bincount(bin_of[truth], minlength=bins)
        sums += np.bincount(bin_of, p, bins)
        squared_error += float(np.sum((p - truth) ** 2))
        log_loss -= float(np.sum(np.log(np.maximum(np.where(truth, p, 1.0 - p), LEAST_PROBABILITY))))
    return Reliability(voxels, sums, positives, squared_error, log_loss)


def pool_reliability(parts: Sequence[Reliability]) -> Reliability:
    """The voxels of several scans together.

    Args:
        parts: of each scan, with the same bins; one at least.
    Returns:
        their sum.
    """
    return Reliability(
        np.sum([part.voxels for part in parts], axis=0),
        np.sum([part.probability_sums for part in parts], axis=0),
        np.sum([part.positives for part in parts], axis=0),
        sum(part.squared_error for part in parts),
        sum(part.log_loss for part in parts),
    )


def measure_ece(reliability: Reliability) -> float | None:
    """The expected calibration error: how far each bin's mean probability is from what was observed, by its voxels.

    Args:
        reliability: of a label, over all voxels; where most are surely outside, the value is small.
    Returns:
        0 (calibrated) to 1; None without voxels.
    Source: Naeini et al., AAAI 2015, pages 2901-2907; of one label's probability (classwise: Kull et al., NeurIPS
        2019).
    """
    gaps = np.abs(reliability.probability_sums - reliability.positives)
    return float(gaps.sum() / reliability.count) if reliability.count else None


def measure_ace(reliability: Reliability) -> float | None:
    """The average calibration error: as ECE, but each bin that holds a voxel counts the same.

    Args:
        reliability: of a label; the many voxels outside it fill one bin alone, so that they don't hide the others.
    Returns:
        0 (calibrated) to 1; None without voxels.
    Source: Neumann, Zisserman and Vedaldi, NeurIPS 2018 workshop on machine learning for intelligent transportation.
    """
    filled = reliability.voxels > 0
    if not filled.any():
        return None
    gaps = np.abs(reliability.probability_sums - reliability.positives)[filled] / reliability.voxels[filled]
    return float(gaps.mean())


def measure_brier(reliability: Reliability) -> float | None:
    """The Brier score: the mean squared difference of probability and truth, 0 (best) to 1; None without voxels.

    Source: Brier, Mon Weather Rev 1950;78:1-3, of one label against all else.
    """
    return reliability.squared_error / reliability.count if reliability.count else None


def measure_nll(reliability: Reliability) -> float | None:
    """The negative log-likelihood a voxel, nats, 0 (best) and up; None without voxels.

    Probabilities of the truth below 1e-7 count as 1e-7.
    """
    return reliability.log_loss / reliability.count if reliability.count else None


def tabulate_reliability(reliability: Reliability) -> list[ReliabilityRow]:
    """The reliability table: for each bin its voxels, their mean probability and the part that belongs to the label."""
    edges = np.linspace(0.0, 1.0, reliability.voxels.size + 1).tolist()
    return [
        ReliabilityRow(low, high, count, total / count if count else None, hits / count if count else None)
        for low, high, count, total, hits in zip(
            edges[:-1], edges[1:], reliability.voxels.tolist(), reliability.probability_sums.tolist(),
            reliability.positives.tolist(), strict=True,
        )
    ]  # fmt: skip
