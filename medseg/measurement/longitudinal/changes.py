"""What changed between two scans of a patient, lesion by lesion and for whole labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from medseg.core.results import Measurement
from medseg.measurement.longitudinal.change_rows import Change, Tag, make_change, make_rate
from medseg.measurement.longitudinal.growth import compare_intervals, name_change
from medseg.measurement.longitudinal.label_course import (
    LabelCourse,
    add_errors,
    add_intervals,
    bound_label,
    gather_references,
    name_pair,
    name_references,
)

# What is followed beside volume and diameter where it was measured: of several components added up, or the highest.
_ADDED = ("volume_partial_ml", "tlg")
_HIGHEST = ("suv_max", "suv_peak")


def compare_lesions(course: LabelCourse) -> Iterator[Change]:
    """The changes of every lesion of a label: lesion by lesion, scan by scan, against first, lowest and previous."""
    for lesion in range(len(course.courses)):
        for scan in range(1, len(course.scans)):
            for earlier, against in name_references(course, lesion, scan).items():
                for change in compare_lesion(course, lesion, earlier, scan):
                    yield replace(change, scan_from=earlier, scan_to=scan, against=against)


def compare_lesion(course: LabelCourse, lesion: int, earlier: int, later: int) -> Iterator[Change]:
    """The changes of one lesion from one scan to a later one.

    Args:
        course: the label's lesions.
        lesion: which of them.
        earlier, later: the scans' numbers.
    Returns:
        rows of ``volume_ml``, ``diameter_axial_mm`` and ``doubling_time_days``, and of ``volume_partial_ml``,
        ``suv_max``, ``suv_peak`` and ``tlg`` where they were measured; none where the lesion is in neither
        scan. Lesions that are one in either scan are compared as one, in the row of the first of them; diameters of
        several components are added up (RECIST 1.1 for lesions that fragment).
    """
    family = course.kin(lesion, earlier, later)
    before, after = course.bodies(family, earlier), course.bodies(family, later)
    own = [course.courses[lesion].sightings[scan] for scan in (earlier, later)]
    if not any(own):
        return
    change = name_pair(course, family, earlier, later)
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
    yield from _compare_further(tag, change, [body.rows for body in before], [body.rows for body in after])


def compare_labels(course: LabelCourse) -> Iterator[Change]:
    """The changes of a whole label: scan by scan, against first, lowest and previous."""
    totals = [sum(body.volume_ml for body in bodies.found) for bodies in course.scans]
    for scan in range(1, len(totals)):
        for earlier, against in gather_references(dict(enumerate(totals[:scan])), scan).items():
            for change in compare_label(course, earlier, scan):
                yield replace(change, scan_from=earlier, scan_to=scan, against=against)


def compare_label(course: LabelCourse, earlier: int, later: int) -> Iterator[Change]:
    """The changes of a whole label from one scan to a later one: total volume and number of lesions.

    Args:
        course: the label's lesions.
        earlier, later: the scans' numbers.
    Returns:
        rows with an empty ``lesion_id``, of ``volume_ml``, ``lesion_count`` and ``doubling_time_days``, and of what
        ``compare_lesion`` adds where it was measured.
    """
    before, after = course.scans[earlier].found, course.scans[later].found
    first, second = (sum(body.volume_ml for body in bodies) for bodies in (before, after))
    change = name_change(first, second, add_errors([*before, *after]))
    tag = (course.patient, "", course.label, course.days[earlier], course.days[later])
    bars = [bound_label(course.scans[scan]) for scan in (earlier, later)]
    yield make_change(tag, change, "volume_ml", first, second, "ml", compare_intervals(*bars))
    yield make_change(tag, change, "lesion_count", float(len(before)), float(len(after)), "")
    yield make_rate(tag, change, first, second)
    wholes = [[scan.whole] if scan.found else [] for scan in (course.scans[earlier], course.scans[later])]
    yield from _compare_further(tag, change, *wholes)


def _compare_further(
    tag: Tag, change: str, before: Sequence[Mapping[str, Measurement]], after: Sequence[Mapping[str, Measurement]]
) -> Iterator[Change]:
    # Uptake and partial volume of what the rows of either scan are about, where one of them has them.
    for quantity in (*_ADDED, *_HIGHEST):
        rows = [[part[quantity] for part in parts if quantity in part] for parts in (before, after)]
        unit = next((row.unit for row in (*rows[0], *rows[1])), None)
        if unit is None:
            continue
        first, second = (_join_values(quantity, own) for own in rows)
        if first is None or second is None:
            yield Change(*tag, change, quantity, first, second, None, None, "unknown", unit, "not_defined")
        else:
            yield make_change(tag, change, quantity, first, second, unit)


def _join_values(quantity: str, rows: Sequence[Measurement]) -> float | None:
    # Nothing has no volume and no glycolysis, but no uptake either that could be compared.
    values = [row.value for row in rows if row.value is not None]
    if len(values) < len(rows) or (not values and quantity in _HIGHEST):
        return None
    return max(values) if quantity in _HIGHEST else sum(values)
