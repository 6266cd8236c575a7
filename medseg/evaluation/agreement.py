"""How well two ways of measuring the same thing agree, such as predicted and reference volumes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.results import Score
from medseg.evaluation.reliability import NORMAL, measure_ccc, measure_icc

PREDICTED, REFERENCE = "predicted_volume_ml", "reference_volume_ml"
# A standard deviation of fewer says nothing: with three patients its interval reaches from half to six times.
LEAST_PATIENTS = 4
# Beyond it a ratio is no floating-point number any more.
LARGEST_LOG = 700.0
# Below this chance (Spearman's rank correlation of size and absolute difference) differences are said to grow.
GROWTH_LEVEL = 0.05

TREATMENT = (
    "Differences are prediction minus reference. Bias and 95 % limits of agreement with their 95 % intervals: Bland "
    "and Altman 1999, of patients with several scans from variance components (Zou 2013). 'ratio' holds the same of "
    "the ratio prediction / reference, over cases where both are above 0: read it where grows_with_size is true. "
    "ICC(2,1) counts a bias as disagreement, ICC(3,1) does not (McGraw and Wong 1996); CCC is Lin's (1989)."
)


def agree_volumes(scores: Sequence[Score]) -> dict[str, dict[str, Any]]:
    """How well each label's predicted volumes agree with the reference's.

    Args:
        scores: the rows of all cases, ``predicted_volume_ml`` and ``reference_volume_ml`` among them.
    Returns:
        by label what ``measure_agreement`` gives, in the order of the rows; empty where no volume was scored.
    """
    volumes: dict[str, dict[str, dict[str, tuple[str, float]]]] = defaultdict(lambda: defaultdict(dict))
    for row in scores:
        if row.metric in (PREDICTED, REFERENCE) and row.instance == 0 and row.value is not None:
            volumes[row.label][row.case][row.metric] = (row.patient, row.value)
    found = {}
    for label, cases in volumes.items():
        pairs = [case for case in cases.values() if len(case) == 2]
        first, second = ([pair[metric][1] for pair in pairs] for metric in (PREDICTED, REFERENCE))
        found[label] = measure_agreement(first, second, [pair[PREDICTED][0] for pair in pairs])
    return found


def measure_agreement(
    first: Sequence[float], second: Sequence[float], patients: Sequence[str] | None = None
) -> dict[str, Any]:
    """Bias, limits of agreement and coefficients of agreement of two measurements of the same things.

    Args:
        first: the measurement in question, a value a case, finite.
        second: the one to compare with, of the same cases.
        patients: whose each case is; each its own where None.
    Returns:
        for JSON: ``cases patients``; ``bias lower upper`` (the mean difference and the 95 % limits, each with its 95 %
        interval: ``{"value", "low", "high"}``); ``sd``; ``grows_with_size`` (whether absolute differences grow with the
        mean of both); ``ratio`` (``cases bias lower upper`` of first / second, over cases where both are above 0);
        ``icc_2_1 icc_3_1 ccc``; and ``reason``, why something is None: fewer than ``LEAST_PATIENTS`` patients, or
        several cases of a patient, which are not independent, so that ICC and CCC have no interval.
    Raises:
        ValueError: the lists differ in length or hold a value that is not finite.
    Source: Bland and Altman, Stat Methods Med Res 1999;8:135-160, sections 2 and 3.1; Zou, Stat Methods Med Res
        2013;22:630-642, for several cases of a patient whose true value varies.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    whose = np.array([str(n) for n in range(a.size)] if patients is None else list(patients))
    if a.shape != b.shape or a.ndim != 1 or whose.shape != a.shape or not np.isfinite([*a, *b]).all():
        raise ValueError(f"{a.size} and {b.size} values of {whose.size} cases, expected as many finite ones of each")
    count = np.unique(whose).size
    content: dict[str, Any] = {"cases": a.size, "patients": count}
    positive = (a > 0) & (b > 0)
    logs = np.log(a[positive]) - np.log(b[positive])
    ratio = {name: _raise(entry) for name, entry in bound_differences(logs, whose[positive]).items()}
    single, spread = count == a.size, measure_spread(a - b, whose)
    return {
        **content,
        **bound_differences(a - b, whose),
        "sd": None if spread is None else spread.sd,
        "grows_with_size": _find_growth(a, b, count),
        "ratio": {"cases": int(positive.sum()), **ratio},
        "icc_2_1": measure_icc(np.stack([a, b], axis=1), "2,1", bounded=single),
        "icc_3_1": measure_icc(np.stack([a, b], axis=1), "3,1", bounded=single),
        "ccc": measure_ccc(a, b, bounded=single),
        "reason": _explain(count, single),
    }


