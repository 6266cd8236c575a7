"""Every pair of methods in every metric: how far apart, whether by chance, and whether not worse than allowed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

import numpy as np

from medseg.core.errors import DatasetError
from medseg.core.results import Score
from medseg.evaluation.comparison.directions import UNKNOWN, find_direction, list_directions
from medseg.evaluation.comparison.lesions import compare_lesions
from medseg.evaluation.comparison.pairing import (
    CaseValues,
    LesionValues,
    PatientValues,
    Scores,
    find_partial,
    gather_cases,
    gather_lesions,
    pair_patients,
    require_one_definition,
    subtract,
    unite_patients,
)
from medseg.evaluation.comparison.ranks import rank_methods
from medseg.evaluation.comparison.signed_ranks import LEAST_PATIENTS, estimate_shift, find_chance
from medseg.evaluation.comparison.verdicts import ComparedPair, correct_chances, for_json, judge_pairs
from medseg.evaluation.metrics import Better

TREATMENT = (
    "Differences are second minus first. Compared are the cases that every method has scores of; of several rows of a "
    "case (other seeds) the mean counts, of several cases of a patient the mean of those that both methods know. A "
    "case whose value one of two methods does not know (both masks empty, or not defined) is left out of their pair "
    "and counted. Infinite distances are larger than any finite one, and equal to one another; means leave them out. "
    "Whole labels: Hodges-Lehmann shift with its 95 % interval, Wilcoxon's signed-rank test (Pratt's zeros). Single "
    "lesions: difference of the means over all lesions, its 95 % interval from resampling patients with all their "
    "lesions, and a test that exchanges the methods within patients. p_holm is corrected within a family: all "
    "labels, strata of lesion volume and pairs of methods in one metric; of several metrics name one beforehand that "
    "decides. 'non-inferior': the second method's 95 % interval lies wholly on the better side of the margin "
    "(one-sided 2.5 %, not corrected for several comparisons); 'not shown' is no proof of being worse. "
    f"Below {LEAST_PATIENTS} patients nothing is said. Ranks: each patient ranks the methods, the mean rank "
    "orders them; stability from resampling patients."
)


def compare_scores(
    methods: Mapping[str, Sequence[Score]],
    *,
    margins: Mapping[str, float] | None = None,
    better: Mapping[str, Better] | None = None,
) -> dict[str, Any]:
    """Compare the scores of several methods on the same patients.

    Args:
        methods: at least two, by name: the rows that ``evaluate_case`` gave for all cases, out-of-fold ones of
            cross-validation too; the established method first, for it is what the others are held to.
        margins: metric to how much worse the second of two methods may be and still count as not inferior, in the
            metric's unit.
        better: for metrics of your own, which values are the better ones.
    Returns:
        for JSON: ``methods cases patients``, ``treatment`` (what was done, in words), ``notes`` (what only some methods
        have), ``margins``, ``comparisons`` (``ComparedPair``), ``ranks`` (by label and metric each method's place, how
        often it is first, and Kendall's tau) and ``values`` (by label and metric each patient's values). Infinite
        values are the texts ``inf`` and ``-inf``, unknown ones None.
    Raises:
        DatasetError: fewer than two methods, no case that all have, metrics defined in different ways, or a case with
            different patients.
        PlanError: a margin for a metric that is not compared or has no better side, or one that is not above 0.
    """
    if len(methods) < 2:
        raise DatasetError(f"{len(methods)} method, at least two are compared", code="one_method")
    require_one_definition(methods)
    patients = unite_patients(methods)
    cases = list_common(methods)
    directions = list_directions(better or {})
    tables = [table for table in gather_cases(methods, cases) if find_direction(table.metric, directions) != "neither"]
    pairs = [*_compare_patients(list(methods), tables, patients, directions)]
    pairs += _compare_all_lesions(methods, cases, patients, directions)
    pairs = judge_pairs(correct_chances(pairs), margins or {})
    whole = [(table, pair_patients(table, patients, range(len(methods)))) for table in tables]
    return {
        "methods": list(methods),
        "cases": len(cases),
        "patients": len({patients[case] for case in cases}),
        "treatment": TREATMENT,
        "notes": describe_partial(methods, directions),
        "margins": dict(margins or {}),
        "comparisons": [{key: for_json(value) for key, value in asdict(pair).items()} for pair in pairs],
        "ranks": [_describe_ranks(list(methods), table, found, directions) for table, found in whole],
        "values": [_describe_values(table, patients, directions) for table in tables],
    }


def list_common(methods: Scores) -> list[str]:
    """The cases that every method has scores of, sorted; raises DatasetError where there is none."""
    cases = set.intersection(*({row.case for row in rows} for rows in methods.values()))
    if not cases:
        first, *rest = ((name, next((row.case for row in rows), "none")) for name, rows in methods.items())
        told = ", ".join(f"{case!r} in {name}" for name, case in (first, *rest))
        raise DatasetError(
            f"no case has scores in every one of {len(methods)} folders; the first cases are {told}", code="no_pairs",
            remedy="Evaluate every method on the same cases, under the same names",
        )  # fmt: skip
    return sorted(cases)


def describe_partial(methods: Scores, directions: Mapping[str, str]) -> list[str]:
    """What is not compared because only some methods have it.

    Args:
        methods: the rows of each.
        directions: of the metrics; those that are no scores are not told.
    Returns:
        a line per label, or per metrics of a label.
    """
    partial = {key: names for key, names in find_partial(methods).items() if directions.get(key[1]) != "neither"}
    metrics: dict[str, set[str]] = defaultdict(set)
    for rows in methods.values():
        for row in rows:
            if not row.instance and "[" not in row.metric and directions.get(row.metric) != "neither":
                metrics[row.label].add(row.metric)
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (label, metric), names in partial.items():
        groups[label, names].append(metric)
    lines = []
    for (label, names), found in groups.items():
        what = f"label {label!r}" if len(found) == len(metrics[label]) else f"{', '.join(found)} of {label!r}"
        lines.append(f"{what}: only in {', '.join(names)}; not compared")
    return lines


def _compare_patients(
    names: Sequence[str], tables: Sequence[CaseValues], patients: Mapping[str, str], directions: Mapping[str, str]
) -> list[ComparedPair]:
    return [
        _compare_values(
            (names[i], names[j]),
            table,
            pair_patients(table, patients, (i, j)),
            find_direction(table.metric, directions),
        )
        for table in tables
        for i, j in combinations(range(len(names)), 2)
    ]


def _compare_values(names: tuple[str, str], table: CaseValues, found: PatientValues, better: str) -> ComparedPair:
    infinite = np.isinf(found.values).sum(axis=0)
    means = [_average(found.values[np.isfinite(found.values[:, side]), side]) for side in range(2)]
    pair = ComparedPair(
        table.label, table.metric, table.definition, table.unit, better, "patient", *names,
        patients=len(found.patients), count=found.cases, left_out=found.unknown_in_some, left_out_both=found.unknown,
        mean_first=means[0], mean_second=means[1], infinite_first=int(infinite[0]), infinite_second=int(infinite[1]),
    )  # fmt: skip
    if pair.patients < LEAST_PATIENTS:
        return replace(pair, reason=_say_few(pair.patients))
    differences = subtract(found.values)
    shift = estimate_shift(differences)
    reason = "" if shift.estimate is not None else "infinite in most pairs of patients"
    return replace(
        pair, difference=shift.estimate, low=shift.low, high=shift.high, p=find_chance(differences), reason=reason
    )


def _compare_all_lesions(
    methods: Scores, cases: Sequence[str], patients: Mapping[str, str], directions: Mapping[str, str]
) -> list[ComparedPair]:
    pairs = []
    for first, second in combinations(methods, 2):
        found = gather_lesions({name: methods[name] for name in (first, second)}, cases, patients)
        for (label, metric), (row, values) in found.items():
            stated = (label, metric, row.definition, row.unit, find_direction(metric, directions))
            pairs.append(_compare_lesion_values((first, second), stated, values))
    return pairs


def _compare_lesion_values(
    names: tuple[str, str], stated: tuple[str, str, str, str, str], values: LesionValues
) -> ComparedPair:
    first, second = values.sums
    pair = ComparedPair(
        *stated, "lesion", *names, patients=first.sums.size, count=values.lesions[0], left_out=values.left_out,
        left_out_both=0, mean_first=first.mean, mean_second=second.mean, infinite_first=0, infinite_second=0,
    )  # fmt: skip
    if pair.patients < LEAST_PATIENTS:
        return replace(pair, reason=_say_few(pair.patients))
    found = compare_lesions(first, second)
    if found is None:
        return replace(pair, reason="one of the methods has no lesion")
    reason = "" if found.low is not None else "too few patients have lesions in both methods for an interval"
    return replace(pair, difference=found.difference, low=found.low, high=found.high, p=found.chance, reason=reason)


def _describe_ranks(
    names: Sequence[str], table: CaseValues, found: PatientValues, directions: Mapping[str, str]
) -> dict[str, Any]:
    better = find_direction(table.metric, directions)
    content: dict[str, Any] = {"label": table.label, "metric": table.metric, "patients": len(found.patients)}
    reason = "which values are better is not known" if better == UNKNOWN else ""
    if len(found.patients) < LEAST_PATIENTS:
        reason = _say_few(len(found.patients))
    if reason:
        return {**content, "kendall_tau": None, "methods": None, "reason": reason}
    ranking = rank_methods(-found.values if better == "higher" else found.values)
    methods = {
        name: {
            "place": int(ranking.places[n]),
            "mean_rank": float(ranking.means[n]),
            "first_share": float(ranking.first[n]),
            "place_low": int(ranking.low[n]),
            "place_high": int(ranking.high[n]),
        }
        for n, name in enumerate(names)
    }
    return {**content, "kendall_tau": ranking.kendall_tau, "methods": methods, "reason": ""}


def _describe_values(table: CaseValues, patients: Mapping[str, str], directions: Mapping[str, str]) -> dict[str, Any]:
    """Each patient's mean in each method, over the cases that this method knows."""
    count = len(next(iter(table.values.values())))
    columns = [pair_patients(table, patients, [method]) for method in range(count)]
    known = [dict(zip(found.patients, found.values[:, 0].tolist(), strict=True)) for found in columns]
    names = sorted({patients[case] for case in table.values})
    return {
        "label": table.label,
        "metric": table.metric,
        "definition": table.definition,
        "unit": table.unit,
        "better": find_direction(table.metric, directions),
        "patients": {name: [for_json(column.get(name)) for column in known] for name in names},
    }


def _average(values: Any) -> float | None:
    return float(values.mean()) if values.size else None


def _say_few(patients: int) -> str:
    return f"{patients} patient{'s' * (patients != 1)}, at least {LEAST_PATIENTS} are needed"
