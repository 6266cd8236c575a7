"""One patient's scans: brought together, their lesions followed, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medseg.core.labels import LabelScheme
from medseg.core.results import Measurement
from medseg.measurement.lesions import name_lesion
from medseg.measurement.longitudinal.bodies import Bodies, find_bodies
from medseg.measurement.longitudinal.change_rows import Change
from medseg.measurement.longitudinal.changes import compare_labels, compare_lesions
from medseg.measurement.longitudinal.label_course import LabelCourse
from medseg.measurement.longitudinal.matching import make_overlaps, match_scans
from medseg.measurement.longitudinal.placing import PatientScan, Placement
from medseg.measurement.longitudinal.timeline import Scan


@dataclass(frozen=True, eq=False)
class PatientCourse:
    """A patient's lesions in all scans.

    Args:
        patient: the name.
        scans: earliest first.
        placements: where each lies in the first one's space.
        labels: each label's lesions.
    """

    patient: str
    scans: tuple[Scan, ...]
    placements: tuple[Placement, ...]
    labels: tuple[LabelCourse, ...]

    def name_instances(self, scan: int) -> dict[tuple[str, int], str]:
        """The lesion's id of each (label, instance) of a scan; of merged lesions the first one's."""
        return {
            (course.label, instance): name
            for course in self.labels
            for name, lesion in reversed(list(zip(course.names, course.courses, strict=True)))
            for instance in lesion.sightings[scan]
        }


def follow_patient(
    scans: Sequence[Scan],
    parts: Sequence[PatientScan],
    placements: Sequence[Placement],
    labels: LabelScheme,
    rows: Mapping[str, Sequence[Measurement]],
) -> PatientCourse:
    """Follow every lesion of a patient from the first scan to the last.

    Args:
        scans: the patient's, earliest first.
        parts: their masks.
        placements: where each lies in the first one's space.
        labels: the label scheme.
        rows: the measurements of each case.
    Returns:
        the lesions, called ``LABEL-1``, ... in the order of their appearance, those of one scan largest first.
    """
    tables: list[dict[tuple[str, int], dict[str, Measurement]]] = []
    for scan in scans:
        table: dict[tuple[str, int], dict[str, Measurement]] = {}
        for row in rows[scan.case]:
            table.setdefault((row.label, row.instance), {}).setdefault(row.quantity, row)
        tables.append(table)
    courses = []
    for label in labels.names:
        bodies = [
            find_bodies(part.mask, label, labels, table, placement.matrix)
            for part, table, placement in zip(parts, tables, placements, strict=True)
        ]
        courses.append(_follow_label(label, scans, bodies))
    return PatientCourse(scans[0].patient, tuple(scans), tuple(placements), tuple(courses))


def _follow_label(label: str, scans: Sequence[Scan], bodies: Sequence[Bodies]) -> LabelCourse:
    overlaps = make_overlaps(bodies)
    courses = match_scans(bodies, overlaps)
    names = [name_lesion(label, number) for number in range(1, len(courses) + 1)]
    return LabelCourse(scans[0].patient, label, [scan.day for scan in scans], bodies, courses, names, overlaps)


def list_changes(course: PatientCourse) -> list[Change]:
    """Every change of a patient: label by label the whole label first, then its lesions.

    Args:
        course: the patient's lesions.
    Returns:
        rows against the first scan, the smallest volume (nadir) and the previous scan, each pair of scans once; none
        for a patient of one scan.
    """
    changes: list[Change] = []
    for label in course.labels:
        changes += [*compare_labels(label), *compare_lesions(label)]
    return changes
