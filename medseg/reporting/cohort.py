"""The tables' rows gathered by case and label, for one line each on the page and in the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medseg.core.results import Measurement, Score


@dataclass(frozen=True)
class MeasuredRow:
    """What was measured of one label, or of one lesion of it, in one case.

    Args:
        instance: 0 for the whole label.
        quantities: the measurements by quantity; those of intensities are left out.
    """

    case: str
    patient: str
    day: int | None
    label: str
    instance: int
    lesion_id: str
    quantities: dict[str, Measurement]

    def value(self, quantity: str) -> float | None:
        """The value of a quantity; None where it is not there or not known."""
        found = self.quantities.get(quantity)
        return None if found is None else found.value

    def status(self, quantity: str) -> str:
        """Why a quantity is not known; ``not measured`` where there is no row of it."""
        found = self.quantities.get(quantity)
        return "not measured" if found is None else found.status


@dataclass(frozen=True)
class TimePoint:
    """A label's volume on one day, and what changed since the patient's first one."""

    case: str
    day: int
    volume_ml: float | None
    change_ml: float | None
    change_percent: float | None


@dataclass(frozen=True)
class Course:
    """A label's volume in one patient over several days."""

    patient: str
    label: str
    points: tuple[TimePoint, ...]


def gather_measurements(measurements: Iterable[Measurement], labels: Sequence[str]) -> list[MeasuredRow]:
    """A row per case, label and instance.

    Args:
        measurements: in any order.
        labels: the labels' names, in the order to list them; others follow.
    Returns:
        the rows by case, label and instance; empty without measurements.
    """
    groups: dict[tuple[str, str, int], dict[str, Measurement]] = defaultdict(dict)
    for row in measurements:
        groups[row.case, row.label, row.instance].setdefault(row.quantity, row)
    rows = []
    for (case, label, instance), quantities in groups.items():
        first = next(iter(quantities.values()))
        rows.append(MeasuredRow(case, first.patient, first.day, label, instance, first.lesion_id, quantities))
    return sorted(rows, key=lambda row: (row.case, rank_label(row.label, labels), row.instance))


def gather_scores(scores: Iterable[Score]) -> dict[tuple[str, str], dict[str, Score]]:
    """The whole labels' scores: (case, label) to metric to score; single lesions are left out."""
    groups: dict[tuple[str, str], dict[str, Score]] = defaultdict(dict)
    for row in scores:
        if row.instance == 0:
            groups[row.case, row.label].setdefault(row.metric, row)
    return dict(groups)


def rank_label(label: str, labels: Sequence[str]) -> tuple[int, str]:
    """Where a label stands in the list: in the scheme's order, unknown ones after it by name."""
    return (labels.index(label), "") if label in labels else (len(labels), label)


def follow_volumes(rows: Iterable[MeasuredRow], labels: Sequence[str]) -> list[Course]:
    """The volumes of patients with several days.

    Args:
        rows: whole labels and lesions; only whole labels count.
        labels: the labels' names, in the order to list them.
    Returns:
        a course per patient and label with at least two different days, days ascending; the change is that since the
        first day, None where either volume is unknown, and in percent where the first volume is 0.
    """
    groups: dict[tuple[str, str], list[MeasuredRow]] = defaultdict(list)
    for row in rows:
        if row.instance == 0 and row.day is not None and "volume_ml" in row.quantities:
            groups[row.patient, row.label].append(row)
    courses = []
    for (patient, label), found in groups.items():
        if len({row.day for row in found}) > 1:
            ordered = sorted(found, key=lambda row: (row.day or 0, row.case))
            first = ordered[0].value("volume_ml")
            courses.append(Course(patient, label, tuple(_compare(row, first) for row in ordered)))
    return sorted(courses, key=lambda course: (course.patient, rank_label(course.label, labels)))


def _compare(row: MeasuredRow, first: float | None) -> TimePoint:
    volume = row.value("volume_ml")
    change = None if volume is None or first is None else volume - first
    percent = 100 * change / first if change is not None and first else None
    return TimePoint(row.case, row.day or 0, volume, change, percent)
