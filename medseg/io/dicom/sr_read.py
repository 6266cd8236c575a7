"""The measurements of a DICOM structured report by TID 1500, group by group."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from medseg.core.errors import FormatError
from medseg.io.dicom.codes import Code
from medseg.io.dicom.identity import quiet
from medseg.io.dicom.structure import check_structure

_GROUP, _IDENTIFIER, _UID = "125007", "112039", "112040"  # DCM: measurement group, tracking identifier, its UID
_SEGMENT, _DERIVATION = "121191", "121401"  # DCM: referenced segment, derivation
_DEEPEST = 32


@dataclass(frozen=True)
class ReportedValue:
    """A number of a report.

    Args:
        concept: what was measured.
        derivation: how it was derived; None where not stated.
        unit: its unit; None where there is no value.
        value: None where it is not known.
    """

    concept: Code
    derivation: Code | None
    unit: Code | None
    value: float | None


@dataclass(frozen=True)
class ReportedGroup:
    """What a report says of one lesion or structure.

    Args:
        tracking_id, tracking_uid: its name and identifier; empty where not stated.
        segment: which segment of which object it is: the object's identifier and the segment's number; None where
            the group refers to none.
        values: its numbers, in the report's order.
    """

    tracking_id: str
    tracking_uid: str
    segment: tuple[str, int] | None
    values: tuple[ReportedValue, ...]


def read_report(path: str | Path) -> tuple[ReportedGroup, ...]:
    """The measurement groups of a report.

    Args:
        path: the file.
    Returns:
        the groups in the report's order; none where it has no measurements.
    Raises:
        FormatError: damaged, or no structured report.
    """
    import pydicom

    path = Path(path)
    check_structure(path)
    with quiet():
        try:
            content = pydicom.dcmread(path, force=True)
            if content.get("ValueType") != "CONTAINER":
                _refuse("it is no structured report", path)
            return tuple(_read_group(item) for item in _find_groups(content, 0, path))
        except FormatError:
            raise
        except Exception as error:  # pydicom raises errors of every kind on values that are none
            _refuse(f"its content cannot be read ({type(error).__name__})", path)


def _find_groups(item: Any, depth: int, path: Path) -> Iterator[Any]:
    if depth > _DEEPEST:
        _refuse(f"its content is nested more than {_DEEPEST} levels deep", path)
    for child in item.get("ContentSequence") or []:
        if _name(child) == _GROUP:
            yield child
        elif child.get("ValueType") == "CONTAINER":
            yield from _find_groups(child, depth + 1, path)


def _read_group(item: Any) -> ReportedGroup:
    name = uid = ""
    segment = None
    values = []
    for child in item.get("ContentSequence") or []:
        concept = _name(child)
        if concept == _IDENTIFIER:
            name = str(child.TextValue)
        elif concept == _UID:
            uid = str(child.UID)
        elif concept == _SEGMENT:
            place = child.ReferencedSOPSequence[0]
            number = place.ReferencedSegmentNumber
            segment = (str(place.ReferencedSOPInstanceUID), int(number[0] if isinstance(number, list) else number))
        elif child.get("ValueType") == "NUM":
            values.append(_read_value(child))
    return ReportedGroup(name, uid, segment, tuple(values))


def _read_value(item: Any) -> ReportedValue:
    measured = item.get("MeasuredValueSequence")
    value = float(measured[0].NumericValue) if measured else None
    derivation = next(
        (
            _code(child.ConceptCodeSequence)
            for child in item.get("ContentSequence") or []
            if _name(child) == _DERIVATION
        ),
        None,
    )
    return ReportedValue(
        _code(item.ConceptNameCodeSequence),
        derivation,
        _code(measured[0].MeasurementUnitsCodeSequence) if measured else None,
        value if value is None or math.isfinite(value) else None,
    )


def _name(item: Any) -> str:
    found = item.get("ConceptNameCodeSequence")
    return str(found[0].get("CodeValue", "")) if found else ""


def _code(sequence: Any) -> Code:
    item = sequence[0]
    return Code(
        str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeMeaning", ""))
    )


def _refuse(reason: str, path: Path) -> NoReturn:
    raise FormatError(reason, code="bad_report", file=path, remedy="Give a measurement report by TID 1500")
