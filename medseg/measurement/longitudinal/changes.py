"""What changed between two scans of a patient: rows of ``longitudinal.csv``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from medseg.measurement.longitudinal.bodies import Bodies, Body
from medseg.measurement.longitudinal.growth import COVERAGE, compare_intervals, measure_doubling_time, name_change
from medseg.measurement.longitudinal.matching import LEAST_OVERLAP, Course, Overlaps

COLUMNS = (
    *("patient", "lesion_id", "label", "day_from", "day_to", "change", "quantity", "from", "to"),
    *("difference", "percent", "beyond_error", "unit", "status"),
)
ChangeStatus = Literal["ok", "not_defined", "no_day", "merged"]
# Patient, lesion id, label, and the days of both scans.
Tag = tuple[str, str, str, int | None, int | None]


@dataclass(frozen=True)
class Change:
    """One quantity of one lesion in two scans.

    Args:
        lesion_id: the lesion's, the same in all scans; empty for the whole label.
        day_from, day_to: days since the patient's first scan; None where they are not known.
        change: ``stable grown shrunk new gone merged split``.
        value_from, value_to: the quantity in the earlier and the later scan, 0 where the lesion is absent; of a rate
            (doubling time) ``value_to`` alone.
        percent: the difference in percent of ``value_from``; None where that is 0.
        beyond_error: ``yes``, ``no`` or ``unknown``, by the error bars of both values.
        status: ``ok``; ``not_defined``; ``no_day``; ``merged`` for a lesion that is one with another in either scan,
            whose row has the numbers of both.
    """

    patient: str
    lesion_id: str
    label: str
    day_from: int | None
    day_to: int | None
    change: str
    quantity: str
    value_from: float | None
    value_to: float | None
    difference: float | None
    percent: float | None
    beyond_error: str
    unit: str
    status: ChangeStatus

    def cells(self) -> tuple[Any, ...]:
        """The row's cells in the order of ``COLUMNS``."""
        return tuple(vars(self).values())


@dataclass(frozen=True)
class LabelCourse:
    """A label's lesions in all scans of a patient.

    Args:
        patient, label: whose and which.
        days: of each scan.
        scans: the components of each scan.
        courses: the lesions.
        names: their ids.
        overlaps: of two scans.
    """

    patient: str
    label: str
    days: Sequence[int | None]
    scans: Sequence[Bodies]
    courses: Sequence[Course]
    names: Sequence[str]
    overlaps: Overlaps

    def bodies(self, lesions: Sequence[int], scan: int) -> list[Body]:
        """The components that some lesions have in a scan, each once."""
        instances = {instance for lesion in lesions for instance in self.courses[lesion].sightings[scan]}
        return [self.scans[scan].found[instance - 1] for instance in sorted(instances)]

    def kin(self, lesion: int, *scans: int) -> tuple[int, ...]:
        """The lesions that are one with ``lesion`` in any of these scans, itself included."""
        family = {lesion}
        while True:
            held = [{n for member in family for n in self.courses[member].sightings[scan]} for scan in scans]
            wider = {
                other
                for other, course in enumerate(self.courses)
                if other in family
                or any(not own.isdisjoint(course.sightings[scan]) for own, scan in zip(held, scans, strict=True))
            }
            if wider == family:
                return tuple(sorted(family))
            family = wider


def list_references(course: LabelCourse, lesion: int, scan: int) -> list[int]:
    """The scans that a lesion is compared with: the first, the one of its smallest volume, and the one before.

    Args:
        course: the label's lesions.
        lesion: which of them.
        scan: the later scan, from 1.
    Returns:
        scan numbers, rising, each once. The smallest volume (nadir) is looked for from the lesion's first appearance
        on; of equal ones the latest counts.
    """
    family = course.kin(lesion, scan)
    seen = [n for n in range(scan) if course.bodies(family, n)]
    volumes = {
        n: sum(body.volume_ml for body in course.bodies(family, n)) for n in range(min(seen, default=scan), scan)
    }
    nadir = min(volumes, key=lambda n: (volumes[n], -n), default=0)
    return sorted({0, nadir, scan - 1})


def compare_lesions(course: LabelCourse) -> Iterator[Change]:
    """The changes of every lesion of a label: lesion by lesion, scan by scan, against first, lowest and previous."""
    for lesion in range(len(course.courses)):
        for scan in range(1, len(course.scans)):
            for earlier in list_references(course, lesion, scan):
                yield from compare_lesion(course, lesion, earlier, scan)