@dataclass(frozen=True)
class Spread:
    """How differences spread between patients and within them.

    Args:
        mean: of the patients' means.
        between: the variance of the patients' means.
        within: the variance of a patient's cases that those means do not show, averaged; 0 with one case each.
        patients: how many.
        cases: how many.
    """

    mean: float
    between: float
    within: float
    patients: int
    cases: int

    @property
    def sd(self) -> float:
        """The standard deviation of a single difference."""
        return math.sqrt(self.between + self.within)


def measure_spread(differences: NDArray[np.float64], patients: NDArray[np.str_]) -> Spread | None:
    """The parts of the variance of differences, from one way analysis of variance.

    Args:
        differences: one a case.
        patients: whose each case is.
    Returns:
        the parts; None below ``LEAST_PATIENTS`` patients.
    Source: Zou, Stat Methods Med Res 2013;22:630-642, section 3 (several cases of a patient whose true value varies).
    """
    groups = [differences[patients == name] for name in np.unique(patients)]
    if len(groups) < LEAST_PATIENTS:
        return None
    means = np.array([group.mean() for group in groups])
    spare = differences.size - len(groups)
    residual = sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / spare if spare else 0.0
    hidden = 1.0 - float(np.mean([1 / group.size for group in groups]))
    return Spread(float(means.mean()), float(means.var(ddof=1)), hidden * residual, len(groups), differences.size)


def bound_differences(differences: NDArray[np.float64], patients: NDArray[np.str_]) -> dict[str, dict[str, Any] | None]:
    """The mean difference and the limits between which 95 % of differences lie, each with its 95 % interval.

    Args:
        differences: one a case.
        patients: whose each case is.
    Returns:
        ``bias``, ``lower`` and ``upper``, each ``{"value", "low", "high"}``; None below ``LEAST_PATIENTS`` patients.
    """
    spread = measure_spread(differences, patients)
    if spread is None:
        return {"bias": None, "lower": None, "upper": None}
    mean, reach = spread.mean, NORMAL * spread.sd
    margin = _student(spread.patients) * math.sqrt(spread.between / spread.patients)
    inner, outer = _bound_limit(spread)
    return {
        "bias": _entry(mean, mean - margin, mean + margin),
        "lower": _entry(mean - reach, mean - reach - outer, mean - reach + inner),
        "upper": _entry(mean + reach, mean + reach - inner, mean + reach + outer),
    }


def _bound_limit(spread: Spread) -> tuple[float, float]:
    """How far a limit's interval reaches towards the mean and away from it."""
    n = spread.patients
    if spread.cases == n:
        # Bland and Altman 1999, section 2.2: the errors of the mean and of 1.96 standard deviations together.
        half = _student(n) * spread.sd * math.sqrt(1 / n + NORMAL**2 / (2 * (n - 1)))
        return half, half
    low, high = _bound_sd(spread)
    of_mean = spread.between / n
    return (
        NORMAL * math.sqrt(of_mean + (spread.sd - low) ** 2),
        NORMAL * math.sqrt(of_mean + (high - spread.sd) ** 2),
    )


def _bound_sd(spread: Spread) -> tuple[float, float]:
    """The 95 % interval of the standard deviation from those of its two parts (Zou 2013, section 3)."""
    from scipy.special import chdtri  # from the chance of a larger value

    below = above = 0.0
    for part, freedom in (
        (spread.between, spread.patients - 1),
        (spread.within, spread.cases - spread.patients),
    ):
        below += (part * (1 - freedom / float(chdtri(freedom, 0.025)))) ** 2
        above += (part * (freedom / float(chdtri(freedom, 0.975)) - 1)) ** 2
    variance = spread.sd**2
    return math.sqrt(max(0.0, variance - math.sqrt(below))), math.sqrt(variance + math.sqrt(above))


def _student(patients: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(patients - 1, 0.975))


def _find_growth(first: NDArray[np.float64], second: NDArray[np.float64], patients: int) -> bool | None:
    """Whether absolute differences grow with the mean of both; None where that cannot be told."""
    from scipy.special import stdtr

    sizes, differences = _rank(first + second), _rank(np.abs(first - second))
    if patients < LEAST_PATIENTS or not np.ptp(sizes) or not np.ptp(differences):
        return None
    rho = float(np.corrcoef(sizes, differences)[0, 1])
    if rho >= 1:
        return True
    chance = float(stdtr(patients - 2, -rho * math.sqrt((patients - 2) / (1 - rho**2)))) if rho > -1 else 1.0
    return chance < GROWTH_LEVEL / 2


def _rank(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs; scipy.stats takes longer to import than all of this."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _entry(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


def _raise(entry: Mapping[str, float] | None) -> dict[str, Any] | None:
    return None if entry is None else {name: math.exp(min(value, LARGEST_LOG)) for name, value in entry.items()}


def _explain(patients: int, single: bool) -> str:
    if patients < LEAST_PATIENTS:
        return f"{patients} patients, at least {LEAST_PATIENTS} are needed"
    return "" if single else "patients with several cases: no intervals of ICC and CCC, whose cases are not independent"
