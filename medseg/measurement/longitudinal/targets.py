"""RECIST arithmetic of a patient's timeline: its target lesions, by rule or by the user's choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.core.errors import DatasetError, FormatError
from medseg.core.geometry import Geometry
from medseg.io.tables import read_table
from medseg.measurement.diameters import find_axial_axis
from medseg.measurement.longitudinal.label_course import LabelCourse
from medseg.measurement.longitudinal.patients import PatientCourse
from medseg.measurement.recist import (
    CANNOT_KNOW,
    NORMAL_NODE_MM,
    Candidate,
    Response,
    choose_targets,
    classify_response,
    find_lesion_labels,
    list_departures,
)


def read_targets(file: str | Path) -> dict[str, list[str]]:
    """The target lesions that somebody chose.

    Args:
        file: CSV with the columns ``patient`` and ``lesion_id``, as ``longitudinal.csv`` calls them.
    Returns:
        patient to lesion ids, each once; none for a patient whose row names no lesion.
    Raises:
        FormatError: the table is missing, damaged, or has other columns.
    """
    rows = read_table(Path(file))
    if not rows or not {"patient", "lesion_id"} <= rows[0].keys():
        found = f"the columns are {', '.join(rows[0])}" if rows else "there is no row"
        raise FormatError(
            f"{found}, expected patient,lesion_id", code="bad_targets", file=file,
            remedy="Give a row per target lesion, with the ids of longitudinal.csv",
        )  # fmt: skip
    targets: dict[str, list[str]] = {}
    for row in rows:
        listed = targets.setdefault(row["patient"], [])
        if row["lesion_id"] and row["lesion_id"] not in listed:
            listed.append(row["lesion_id"])
    return targets


def describe_response(course: PatientCourse, chosen: Sequence[str] | None, file: str | Path = "") -> dict[str, Any]:
    """The RECIST arithmetic of a patient.

    Args:
        course: the patient's lesions.
        chosen: the target lesions' ids; None for the largest measurable ones.
        file: where they were named, for messages.
    Returns:
        ``targets`` with their diameters in the first scan, ``scans`` with sum, changes, category, the rule that fired
        and new lesions, ``notes`` where the user's targets depart from RECIST 1.1 or a scan cuts a target off, and
        ``cannot_know``; ``reason`` and no scans where there is no target.
    Raises:
        DatasetError: a chosen lesion is not in the first scan.
    """
    candidates = {candidate.lesion_id: candidate for candidate in _list_candidates(course)}
    lesion_labels = find_lesion_labels([label.label for label in course.labels])
    if chosen is None:
        targets = choose_targets([lesion for lesion in candidates.values() if lesion.label in lesion_labels])
    else:
        unknown = [name for name in chosen if name not in candidates]
        if unknown:
            raise DatasetError(
                f"{', '.join(unknown)}: no lesion of {course.patient}'s first scan", code="bad_targets",
                case=course.scans[0].case, file=file, remedy=f"Choose among {', '.join(candidates) or 'none'}",
            )  # fmt: skip
        targets = [candidates[name] for name in chosen]
    content: dict[str, Any] = {
        "rules": "RECIST 1.1 (Eisenhauer et al., Eur J Cancer 2009;45:228-247), target lesions",
        "chosen_by": "largest measurable lesions" if chosen is None else "--targets",
        "targets": [_describe_target(target) for target in targets],
        "notes": [*(list_departures(targets) if chosen is not None else []), *_list_cut_off(course, targets)],
        "cannot_know": list(CANNOT_KNOW),
    }
    if not targets:
        return content | {"reason": _explain_none(candidates.values(), lesion_labels, chosen), "scans": []}
    return content | {"scans": _describe_scans(course, targets, lesion_labels)}


def _explain_none(candidates: Iterable[Candidate], lesion_labels: Sequence[str], chosen: Sequence[str] | None) -> str:
    if chosen is not None:
        return "the table of targets names no lesion of this patient"
    if not lesion_labels:
        return "no label's name says that its components are lesions; name the targets with --targets"
    own = [candidate for candidate in candidates if candidate.label in lesion_labels]
    if not own:
        return "there is no lesion in the first scan"
    nearest = max(own, key=lambda candidate: candidate.size_mm / candidate.least_mm)
    return (
        f"no lesion of the first scan is large enough for a target: {nearest.lesion_id} measures"
        f" {nearest.size_mm:.1f} mm of at least {nearest.least_mm:g} mm"
    )


def _list_candidates(course: PatientCourse) -> list[Candidate]:
    found = []
    for label in course.labels:
        slice_mm = _measure_slices(label.scans[0].geometry)
        for number, name in enumerate(label.names):
            found += [  # one at most: in the first scan each lesion is one component
                Candidate(name, label.label, body.axial_mm, body.across_mm, slice_mm)
                for body in label.bodies([number], 0)
            ]
    return found


def _measure_slices(geometry: Geometry) -> float:
    # The distance of the axial slices, which stands for their thickness; 0 for a picture.
    axis = find_axial_axis(geometry)
    if geometry.shape[axis] == 1:
        return 0.0
    return float(1 / np.linalg.norm(np.linalg.inv(geometry.affine[:3, :3])[axis]))


def _list_cut_off(course: PatientCourse, targets: Sequence[Candidate]) -> list[str]:
    found = []
    for target in targets:
        label, number = _find_place(course, target)
        for scan, entry in enumerate(course.scans):
            if any(body.touches_border for body in label.bodies([number], scan)):
                found.append(f"{entry.case} cuts {target.lesion_id} off: its diameter there is a lower bound")
    return found


def _find_place(course: PatientCourse, target: Candidate) -> tuple[LabelCourse, int]:
    label = next(label for label in course.labels if label.label == target.label)
    return label, list(label.names).index(target.lesion_id)


def _describe_target(target: Candidate) -> dict[str, Any]:
    axis = "short axis" if target.is_node else "longest axial diameter"
    return {
        "lesion_id": target.lesion_id,
        "label": target.label,
        "measured": axis,
        "diameter_mm": target.size_mm,
        "least_mm": target.least_mm,
        "measurable": target.is_measurable,
    }


def _describe_scans(
    course: PatientCourse, targets: Sequence[Candidate], lesion_labels: Sequence[str]
) -> list[dict[str, Any]]:
    sizes = [_measure_targets(course, targets, scan) for scan in range(len(course.scans))]
    sums = [sum(size for _, size in own.values()) for own in sizes]
    gone = [all(_is_gone(target, size) for target, size in own.values()) for own in sizes]
    described = []
    for number, response in enumerate(classify_response(sums, gone)):
        scan = course.scans[number]
        new = [
            name
            for label in course.labels
            if label.label in lesion_labels
            for name, lesion in zip(label.names, label.courses, strict=True)
            if lesion.sightings[number] and not lesion.sightings[0]
        ]
        described.append(
            {"case": scan.case, "day": scan.day}
            | _describe(response)
            | {"diameters_mm": {"+".join(names): size for names, (_, size) in sizes[number].items()}}
            | {"new_lesions": new, "category_if_new_lesions_are_real": "PD" if new else response.category}
        )
    return described


def _describe(response: Response) -> dict[str, Any]:
    return {
        "sum_of_diameters_mm": response.sum_mm,
        "percent_from_baseline": response.percent_from_baseline,
        "nadir_mm": response.nadir_mm,
        "percent_from_nadir": response.percent_from_nadir,
        "category": response.category,
        "rule": response.rule,
    }


def _measure_targets(
    course: PatientCourse, targets: Sequence[Candidate], scan: int
) -> dict[tuple[str, ...], tuple[Candidate, float]]:
    # The diameter of each target, of merged targets once, of a split one the sum of its parts; 0 where it is gone.
    sizes: dict[tuple[str, ...], tuple[Candidate, float]] = {}
    for target in targets:
        label, number = _find_place(course, target)
        kin = {label.names[other] for other in label.kin(number, scan)}
        names = tuple(other.lesion_id for other in targets if other.label == target.label and other.lesion_id in kin)
        sizes[names] = (target, _measure_lesion(label, number, scan, node=target.is_node))
    return sizes


def _measure_lesion(label: LabelCourse, number: int, scan: int, *, node: bool) -> float:
    return float(sum(body.across_mm if node else body.axial_mm for body in label.bodies([number], scan)))


def _is_gone(target: Candidate, size_mm: float) -> bool:
    # A lymph node of less than 10 mm of short axis is a normal one.
    return size_mm < NORMAL_NODE_MM if target.is_node else size_mm == 0
