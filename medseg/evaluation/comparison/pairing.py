"""What is compared with what: the same patients, cases and lesions in every method, scored by one definition."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError
from medseg.core.results import Score
from medseg.evaluation.comparison.lesions import LesionSums
from medseg.evaluation.strata import SOURCES, STRATA, pick_lesions

Key = tuple[str, str]  # label and metric
Scores = Mapping[str, Sequence[Score]]  # of each method, by its name
# Lesions of the prediction are other ones in each method; only those of the reference can be paired one by one.
OF_PREDICTION = ("predicted_lesion_real", "lesion_precision")
# Metrics of single lesions that are compared, and what the table calls them; by stratum ``SOURCES`` names them.
OF_LESIONS = {"lesion_found": "lesion_found", "dice": "lesion_dice", "predicted_lesion_real": "predicted_lesion_real"}


@dataclass(frozen=True, eq=False)
class CaseValues:
    """One metric of one label.

    Args:
        label, metric, definition, unit: as in the table of scores.
        values: case to a value per method; None where it is not known.
    """

    label: str
    metric: str
    definition: str
    unit: str
    values: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, eq=False)
class PatientValues:
    """The values of two or more methods that are known for the same patients.

    Args:
        patients: sorted by name.
        values: (patient, method); infinite where one of a patient's cases is.
        cases: how many were averaged within patients.
        unknown: how many cases were left out because no method knows a value.
        unknown_in_some: because only some methods know one.
    """

    patients: tuple[str, ...]
    values: NDArray[np.float64]
    cases: int
    unknown: int
    unknown_in_some: int


@dataclass(frozen=True, eq=False)
class LesionValues:
    """One metric of single lesions in two methods, by patient.

    Args:
        sums: of each method.
        lesions: how many, in each method.
        left_out: lesions that only one method knows a value of.
    """

    sums: tuple[LesionSums, LesionSums]
    lesions: tuple[int, int]
    left_out: int


def require_one_definition(methods: Scores) -> None:
    """Refuse scores of one metric that are defined in several ways.

    Args:
        methods: the rows of each.
    Raises:
        DatasetError: it names both definitions (or units) and where they stand, and how many more metrics differ.
    """
    # Key and instance or not: the Dice of lesions is another one than the Dice of the whole label.
    found: dict[tuple[str, str, bool], dict[tuple[str, str], str]] = defaultdict(dict)
    for name, rows in methods.items():
        for row in rows:
            found[row.label, row.metric, row.instance > 0].setdefault((row.definition, row.unit), name)
    mixed = {key: places for key, places in found.items() if len(places) > 1}
    if not mixed:
        return
    (label, metric, _), places = next(iter(mixed.items()))
    told = ", ".join(f"{' '.join(part for part in said if part)!r} in {name}" for said, name in places.items())
    more = f" (and {len(mixed) - 1} more metrics)" if len(mixed) > 1 else ""
    raise DatasetError(
        f"{metric} of {label} is defined in different ways: {told}{more}", code="mixed_definitions",
        remedy="Evaluate all methods with the same --definition, --tolerance-mm, --matching and --rules",
    )  # fmt: skip


def unite_patients(methods: Scores) -> dict[str, str]:
    """Whose each case is.

    Args:
        methods: the rows of each.
    Returns:
        case to patient; where only some methods name a patient, theirs.
    Raises:
        DatasetError: two methods name different patients for a case.
    """
    patients: dict[str, str] = {}
    for name, rows in methods.items():
        for row in rows:
            known = patients.setdefault(row.case, row.patient)
            if known == row.patient or row.patient in ("", row.case):
                continue
            if known not in ("", row.case):
                raise DatasetError(
                    f"its patient is {known!r} and, in {name}, {row.patient!r}", code="other_patient", case=row.case,
                    remedy="Give every method the same cases.csv and evaluate anew",
                )  # fmt: skip
            patients[row.case] = row.patient
    return {case: patient or case for case, patient in patients.items()}


def find_partial(methods: Scores) -> dict[Key, tuple[str, ...]]:
    """Metrics that only some methods have: (label, metric) to those methods' names, in the order of the rows.

    Args:
        methods: the rows of each.
    Returns:
        metrics of whole labels (whether there are rows of single lesions depends on what was predicted); empty where
        every method has all.
    """
    found: dict[Key, dict[str, None]] = defaultdict(dict)
    for name, rows in methods.items():
        for row in rows:
            if not row.instance and "[" not in row.metric:  # by stratum: that depends on lesions, too
                found[row.label, row.metric][name] = None
    return {key: tuple(names) for key, names in found.items() if len(names) < len(methods)}


def gather_cases(methods: Scores, cases: Sequence[str]) -> list[CaseValues]:
    """The values of whole labels, a value per case and method.

    Args:
        methods: the rows of each; several rows of a case (other seeds) are averaged, unknown ones left out.
        cases: those to compare.
    Returns:
        a table per label and metric that every method has, in the order of the first method's rows.
    """
    wanted = set(cases)
    groups: dict[Key, list[dict[str, list[float]]]] = {}
    stated: dict[Key, Score] = {}
    for place, rows in enumerate(methods.values()):
        for row in rows:
            if row.instance or "[" in row.metric or row.case not in wanted:
                continue
            key = (row.label, row.metric)
            stated.setdefault(key, row)
            of_method = groups.setdefault(key, [defaultdict(list) for _ in methods])[place]
            of_method[row.case] += [row.value] if row.value is not None and is_known(row.value) else []
    return [
        CaseValues(
            label, metric, stated[label, metric].definition, stated[label, metric].unit,
            {case: tuple(_average(method.get(case, ())) for method in found) for case in cases},
        )
        for (label, metric), found in groups.items()
        if all(found)
    ]  # fmt: skip


def pair_patients(table: CaseValues, patients: Mapping[str, str], methods: Sequence[int]) -> PatientValues:
    """One value a patient for each of the chosen methods, from the cases that all of them know.

    Args:
        table: of one metric.
        patients: whose each case is.
        methods: their places in the table.
    Returns:
        the means over each patient's cases, so that a patient with many scans counts once.
    """
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    unknown = unknown_in_some = 0
    for case, values in table.values.items():
        known = [value for value in (values[method] for method in methods) if value is not None]
        if len(known) == len(methods):
            found[patients[case]].append(tuple(known))
        elif known:
            unknown_in_some += 1
        else:
            unknown += 1
    names = tuple(sorted(found))
    means = np.array([[math.fsum(column) / len(column) for column in zip(*found[n], strict=True)] for n in names])
    cases = sum(map(len, found.values()))
    return PatientValues(names, means.reshape(len(names), len(methods)), cases, unknown, unknown_in_some)


def subtract(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second minus first, one a patient; 0 where both are infinite, for then neither is better."""
    with np.errstate(invalid="ignore"):
        differences = values[:, 1] - values[:, 0]
    differences[np.isinf(values).all(axis=1)] = 0.0
    return np.asarray(differences)


