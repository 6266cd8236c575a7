"""Patients are what chance draws: intervals come from drawing them again, each with all of their cases and lesions."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 12345
# Of fewer, even the lowest and the highest mean that can be drawn leave out the truth too often: with four patients of
# a symmetric quantity in one study of eight (2 / 2^4).
LEAST_PATIENTS = 5


@functools.lru_cache(maxsize=4)
def draw_patients(count: int) -> NDArray[np.float64]:
    """How often each patient is drawn in each resampling, the same at every call.

    Args:
        count: how many patients there are; as many are drawn, with replacement.
    Returns:
        (resampling, patient), whole numbers.
    """
    times = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)
    times.setflags(write=False)  # it is shared
    return times


def bound_resamples(values: NDArray[np.float64], count: int) -> tuple[float, float]:
    """The 95 % interval of a quantity that was worked out for each resampling.

    Args:
        values: one a resampling, finite.
        count: how many patients were drawn from.
    Returns:
        the lower and the upper bound: percentiles, further out the fewer patients there are, so that the interval of a
        mean is as wide as Student's.
    Source: Hesterberg, Am Stat 2015;69:371-386, "expanded percentile interval".
    """
    from scipy.special import ndtr, stdtrit

    level = float(ndtr(-math.sqrt(count / (count - 1)) * stdtrit(count - 1, 0.975)))
    low, high = np.quantile(values, (level, 1 - level))
    return float(low), float(high)


def bound_mean(values: Iterable[tuple[str, float]]) -> tuple[float | None, float | None]:
    """The 95 % interval of a mean over cases.

    Args:
        values: patient and value of each case, finite.
    Returns:
        the lower and the upper bound, whatever the order of the cases; None below ``LEAST_PATIENTS`` patients.
    """
    by_patient: dict[str, list[float]] = defaultdict(list)
    for patient, value in values:
        by_patient[patient].append(value)
    if len(by_patient) < LEAST_PATIENTS:
        return None, None
    groups = [by_patient[patient] for patient in sorted(by_patient)]
    sums, counts = np.array([math.fsum(group) for group in groups]), np.array([len(group) for group in groups])
    times = draw_patients(len(groups))
    return bound_resamples((times @ sums) / (times @ counts), len(groups))
