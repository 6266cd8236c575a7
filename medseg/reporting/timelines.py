"""What ``medseg measure --timeline`` found about each patient, read from ``longitudinal.json`` for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.core.errors import FormatError
from medseg.core.records import read_json


@dataclass(frozen=True)
class ScanOfPatient:
    """One scan: its case, its day (None where no day is known), and how it was brought to the first one."""

    case: str
    day: int | None
    placement: Mapping[str, Any]


@dataclass(frozen=True)
class Total:
    """A whole label in one scan; ``low_ml`` and ``high_ml`` are None without an error bar."""

    volume_ml: float
    low_ml: float | None
    high_ml: float | None
    lesion_count: int


@dataclass(frozen=True)
class Sighting:
    """A lesion in one scan.

    Args:
        is_present: whether it is there; else ``volume_ml`` is 0.
        change: since the scan before: ``stable grown shrunk new gone merged split``, or empty.
        one_with: the lesions that it has merged with there.
    """

    is_present: bool
    volume_ml: float
    low_ml: float | None
    high_ml: float | None
    change: str
    one_with: tuple[str, ...]


@dataclass(frozen=True)
class FollowedLesion:
    """A lesion through all scans, one sighting each."""

    lesion_id: str
    label: str
    sightings: tuple[Sighting, ...]


@dataclass(frozen=True)
class PatientTimeline:
    """A patient's scans, earliest first.

    Args:
        labels: by label its total in each scan.
        lesions: in the order of their appearance.
        changes: (lesion or empty, label, quantity, later case, against) to the row of the table.
        recist: the RECIST arithmetic; None where there is none.
        warnings: what to know before the numbers, a line each.
    """

    patient: str
    scans: tuple[ScanOfPatient, ...]
    labels: Mapping[str, tuple[Total, ...]]
    lesions: tuple[FollowedLesion, ...]
    changes: Mapping[tuple[str, str, str, str, str], Mapping[str, Any]] = field(default_factory=dict)
    recist: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Timelines:
    """All patients, and the rules by which lesions were matched and changes named."""

    patients: tuple[PatientTimeline, ...]
    rules: Mapping[str, str]

    @property
    def warnings(self) -> list[str]:
        """A line per patient whose timeline has warnings, which stand with the patient."""
        return [
            f"Timeline of {patient.patient}: what stands under 'Over time' needs a look ({len(patient.warnings)})"
            for patient in self.patients
            if patient.warnings
        ]


def read_timelines(file: str | Path) -> Timelines | None:
    """The timelines of a folder of results.

    Args:
        file: its ``longitudinal.json``.
    Returns:
        the timelines; None where there is no such file.
    Raises:
        FormatError: the file is damaged, or another version of medseg wrote it.
    """
    if not Path(file).is_file():
        return None
    content = read_json(file)
    try:
        changes: dict[str, dict[tuple[str, str, str, str, str], Mapping[str, Any]]] = {}
        for row in content["changes"]:
            own = changes.setdefault(row["patient"], {})
            for against in row["against"]:
                own[row["lesion_id"], row["label"], row["quantity"], row["case_to"], against] = row
        patients = [
            _read_patient(entry, changes.get(entry["patient"], {}), content["recist_arithmetic"].get(entry["patient"]))
            for entry in content["patients"]
        ]
        return Timelines(tuple(patients), dict(content["settings"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"no timeline of this version of medseg: {type(error).__name__} {error}", code="bad_record", file=file,
            remedy="Run medseg measure --timeline again",
        ) from None  # fmt: skip


def _read_patient(
    entry: Mapping[str, Any],
    changes: Mapping[tuple[str, str, str, str, str], Mapping[str, Any]],
    recist: Mapping[str, Any] | None,
) -> PatientTimeline:
    return PatientTimeline(
        patient=entry["patient"],
        scans=tuple(ScanOfPatient(scan["case"], scan["day"], scan["placement"]) for scan in entry["scans"]),
        labels={
            label["label"]: tuple(
                Total(scan["volume_ml"], scan["low_ml"], scan["high_ml"], scan["lesion_count"])
                for scan in label["scans"]
            )
            for label in entry["labels"]
        },
        lesions=tuple(
            FollowedLesion(
                lesion["lesion_id"],
                lesion["label"],
                tuple(_read_sighting(scan) for scan in lesion["scans"]),
            )
            for lesion in entry["lesions"]
        ),
        changes=changes,
        recist=recist,
        warnings=tuple(entry["warnings"]),
    )


def _read_sighting(scan: Mapping[str, Any]) -> Sighting:
    return Sighting(
        is_present=bool(scan["instances"]),
        volume_ml=scan["volume_ml"],
        low_ml=scan["low_ml"],
        high_ml=scan["high_ml"],
        change=scan["change"],
        one_with=tuple(scan["one_with"]),
    )
