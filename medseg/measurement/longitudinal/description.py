"""A patient's timeline in JSON and in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medseg.core.manifest import CaseOutcome
from medseg.measurement.longitudinal.bodies import Body
from medseg.measurement.longitudinal.change_rows import COLUMNS, Change
from medseg.measurement.longitudinal.growth import COVERAGE, GROWTH_RATIO
from medseg.measurement.longitudinal.label_course import (
    LabelCourse,
    add_intervals,
    bound_label,
    name_references,
    name_step,
)
from medseg.measurement.longitudinal.matching import LEAST_OVERLAP, REGISTRATION_SLACK_MM
from medseg.measurement.longitudinal.patients import PatientCourse
from medseg.measurement.longitudinal.placing import Placement


def describe_settings(registration: str) -> dict[str, Any]:
    """By which rules lesions were matched and changes named, for the JSON twin."""
    return {
        "settings": {
            "registration": registration,
            "matching": f"components conn=26 that share at least {LEAST_OVERLAP:g} of the smaller one; else nearest"
            f" within half a voxel of either grid and {REGISTRATION_SLACK_MM:g} mm",
            "grown": f"volume at least x {GROWTH_RATIO:g} (NELSON 2009, BTS 2015), shrunk at most / {GROWTH_RATIO:g};"
            f" and more than {COVERAGE:g} standard deviations of counting voxels (Kendall 1948)",
            "beyond_error": "yes where the volumes' error bars have no value in common; unknown without error bars, and"
            " where there is no lesion: whether one was missed is no matter of a volume's error",
            "doubling_time_days": "exponential growth between the two scans (Schwartz 1961)",
        }
    }


def describe_change(course: PatientCourse, change: Change) -> dict[str, Any]:
    """A row of changes for the JSON twin: the table's cells, and which scans they are about, days or none.

    Args:
        course: the patient's lesions.
        change: one of them.
    Returns:
        a value a column, then ``case_from``, ``case_to`` and ``against``: what the earlier scan is to the later one,
        ``baseline``, ``nadir``, ``previous``.
    """
    scans = {"case_from": course.scans[change.scan_from].case, "case_to": course.scans[change.scan_to].case}
    return dict(zip(COLUMNS, change.cells(), strict=True)) | scans | {"against": list(change.against)}


def describe_patient(course: PatientCourse, left_out: Sequence[CaseOutcome], cautions: Sequence[str]) -> dict[str, Any]:
    """A patient's scans and lesions, for the JSON twin.

    Args:
        course: the patient's lesions.
        left_out: the outcomes of the patient's scans that could not be used.
        cautions: what a reader has to know, of ``list_cautions``.
    Returns:
        ``scans`` with their placement; ``left_out`` and ``warnings``; ``labels`` with volume, error bar and number of
        lesions in each scan; ``lesions`` with what each has in each scan: its instances in the table of measurements,
        volume, error bar and diameter, how it changed since the scan before, with which lesions it is one there, and
        which scans it is compared with.
    """
    return {
        "patient": course.patient,
        "scans": [
            {"case": scan.case, "day": scan.day, "placement": _describe_placement(placement)}
            for scan, placement in zip(course.scans, course.placements, strict=True)
        ],
        "left_out": [{"case": o.case, "code": o.code, "reason": o.reason} for o in left_out],
        "warnings": list(cautions),
        "labels": [
            {"label": label.label, "scans": [_describe_total(course, label, scan) for scan in range(len(course.scans))]}
            for label in course.labels
        ],
        "lesions": [
            {
                "lesion_id": name,
                "label": label.label,
                "scans": [_describe_sighting(course, label, lesion, scan) for scan in range(len(course.scans))],
            }
            for label in course.labels
            for lesion, name in enumerate(label.names)
        ],
    }


def _describe_placement(placement: Placement) -> dict[str, Any]:
    content: dict[str, Any] = {
        "method": placement.method,
        "to_first_scan": placement.matrix.tolist(),
        "reason": placement.reason,
        "warnings": list(placement.warnings),
    }
    if placement.registration is not None:
        found = placement.registration
        content |= {"kind": found.kind, "metric": found.metric, "before": _finite(found.before), "after": found.after}
        content |= {"turn_degrees": found.turn_degrees, "shift_mm": found.shift_mm, "stretch": list(found.stretch)}
        content |= {"shared_field_of_view": found.shared}
    return content


def _finite(value: float) -> float | None:
    # JSON has no infinity: before registration the scans may not have overlapped at all.
    return value if math.isfinite(value) else None


def _describe_total(course: PatientCourse, label: LabelCourse, scan: int) -> dict[str, Any]:
    bodies = label.scans[scan]
    low, high = bound_label(bodies)
    return {
        "case": course.scans[scan].case,
        "day": course.scans[scan].day,
        "volume_ml": sum(body.volume_ml for body in bodies.found),
        "low_ml": low,
        "high_ml": high,
        "lesion_count": len(bodies.found),
    }


def _describe_sighting(course: PatientCourse, label: LabelCourse, lesion: int, scan: int) -> dict[str, Any]:
    bodies: list[Body] = label.bodies([lesion], scan)
    low, high = add_intervals(bodies)
    return {
        "case": course.scans[scan].case,
        "day": course.scans[scan].day,
        "instances": [body.instance for body in bodies],
        "one_with": [label.names[other] for other in label.kin(lesion, scan) if other != lesion] if bodies else [],
        "volume_ml": sum(body.volume_ml for body in bodies),
        "low_ml": low,
        "high_ml": high,
        "counting_error_ml": sum(body.error_ml**2 for body in bodies) ** 0.5,
        "diameter_axial_mm": sum(body.axial_mm for body in bodies),
        "change": name_step(label, lesion, scan),
        "touches_border": any(body.touches_border for body in bodies),
        "compared_with": [course.scans[n].case for n in name_references(label, lesion, scan)] if scan else [],
    }


def tell_patient(
    course: PatientCourse, response: Mapping[str, Any] | None, cautions: Sequence[str] = ()
) -> Iterator[str]:
    """A patient's course in words.

    Args:
        course: the patient's lesions.
        response: its RECIST arithmetic, where there is one.
        cautions: what a reader has to know.
    Returns:
        a line per scan (volumes, lesions that came and went, sum of target diameters), then a line per caution.
    """
    named = response["scans"] if response else []
    for scan, entry in enumerate(course.scans):
        when = f"day {entry.day}" if entry.day is not None else entry.case
        parts = [_tell_label(label, scan) for label in course.labels]
        if named:
            own = named[scan]
            parts.append(f"target diameters {own['sum_of_diameters_mm']:.1f} mm, {own['category']}")
        yield f"{course.patient}, {when}: {'; '.join(parts)}"
    yield from (f"{course.patient}, look: {caution}" for caution in cautions)


def _tell_label(label: LabelCourse, scan: int) -> str:
    volume = sum(body.volume_ml for body in label.scans[scan].found)
    first = sum(body.volume_ml for body in label.scans[0].found)
    text = f"{label.label} {volume:.2f} ml"
    if scan and first:
        text += f" ({100 * (volume - first) / first:+.0f} %)"
    seen = [bool(course.sightings[scan]) for course in label.courses]
    text += f" in {len(label.scans[scan].found)}"
    if scan:
        before = [bool(course.sightings[scan - 1]) for course in label.courses]
        new = sum(now and not then for now, then in zip(seen, before, strict=True))
        gone = sum(then and not now for now, then in zip(seen, before, strict=True))
        text += f", {new} new, {gone} gone" if new or gone else ""
    return text
