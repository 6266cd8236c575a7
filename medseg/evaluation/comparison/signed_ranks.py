"""Two methods on the same patients: Wilcoxon's signed ranks, the Hodges-Lehmann shift, Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# With fewer patients no outcome at all reaches 5 % (five that all favour one method: 2 / 2^5 = 6 %), and no interval
# of the shift covers 95 %.
LEAST_PATIENTS = 6
# Up to so many the chance of each rank sum is counted, beyond that taken from the normal distribution.
MOST_COUNTED = 50
LEVEL = 0.05


@dataclass(frozen=True)
class Shift:
    """How much higher one method's values lie than another's.

    Args:
        estimate: the median of all pairwise means of the differences; None where that is infinite.
        low, high: its 95 % interval; may be infinite.
    """

    estimate: float | None
    low: float
    high: float


def find_chance(differences: NDArray[np.float64]) -> float:
    """The two-sided chance that signed ranks lie as far apart as these where neither method is better (Wilcoxon).

    Args:
        differences: one a patient; infinite ones are larger than any finite one and equal to one another.
    Returns:
        the p-value: counted over all signs up to ``MOST_COUNTED`` differences that are not 0, ties or not; from the
        normal distribution beyond. 1 where every difference is 0.
    Source: Wilcoxon, Biometrics Bulletin 1945;1:80-83; differences of 0 are ranked, then left out (Pratt, J Am Stat
        Assoc 1959;54:655-667).
    """
    from scipy.stats import rankdata, wilcoxon

    there = differences != 0
    if not there.any():
        return 1.0
    # Ranks in their place, for the difference of two infinite values is none.
    ranks = rankdata(np.abs(differences))
    if int(there.sum()) > MOST_COUNTED:
        signed = np.where(there, np.sign(differences) * ranks, 0.0)
        return float(wilcoxon(signed, zero_method="pratt", correction=False, method="asymptotic").pvalue)
    doubled = np.rint(2 * ranks[there]).astype(int)  # ties share ranks that end in .5
    chances = _count_sums(doubled)
    positive = int(doubled[differences[there] > 0].sum())
    return min(1.0, 2 * float(chances[: min(positive, int(doubled.sum()) - positive) + 1].sum()))


def estimate_shift(differences: NDArray[np.float64]) -> Shift:
    """The Hodges-Lehmann shift with its 95 % interval.

    Args:
        differences: one a patient, at least ``LEAST_PATIENTS``; infinite ones are larger than any finite one.
    Returns:
        the median of the means of all pairs of differences (each with itself too), and the interval that those whose
        rank the signed-rank test does not refuse span; a bound may be infinite, the estimate then is None where it is.
    Source: Hodges and Lehmann, Ann Math Stat 1963;34:598-611; Hollander, Wolfe and Chicken, Nonparametric Statistical
        Methods, 3rd edition 2014, sections 3.2 and 3.3.
    """
    largest = float(np.abs(differences[np.isfinite(differences)]).max(initial=0.0))
    # So far out that a mean with an infinite difference lies beyond every finite one, and one of both signs at 0.
    far = 4 * largest + 1
    bounded = np.where(np.isfinite(differences), differences, np.sign(differences) * far)
    first, second = np.triu_indices(bounded.size)
    means = (bounded[first] + bounded[second]) / 2
    steps = _find_steps(bounded.size)
    places = [steps - 1, (means.size - 1) // 2, means.size // 2, means.size - steps]
    lowest, *middle, highest = np.partition(means, places)[places]
    estimate = float(sum(middle) / 2) if max(map(abs, middle)) <= largest else None
    low, high = (
        float(value) if abs(value) <= largest else math.copysign(math.inf, value) for value in (lowest, highest)
    )
    return Shift(estimate, low, high)


def correct_holm(chances: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number, so that the chance of any false finding stays at the level.

    Args:
        chances: of one family of tests; None where there was no test, which does not count.
    Returns:
        the corrected ones in the same order, at most 1.
    Source: Holm, Scand J Stat 1979;6:65-70.
    """
    known = sorted((chance, place) for place, chance in enumerate(chances) if chance is not None)
    corrected: list[float | None] = [None] * len(chances)
    highest = 0.0
    for rank, (chance, place) in enumerate(known):
        highest = max(highest, min(1.0, chance * (len(known) - rank)))
        corrected[place] = highest
    return corrected


def _count_sums(sizes: NDArray[np.int_]) -> NDArray[np.float64]:
    """The chance of each sum, from 0 up, where every size counts with a chance of one half."""
    chances = np.zeros(int(sizes.sum()) + 1)
    chances[0] = 1.0
    for size in sizes:
        shifted = np.zeros_like(chances)
        shifted[size:] = chances[: chances.size - size]
        chances = (chances + shifted) / 2
    return chances


def _find_steps(count: int) -> int:
    """Which mean from either end bounds the interval, counted from 1."""
    if count <= MOST_COUNTED:
        below = np.cumsum(_count_sums(np.arange(1, count + 1)))
        return max(1, int(np.searchsorted(below, LEVEL / 2)))
    mean, variance = count * (count + 1) / 4, count * (count + 1) * (2 * count + 1) / 24
    return int(mean - 1.959963984540054 * math.sqrt(variance) + 0.5)
