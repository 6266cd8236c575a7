"""What a comparison of two methods says, and whether one is not worse than allowed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from medseg.core.errors import PlanError
from medseg.evaluation.comparison.directions import UNKNOWN
from medseg.evaluation.comparison.signed_ranks import correct_holm

Verdict = Literal["", "non-inferior", "not shown"]


@dataclass(frozen=True)
class ComparedPair:
    """Two methods in one metric of one label.

    Args:
        better: which values are better: ``higher``, ``lower``, or ``unknown`` for metrics of the user's own.
        unit_compared: ``patient`` (a value each) or ``lesion`` (with patients as clusters).
        first, second: the methods' names.
        patients: whose values both methods know.
        count: their cases, or their lesions (of the first method, where each has lesions of its own).
        left_out: cases or lesions that only one of both knows a value of; left_out_both: that neither does.
        mean_first, mean_second: over patients (or lesions), without infinite values.
        infinite_first, infinite_second: how many patients' values are infinite.
        difference: second minus first: the Hodges-Lehmann shift, or the difference of the means over lesions.
        low, high: its 95 % interval; may be infinite.
        p: the chance of it where neither method is better; p_holm: corrected for ``tests``, those of its family.
        margin: how much worse the second may be; verdict: ``non-inferior``, ``not shown`` or empty.
        reason: why something is not known.
    """

    label: str
    metric: str
    definition: str
    unit: str
    better: str
    unit_compared: Literal["patient", "lesion"]
    first: str
    second: str
    patients: int
    count: int
    left_out: int
    left_out_both: int
    mean_first: float | None
    mean_second: float | None
    infinite_first: int
    infinite_second: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    family: str = ""
    tests: int = 0
    margin: float | None = None
    verdict: Verdict = ""
    reason: str = ""


def correct_chances(pairs: Sequence[ComparedPair]) -> list[ComparedPair]:
    """Comparisons with their p-values corrected.

    Args:
        pairs: all comparisons.
    Returns:
        the same with ``p_holm``, ``family`` and ``tests``: a family is a metric, over all labels, strata of
        lesion volume and pairs of methods.
    """
    families: dict[str, list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        families[pair.metric.partition("[")[0]].append(place)
    corrected = list(pairs)
    for family, places in families.items():
        chances = [pairs[place].p for place in places]
        tests = sum(chance is not None for chance in chances)
        for place, chance in zip(places, correct_holm(chances), strict=True):
            corrected[place] = replace(pairs[place], p_holm=chance, family=family, tests=tests)
    return corrected


def judge_pairs(pairs: Sequence[ComparedPair], margins: Mapping[str, float]) -> list[ComparedPair]:
    """Comparisons with the verdict on non-inferiority.

    Args:
        pairs: all comparisons.
        margins: metric to how much worse the second method may be, in the metric's unit.
    Returns:
        the same, with ``margin`` and ``verdict`` where the metric has a margin.
    Raises:
        PlanError: a margin for a metric that is not compared or has no better side, or one that is not above 0.
    """
    _require_margins(margins, {pair.metric: pair.better for pair in pairs})
    return [
        replace(pair, margin=float(margins[pair.metric]), verdict=_find_verdict(pair, margins[pair.metric]))
        if pair.metric in margins
        else pair
        for pair in pairs
    ]


def for_json(value: Any) -> Any:
    """Infinite numbers as the texts ``inf`` and ``-inf``; everything else as it is."""
    return ("inf" if value > 0 else "-inf") if isinstance(value, float) and math.isinf(value) else value


def _find_verdict(pair: ComparedPair, margin: float) -> Verdict:
    if pair.low is None or pair.high is None:
        return "not shown"
    inside = pair.low > -margin if pair.better == "higher" else pair.high < margin
    return "non-inferior" if inside else "not shown"


def _require_margins(margins: Mapping[str, float], compared: Mapping[str, str]) -> None:
    for metric, margin in margins.items():
        if metric not in compared:
            raise PlanError(
                f"a margin for {metric!r}, which is not compared", code="bad_margin",
                remedy=f"Compared are {', '.join(compared)}",
            )  # fmt: skip
        if compared[metric] == UNKNOWN:
            raise PlanError(
                f"a margin for {metric!r}, of which it is not known whether high or low is better", code="bad_margin",
                remedy="In Python, say it: compare_scores(..., better={metric: 'lower'})",
            )  # fmt: skip
        if not (math.isfinite(margin) and margin > 0):
            raise PlanError(f"the margin {metric}={margin:g} is not a number above 0", code="bad_margin")
