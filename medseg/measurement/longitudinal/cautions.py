"""What a reader of a patient's timeline has to know before the numbers: scans left out, doubtful placements."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.core.manifest import CaseOutcome
from medseg.measurement.longitudinal.label_course import LabelCourse
from medseg.measurement.longitudinal.patients import PatientCourse
from medseg.measurement.recist import find_lesion_labels


def list_cautions(course: PatientCourse, left_out: Sequence[CaseOutcome], named: Sequence[str]) -> list[str]:
    """The cautions that belong to a patient's timeline.

    Args:
        course: the patient's lesions.
        left_out: the outcomes of the patient's scans that could not be used.
        named: the patient's cases as the timeline names them, usable or not.
    Returns:
        a line each: scans that are left out, above all a first one; placements that are doubtful; scans none of whose
        lesions was seen before; lesions that the scan cuts off. Empty where there is nothing.
    """
    first = course.scans[0].case
    found = [f"{outcome.case} is left out: {outcome.reason}" for outcome in left_out]
    missed = [outcome.case for outcome in left_out if outcome.case in named[: list(named).index(first)]]
    if missed:
        found.append(f"the first scan, {missed[0]}, is left out: all changes are against {first}, no real baseline")
    if len(course.scans) == 1:
        found.append("there is one scan only: nothing to compare it with")
    for scan, placement in zip(course.scans, course.placements, strict=True):
        found += [f"{scan.case}: {warning}" for warning in placement.warnings]
    for label in course.labels:
        found += _find_strangers(course, label)
    lesions = find_lesion_labels([label.label for label in course.labels])  # organs reach beyond most scans
    for label in course.labels:
        found += _find_cut_off(course, label) if label.label in lesions else []
    return found


def _find_strangers(course: PatientCourse, label: LabelCourse) -> list[str]:
    # Scans where every lesion is new and every one of the scan before is gone: another patient's, or badly placed.
    found = []
    for scan in range(1, len(course.scans)):
        seen = [(bool(lesion.sightings[scan - 1]), bool(lesion.sightings[scan])) for lesion in label.courses]
        if (True, False) in seen and (False, True) in seen and (True, True) not in seen:
            known = any(lesion.sightings[scan] and any(lesion.sightings[:scan]) for lesion in label.courses)
            if not known:
                found.append(
                    f"{course.scans[scan].case}: no {label.label} lies where one was before; look whether the scan is"
                    " this patient's, and whether it was registered well"
                )
    return found


def _find_cut_off(course: PatientCourse, label: LabelCourse) -> list[str]:
    found = []
    for number, scan in enumerate(course.scans):
        names = course.name_instances(number)
        cut = [
            names.get((label.label, body.instance), label.label)
            for body in label.scans[number].found
            if body.touches_border
        ]
        if cut:
            listed = ", ".join(dict.fromkeys(cut))
            found.append(f"{scan.case}: {listed} touches the scan's border; volume and diameter are lower bounds")
    return found
