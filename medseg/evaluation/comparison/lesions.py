"""Two methods on the same patients' lesions: patients are what is drawn, each with all of their lesions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from medseg.core.patients import SEED, bound_resamples, draw_patients

# Up to so many patients all exchanges are gone through (2^12 = 4096), beyond that so many are drawn.
MOST_COUNTED = 12
EXCHANGES, PARTS = 9999, 9  # in so many parts, for of thousands of patients they fill the memory
# Of resamplings in which a method has no lesion there is no mean; an interval from few others would not be one.
LEAST_KNOWN = 0.95


@dataclass(frozen=True, eq=False)
class LesionSums:
    """What each patient's lesions add up to in one method.

    Args:
        sums: of the lesions' values, one a patient.
        counts: of the lesions, one a patient.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def mean(self) -> float | None:
        """Over all lesions of all patients; None without any."""
        return float(self.sums.sum() / self.counts.sum()) if self.counts.any() else None


@dataclass(frozen=True)
class LesionDifference:
    """How much higher the mean over lesions is in the second method.

    Args:
        difference: of the means.
        low, high: its 95 % interval; None where too many resamplings have no lesion in one of the methods.
        chance: the two-sided chance of so large a difference where neither method is better.
    """

    difference: float
    low: float | None
    high: float | None
    chance: float


def compare_lesions(first: LesionSums, second: LesionSums) -> LesionDifference | None:
    """The difference of two methods' means over lesions, with an interval and a test that have patients as units.

    Args:
        first, second: of the same patients in the same order.
    Returns:
        the difference (second minus first), its interval from resampling patients with all their lesions, and the
        chance of it from exchanging the methods within patients, all ways or ``EXCHANGES`` drawn ones; None where a
        method has no lesion at all.
    Source: Davison and Hinkley, Bootstrap Methods and their Application 1997, section 3.8; exchanges: Phipson and
        Smyth, Stat Appl Genet Mol Biol 2010;9:39 (one is added, so that a chance is never 0).
    """
    if first.mean is None or second.mean is None:
        return None
    difference = second.mean - first.mean
    times = draw_patients(first.sums.size)
    with np.errstate(invalid="ignore"):
        drawn = (times @ second.sums) / (times @ second.counts) - (times @ first.sums) / (times @ first.counts)
    known = drawn[np.isfinite(drawn)]
    low, high = (None, None) if known.size < LEAST_KNOWN * drawn.size else bound_resamples(known, first.sums.size)
    return LesionDifference(difference, low, high, _find_chance(first, second, difference))


def _find_chance(first: LesionSums, second: LesionSums, difference: float) -> float:
    change = np.stack([second.sums - first.sums, second.counts - first.counts], axis=1)
    moved, counted = _exchange(change)
    with np.errstate(invalid="ignore"):
        after = (second.sums.sum() - moved[:, 0]) / (second.counts.sum() - moved[:, 1])
        before = (first.sums.sum() + moved[:, 0]) / (first.counts.sum() + moved[:, 1])
        # Where a method is left without a lesion there is no difference; that exchange counts as one as large.
        as_large = int(np.sum(~(np.abs(after - before) < abs(difference) - 1e-12)))
    return as_large / len(moved) if counted else (as_large + 1) / (len(moved) + 1)


def _exchange(change: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """What each exchange of methods moves, (exchange, 2), and whether these are all exchanges that there are.

    Args:
        change: what exchanging each patient moves, (patient, 2).
    """
    count = len(change)
    if count <= MOST_COUNTED:
        return np.array(list(product((0.0, 1.0), repeat=count))) @ change, True
    rng = np.random.default_rng(SEED)
    parts = [rng.integers(0, 2, (EXCHANGES // PARTS, count)) @ change for _ in range(PARTS)]
    return np.concatenate(parts), False
