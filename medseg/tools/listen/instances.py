"""What arrives: bytes that claim to be a DICOM instance, looked at within bounds before anything parses them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from medseg.core.errors import FormatError
from medseg.io.dicom.elements import read_elements
from medseg.io.dicom.fields import Fields
from medseg.io.dicom.structure import check_structure

_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE, _STUDY_DATE = 0x00080005, 0x00080016, 0x00080018, 0x00080020
_MODALITY, _DESCRIPTION, _PATIENT_ID, _BIRTH_DATE = 0x00080060, 0x0008103E, 0x00100020, 0x00100030
_ISSUER, _BODY_PART, _STUDY, _SERIES = 0x00100021, 0x00180015, 0x0020000D, 0x0020000E
_WANTED = frozenset(
    (
        *(_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE, _STUDY_DATE, _MODALITY, _DESCRIPTION, _PATIENT_ID, _BIRTH_DATE),
        *(_ISSUER, _BODY_PART, _STUDY, _SERIES),
    )
)
_KEY_DIGITS = 16  # 64 bits: no two of a billion UIDs share a key


@dataclass(frozen=True, slots=True)
class Facts:
    """What an instance says of itself.

    Args:
        sop_class_uid, sop_instance_uid, series_uid, study_uid: as stated.
        modality, body_part, description: of the series, as stated; empty where not.
        study_date: YYYYMMDD as stated; empty where not.
        patient_id, issuer, birth_date: as stated; for finding earlier studies, never for messages or names.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    modality: str = ""
    body_part: str = ""
    description: str = ""
    study_date: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    issuer: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)

    def is_of_same_patient(self, other: Facts) -> bool:
        """Whether another instance has the patient's number, and states no other issuer of it or day of birth."""
        pairs = ((self.issuer, other.issuer), (self.birth_date, other.birth_date))
        agree = all(one == two for one, two in pairs if one and two)
        return bool(self.patient_id) and self.patient_id == other.patient_id and agree


def inspect_instance(path: Path) -> Facts:
    """Refuse a file that is no sound DICOM instance; every element is visited within bounds, none is believed.

    Args:
        path: a file that nobody else writes.
    Returns:
        what it says of itself.
    Raises:
        FormatError: no DICOM, truncated, nested without end, or without the identifiers of an instance.
        ResourceError: a deflated data set that the memory cannot hold.
    """
    check_structure(path)
    return read_facts(path)


def read_facts(path: Path) -> Facts:
    """What an instance that was inspected before says of itself; raises FormatError where it is none any more."""
    elements = read_elements(path, _WANTED)
    if elements is None:
        raise FormatError("not a DICOM file", code="not_dicom", file=path, remedy="Send it again")
    if elements.problem is not None:
        raise elements.problem
    fields = Fields(elements, path)
    facts = Facts(
        sop_class_uid=fields.code(_SOP_CLASS),
        sop_instance_uid=fields.code(_SOP_INSTANCE),
        series_uid=fields.code(_SERIES),
        study_uid=fields.code(_STUDY),
        modality=fields.code(_MODALITY),
        body_part=fields.code(_BODY_PART),
        description=fields.text(_DESCRIPTION),
        study_date=fields.code(_STUDY_DATE),
        patient_id=fields.text(_PATIENT_ID),
        issuer=fields.text(_ISSUER),
        birth_date=fields.code(_BIRTH_DATE),
    )
    named = {
        "class": facts.sop_class_uid, "instance": facts.sop_instance_uid, "series": facts.series_uid,
        "study": facts.study_uid,
    }  # fmt: skip
    if missing := [name for name, uid in named.items() if not uid]:
        raise FormatError(
            f"it has no unique identifier of its {', '.join(missing)}", code="bad_header", file=path,
            remedy="Send it again from where it was made",
        )  # fmt: skip
    return facts


def make_key(uid: str) -> str:
    """A unique identifier as a name of files: it says nothing of where it comes from, and leads out of no folder."""
    return hashlib.sha256(uid.encode("utf-8", "replace")).hexdigest()[:_KEY_DIGITS]