def compare_lesion(course: LabelCourse, lesion: int, earlier: int, later: int) -> Iterator[Change]:
    """The changes of one lesion from one scan to a later one.

    Args:
        course: the label's lesions.
        lesion: which of them.
        earlier, later: the scans' numbers.
    Returns:
        rows of ``volume_ml``, ``diameter_axial_mm`` and ``doubling_time_days``; none where the lesion is in neither
        scan. Lesions that are one in either scan are compared as one, in the row of the first of them; diameters of
        several components are added up (RECIST 1.1 for lesions that fragment).
    """
    family = course.kin(lesion, earlier, later)
    before, after = course.bodies(family, earlier), course.bodies(family, later)
    own = [course.courses[lesion].sightings[scan] for scan in (earlier, later)]
    if not any(own):
        return
    change = _name_pair(course, family, earlier, later)
    tag: Tag = (
        course.patient,
        course.names[lesion],
        course.label,
        course.days[earlier],
        course.days[later],
    )
    if lesion != family[0]:
        for quantity, unit in (("volume_ml", "ml"), ("diameter_axial_mm", "mm"), ("doubling_time_days", "days")):
            yield Change(*tag, change, quantity, None, None, None, None, "unknown", unit, "merged")
        return
    first, second = (sum(body.volume_ml for body in bodies) for bodies in (before, after))
    beyond = compare_intervals(add_intervals(before), add_intervals(after))
    yield make_change(tag, change, "volume_ml", first, second, "ml", beyond)
    lengths = [sum(body.axial_mm for body in bodies) for bodies in (before, after)]
    yield make_change(tag, change, "diameter_axial_mm", lengths[0], lengths[1], "mm")
    yield make_rate(tag, change, first, second)


def compare_label(course: LabelCourse, earlier: int, later: int) -> Iterator[Change]:
    """The changes of a whole label from one scan to a later one: total volume and number of lesions.

    Args:
        course: the label's lesions.
        earlier, later: the scans' numbers.
    Returns:
        rows with an empty ``lesion_id``, of ``volume_ml``, ``lesion_count`` and ``doubling_time_days``.
    """
    before, after = course.scans[earlier].found, course.scans[later].found
    first, second = (sum(body.volume_ml for body in bodies) for bodies in (before, after))
    change = name_change(first, second, _add_errors([*before, *after]))
    tag = (course.patient, "", course.label, course.days[earlier], course.days[later])
    yield make_change(
        tag, change, "volume_ml", first, second, "ml", compare_intervals(add_intervals(before), add_intervals(after))
    )
    yield make_change(tag, change, "lesion_count", float(len(before)), float(len(after)), "")
    yield make_rate(tag, change, first, second)


def add_intervals(bodies: Sequence[Body]) -> tuple[float | None, float | None]:
    """The error bar of several components' volume, their own ones added up; 0 for no component, None if one is None."""
    lows, highs = [body.interval_ml[0] for body in bodies], [body.interval_ml[1] for body in bodies]
    low = None if None in lows else sum(value for value in lows if value is not None)
    return low, None if None in highs else sum(value for value in highs if value is not None)


def make_change(
    tag: Tag, change: str, quantity: str, first: float, second: float, unit: str, beyond: str = "unknown"
) -> Change:
    """A row with its difference, and in percent where the earlier value is not 0."""
    difference = second - first
    percent = 100 * difference / first if first else None
    return Change(*tag, change, quantity, first, second, difference, percent, beyond, unit, "ok")


def make_rate(tag: Tag, change: str, first: float, second: float) -> Change:
    """A row of the doubling time; None with ``no_day`` without days and with ``not_defined`` without growth."""
    day_from, day_to = tag[3], tag[4]
    if day_from is None or day_to is None:
        return Change(*tag, change, "doubling_time_days", None, None, None, None, "unknown", "days", "no_day")
    days = measure_doubling_time(first, second, day_to - day_from)
    status: ChangeStatus = "not_defined" if days is None else "ok"
    return Change(*tag, change, "doubling_time_days", None, days, None, None, "unknown", "days", status)


def _name_pair(course: LabelCourse, family: Sequence[int], earlier: int, later: int) -> str:
    before, after = course.bodies(family, earlier), course.bodies(family, later)
    if before and after:
        merged, split = _count_joints(course, family, earlier, later)
        if merged or split:
            return "merged" if merged >= split else "split"
    first, second = (sum(body.volume_ml for body in bodies) for bodies in (before, after))
    return name_change(first, second, _add_errors([*before, *after]))


def _count_joints(course: LabelCourse, family: Sequence[int], earlier: int, later: int) -> tuple[int, int]:
    # How many components come together from several, and how many fall into several.
    before, after = ([body.instance - 1 for body in course.bodies(family, scan)] for scan in (earlier, later))
    shared = course.overlaps(earlier, later)[before][:, after]
    sizes = [
        [course.scans[scan].found[n].volume_ml for n in found] for scan, found in ((earlier, before), (later, after))
    ]
    linked = shared > 0
    for row in range(len(before)):
        for column in range(len(after)):
            linked[row, column] &= shared[row, column] >= LEAST_OVERLAP * min(sizes[0][row], sizes[1][column])
    apart = [len({course.courses[n].sightings[scan] for n in family} - {()}) for scan in (earlier, later)]
    merged = int((linked.sum(axis=0) > 1).sum()) + (apart[0] > apart[1] > 0)
    return merged, int((linked.sum(axis=1) > 1).sum()) + (apart[1] > apart[0] > 0)


def _add_errors(bodies: Sequence[Body]) -> float:
    # Below this a difference may come from where the voxels lie: 95 % of the counting errors together, millilitres.
    return COVERAGE * math.sqrt(sum(body.error_ml**2 for body in bodies))
