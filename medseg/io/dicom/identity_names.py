"""Names of cases that tell patient, study and series, for those who ask for that."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

from medseg.core.dataset import Case
from medseg.io.dicom.datasets import open_dataset
from medseg.io.dicom.identity import quiet
from medseg.io.dicom.scans import DicomScans
from medseg.io.dicom.series import DicomSeries

_LONGEST_SLUG = 40
_KEY_DIGITS = 8
_NO_PATIENT, _NO_DATE, _NO_DESCRIPTION = "no-patient-id", "no-date", "no-description"


def name_by_identity(scans: DicomScans) -> DicomScans:
    """The same scans under names that begin with the patient's ID, the study's date and the series' description.

    Args:
        scans: as ``find_scans`` gives them, under names that tell nobody.
    Returns:
        the scans under names of lower-case letters, digits, ``-`` and ``_``; each ends with the name that it had, so
        that no two become one. Cases that cannot be used keep theirs.
    """
    names = {name: f"{describe_identity(series[0])}_{name}" for name, series in scans.series.items()}
    cases = sorted((_rename(case, names[case.name]) for case in scans.dataset.cases), key=lambda case: case.name)
    series = {names[name]: chosen for name, chosen in scans.series.items()}
    return replace(scans, dataset=replace(scans.dataset, cases=tuple(cases)), series=series)


def describe_identity(series: DicomSeries) -> str:
    """Patient, day and series in letters that every file system takes.

    Args:
        series: the scan.
    Returns:
        three parts joined by ``_``: ``p-17_20240501_portal-venous``; what is not stated is said not to be.
    """
    first = series.planes[0]
    date = first.study_date if re.fullmatch("[0-9]{8}", first.study_date) else _NO_DATE
    patient = make_slug(_read_patient(first.path)) or _NO_PATIENT
    return "_".join((patient, date, make_slug(first.description) or _NO_DESCRIPTION))


def make_slug(text: str) -> str:
    """A text in lower-case letters, digits and ``-``.

    Args:
        text: whatever a header holds.
    Returns:
        the text without accents, all else between letters and digits as one ``-``, 40 letters at most; of a text in
        another alphabet a key, which is the same for the same text; empty for an empty text.
    """
    text = text.strip()
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub("[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_SLUG].rstrip("-")
    if slug or not text:
        return slug
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_KEY_DIGITS]


def _read_patient(path: Path) -> str:
    """The patient's ID, else the name; empty where the file tells neither (its own fault is found as it is read)."""
    try:
        content = open_dataset(path, ("PatientID", "PatientName", "SpecificCharacterSet"))
        with quiet():
            found = (str(content.get(keyword) or "").strip() for keyword in ("PatientID", "PatientName"))
            return next(filter(None, found), "")
    except Exception:  # pydicom raises errors of every kind on values that are none
        return ""


def _rename(case: Case, name: str) -> Case:
    return replace(case, name=name, patient=name)
