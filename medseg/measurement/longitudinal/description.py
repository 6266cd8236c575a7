"""A patient's timeline in JSON and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from medseg.measurement.longitudinal.bodies import Body
from medseg.measurement.longitudinal.changes import LabelCourse, add_intervals, list_references
from medseg.measurement.longitudinal.growth import COVERAGE, GROWTH_RATIO
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
            "beyond_error": "yes where the volumes' error bars have no value in common; unknown without error bars",
            "doubling_time_days": "exponential growth between the two scans (Schwartz 1961)",
        }
    }


def describe_patient(course: PatientCourse) -> dict[str, Any]:
    """A patient's scans and lesions, for the JSON twin.

    Args:
        course: the patient's lesions.
    Returns:
        ``scans`` with their placement; ``lesions`` with what each has in each scan: its instances in the table of
        measurements, volume, error bar and diameter, with which lesions it is one there, and which scans it is
        compared with.
    """
    return {
        "patient": course.patient,
        "scans": [
            {"case": scan.case, "day": scan.day, "placement": _describe_placement(placement)}
            for scan, placement in zip(course.scans, course.placements, strict=True)
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
    }
    if placement.registration is not None:
        found = placement.registration
        content |= {"kind": found.kind, "metric": found.metric, "before": found.before, "after": found.after}
    return content


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
        "touches_border": any(body.touches_border for body in bodies),
        "compared_with": [course.scans[n].case for n in list_references(label, lesion, scan)] if scan else [],
    }


def tell_patient(course: PatientCourse, response: Mapping[str, Any] | None) -> Iterator[str]:
    """A patient's course in words, a line per scan: volumes, lesions that came and went, and RECIST arithmetic."""
    named = response["scans"] if response else []
    for scan, entry in enumerate(course.scans):
        when = f"day {entry.day}" if entry.day is not None else entry.case
        parts = [_tell_label(label, scan) for label in course.labels]
        if named:
            own = named[scan]
            parts.append(f"target diameters {own['sum_of_diameters_mm']:.1f} mm, {own['category']}")
        yield f"{course.patient}, {when}: {'; '.join(parts)}"


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
