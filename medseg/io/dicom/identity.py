"""Whom and which examination a written object belongs to: copied from the series that it was made for."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from medseg.core.errors import FormatError
from medseg.io.dicom.source import DicomSource, SourceFrame

# DICOM PS3.3, C.7.1.1, C.7.1.3, C.7.2.1 to C.7.2.3: Patient, Clinical Trial Subject, General Study, Patient Study,
# Clinical Trial Study. The first ones must be there, empty where nobody knows them.
_REQUIRED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
_OPTIONAL = (
    *("IssuerOfPatientID", "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence"),
    *("PatientBirthTime", "PatientSpeciesDescription", "PatientSpeciesCodeSequence", "PatientBreedDescription"),
    *("PatientBreedCodeSequence", "BreedRegistrationSequence", "ResponsiblePerson", "ResponsibleOrganization"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("StudyDescription", "IssuerOfAccessionNumberSequence", "ProcedureCodeSequence"),
    *("PatientAge", "PatientSize", "PatientWeight", "LongitudinalTemporalInformationModified"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"),
    *("ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription", "ClinicalTrialCoordinatingCenterName"),
)
# Viewers match objects to patients by these, so they stay as they are, whatever they hold.
_KEPT = ("PatientName", "PatientID")
_UID = re.compile(r"^(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+$")
_LONGEST_UID = 64
_FILTERS = threading.RLock()
_REMARKS = logging.getLogger("pydicom")


@contextmanager
def quiet() -> Iterator[None]:
    """Within, what pydicom and highdicom remark about values that others wrote is neither printed nor logged.

    Their remarks hold the values themselves, patients' names among them.
    """
    # Python's filters are the process's: two threads that set and restore them at once would leave them changed.
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = _REMARKS.level
        _REMARKS.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            _REMARKS.setLevel(level)


def read_identity(source: DicomSource) -> Any:
    """The patient and study of a series, from its first file.

    Args:
        source: the series.
    Returns:
        a pydicom data set with the attributes of patient and study alone, decoded; what a writer must state and the
        file does not is empty.
    Raises:
        FormatError: the series has no file, the file cannot be read, or it belongs to another series.
    """
    import pydicom

    path = list_planes(source)[0].path
    wanted = [*_REQUIRED, *_OPTIONAL, "SpecificCharacterSet", "StudyInstanceUID", "SeriesInstanceUID"]
    with quiet():
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=wanted)
            header.decode()
        except Exception as error:  # pydicom raises errors of every kind on damaged files
            raise FormatError(
                f"its patient cannot be read: {type(error).__name__}",
                code="corrupt",
                file=path,
                remedy="Fetch it again",
            ) from None
    found = str(header.get("SeriesInstanceUID", ""))
    if found != source.series_uid:
        raise FormatError(
            f"the file belongs to the series {found[:80] or 'of no name'}, expected {source.series_uid}",
            code="other_series", file=path, remedy="Do not change the series while it is segmented",
        )  # fmt: skip
    return header


def name_patient(header: Any) -> str:
    """What tells a patient from all others: who numbers patients, and the number; never shown to anyone.

    Args:
        header: pydicom's data set.
    Returns:
        both, a line each; empty where there is no number.
    """
    issuer, number = (str(header.get(keyword) or "").strip() for keyword in ("IssuerOfPatientID", "PatientID"))
    return f"{issuer}\n{number}" if number else ""


def list_planes(source: DicomSource) -> tuple[SourceFrame, ...]:
    """The planes that a volume was read from or resampled from.

    Args:
        source: the series.
    Returns:
        its planes, at least one.
    Raises:
        FormatError: it names none, or an identifier is missing or none.
    """
    planes = source.frames or source.resampled_frames
    if not planes:
        raise FormatError(
            f"the series {source.series_uid} names no file that an object could refer to", code="no_source",
            remedy="Read the series with read_series",
        )  # fmt: skip
    named = [("study", source.study_uid), ("series", source.series_uid)]
    for what, uid in [*named, *(("instance", plane.sop_instance_uid) for plane in planes)]:
        if not is_uid(uid):
            raise FormatError(
                f"the {what}'s unique identifier is {uid[:80]!r}, expected numbers with dots, {_LONGEST_UID} at most",
                code="bad_uid", file=planes[0].path, remedy="Objects cannot refer to this series; export it again",
            )  # fmt: skip
    return planes


def is_uid(text: str) -> bool:
    """Whether a text is a unique identifier by DICOM PS3.5, 9.1."""
    return len(text) <= _LONGEST_UID and bool(_UID.match(text))


def copy_identity(header: Any, target: Any) -> None:
    """Give a written object the patient and study of its source.

    Args:
        header: as ``read_identity`` gives it.
        target: the pydicom data set to change; it states UTF-8 as its character set afterwards. Values that DICOM does
            not allow are left empty, but for the patient's name and ID.
    """
    from pydicom.dataelem import DataElement

    target.SpecificCharacterSet = "ISO_IR 192"
    with quiet():
        for keyword in (*_REQUIRED, *_OPTIONAL):
            if keyword in header:
                element = header[keyword]
                value = str(element.value) if element.VR == "PN" else element.value
                if keyword in _KEPT or _is_valid(element.VR, value):
                    target[keyword] = DataElement(element.tag, element.VR, value)
                    continue
            if keyword in _REQUIRED:
                setattr(target, keyword, None)


def _is_valid(kind: str, value: Any) -> bool:
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    if kind in ("SQ", "PN"):
        return True
    values = value if isinstance(value, list) else [value]
    try:
        for one in values:
            validate_value(kind, str(one) if kind in ("DS", "IS", "DA", "TM", "AS") else one, RAISE)
    except (ValueError, TypeError):
        return False
    return True