def gather_lesions(
    methods: Scores, cases: Sequence[str], patients: Mapping[str, str]
) -> dict[Key, tuple[Score, LesionValues]]:
    """The values of single lesions in two methods.

    Args:
        methods: the rows of two.
        cases: those to compare.
        patients: whose each case is.
    Returns:
        by label and metric (``lesion_found``, ``lesion_dice``, ``predicted_lesion_real``; by stratum of volume
        ``lesion_recall[<1ml]`` and the like) a row that states definition and unit, and the values.
    """
    wanted = set(cases)
    first, second = (_gather_side([row for row in rows if row.case in wanted]) for rows in methods.values())
    names = sorted({patients[case] for case in cases})
    return {
        key: (first[key][0][0], _pair_lesions(key, (first[key], second[key]), patients, names))
        for key in first
        if key in second
    }


def _gather_side(rows: Sequence[Score]) -> dict[Key, list[list[Score]]]:
    """One method's rows of single lesions by label and metric, each repetition (other seeds) in a list of its own."""
    side: dict[Key, list[list[Score]]] = defaultdict(list)
    for repetition in _split_repetitions(rows):
        found: dict[Key, list[Score]] = defaultdict(list)
        for row in repetition:
            if row.instance and row.metric in OF_LESIONS:
                found[row.label, OF_LESIONS[row.metric]].append(row)
        for metric in SOURCES:
            for (label, stratum), lesions in pick_lesions(repetition, metric, STRATA).items():
                found[label, f"{metric}[{stratum}]"] += lesions
        for key, lesions in found.items():
            side[key].append(lesions)
    return side


def _split_repetitions(rows: Sequence[Score]) -> list[list[Score]]:
    """Rows in as many lists as there are rows of one lesion or label in one metric."""
    seen: Counter[tuple[str, str, int, str]] = Counter()
    parts: list[list[Score]] = []
    for row in rows:
        key = (row.case, row.label, row.instance, row.metric)
        if seen[key] == len(parts):
            parts.append([])
        parts[seen[key]].append(row)
        seen[key] += 1
    return parts


def _pair_lesions(
    key: Key, sides: tuple[list[list[Score]], list[list[Score]]], patients: Mapping[str, str], names: Sequence[str]
) -> LesionValues:
    left_out, paired = 0, key[1].partition("[")[0] not in OF_PREDICTION
    values = [_average_lesions(repetitions, paired=paired) for repetitions in sides]
    if paired:
        shared = values[0].keys() & values[1].keys()
        left_out = len(values[0].keys() | values[1].keys()) - len(shared)
        values = [{lesion: side[lesion] for lesion in side if lesion in shared} for side in values]
    place = {name: number for number, name in enumerate(names)}
    sums = []
    for side in values:
        total, count = np.zeros(len(names)), np.zeros(len(names))
        for (case, *_), value in side.items():
            total[place[patients[case]]] += value
            count[place[patients[case]]] += 1
        sums.append((total, count))
    there = (sums[0][1] + sums[1][1]) > 0  # patients without any lesion say nothing
    first, second = (LesionSums(total[there], count[there]) for total, count in sums)
    return LesionValues((first, second), (len(values[0]), len(values[1])), left_out)


def _average_lesions(repetitions: Sequence[Sequence[Score]], *, paired: bool) -> dict[tuple[str, int, int], float]:
    """The value of each lesion: (case, number, repetition); unknown and infinite ones left out.

    Lesions of the reference (``paired``) are the same ones with every seed and are averaged, as repetition 0.
    """
    found: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for number, rows in enumerate(repetitions):
        for row in rows:
            if row.value is not None and math.isfinite(row.value):
                found[row.case, row.instance, 0 if paired else number].append(row.value)
    return {lesion: math.fsum(values) / len(values) for lesion, values in found.items()}


def _average(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def is_known(value: float | None) -> bool:
    """Whether a score has a value: neither empty nor not-a-number; infinite ones are known."""
    return value is not None and not math.isnan(value)
