"""The contours of an RTSTRUCT as they stand in the file; nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medseg.core.errors import FormatError, show_name
from medseg.io.dicom.datasets import open_dataset
from medseg.io.dicom.identity import quiet
from medseg.io.guard import LARGEST_PLACE_MM

RTSTRUCT_CLASS_UID = "1.2.840.10008.5.1.4.1.1.481.3"
# What contours may be called by (PS3.3 C.8.8.6.3, and the older name of the second).
CLOSED = frozenset(("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"))
# A triangle is the smallest shape with an area.
LEAST_POINTS = 3

_CONTOUR_DATA = 0x30060050


@dataclass(frozen=True, eq=False)
class Contour:
    """One closed outline in a plane.

    Args:
        points_mm: its corners, (point, 3), x, y, z in the patient's world as DICOM has it (LPS); the last is joined to
            the first.
        exclusive: whether the file asks for contours of one plane to be combined by exclusive or.
        image_uids: SOP instances that the contour says it was drawn on; they need not be there.
    """

    points_mm: NDArray[np.float64]
    exclusive: bool
    image_uids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Roi:
    """One structure.

    Args:
        number: by which the file refers to it.
        name: as the planning system's user called it: free text, to be shown with care.
        kind: ``GTV``, ``ORGAN``, ``EXTERNAL``, ...; empty where not stated.
        frame_of_reference_uid: the world its points lie in; empty where not stated.
        contours: closed ones, empty where the structure was never drawn.
        unused: how many contours were left out, by reason.
    """

    number: int
    name: str
    kind: str
    frame_of_reference_uid: str
    contours: tuple[Contour, ...]
    unused: dict[str, int]


@dataclass(frozen=True, eq=False)
class StructureSet:
    """An RTSTRUCT.

    Args:
        path: the file.
        sop_instance_uid, study_uid: as stated; empty where not.
        series_uids: of the image series that it says it was drawn on; they need not be there.
        rois: in the file's order.
    """

    path: Path
    sop_instance_uid: str
    study_uid: str
    series_uids: frozenset[str]
    rois: tuple[Roi, ...]


def read_structure_set(path: str | Path) -> StructureSet:
    """The structures of an RTSTRUCT.

    Args:
        path: the file.
    Returns:
        its structures with their closed contours; points and open lines are counted and left out.
    Raises:
        FormatError: it is damaged, no RTSTRUCT, or contradicts itself.
    """
    path = Path(path)
    file = open_dataset(path)
    try:
        with quiet():
            return _read_file(file, path)
    except FormatError:
        raise
    except Exception as error:  # pydicom raises whatever its conversion of damaged values stumbles over
        raise FormatError(
            f"its elements cannot be read ({type(error).__name__})", code="bad_rtstruct", file=path,
            remedy="Export it again from the planning system",
        ) from None  # fmt: skip


def _read_file(file: Dataset, path: Path) -> StructureSet:
    if str(file.get("SOPClassUID", "")) != RTSTRUCT_CLASS_UID:
        raise FormatError(
            f"its class is {show_name(str(file.get('SOPClassUID', 'not stated')))[:80]}, expected RT Structure Set",
            code="not_rtstruct", file=path, remedy="Give the RTSTRUCT file",
        )  # fmt: skip
    kinds = {
        int(item.ReferencedROINumber): str(item.get("RTROIInterpretedType", "") or "")
        for item in file.get("RTROIObservationsSequence", [])
    }
    named: dict[int, Dataset] = {}
    for item in file.get("StructureSetROISequence", []):
        if named.setdefault(int(item.ROINumber), item) is not item:
            raise _contradiction(f"two structures have the number {int(item.ROINumber)}", path)
    drawn: dict[int, Dataset] = {}
    for item in file.get("ROIContourSequence", []):
        number = int(item.ReferencedROINumber)
        if number not in named:
            raise _contradiction(f"contours of a structure {number} that the file does not name", path)
        if drawn.setdefault(number, item) is not item:
            raise _contradiction(f"structure {number} has two lists of contours", path)
    return StructureSet(
        path=path,
        sop_instance_uid=str(file.get("SOPInstanceUID", "")),
        study_uid=str(file.get("StudyInstanceUID", "")),
        series_uids=frozenset(_list_series(file)),
        rois=tuple(_read_roi(item, drawn.get(number), kinds.get(number, ""), path) for number, item in named.items()),
    )


def _list_series(file: Dataset) -> list[str]:
    return [
        str(series.SeriesInstanceUID)
        for frame in file.get("ReferencedFrameOfReferenceSequence", [])
        for study in frame.get("RTReferencedStudySequence", [])
        for series in study.get("RTReferencedSeriesSequence", [])
    ]


def _read_roi(item: Dataset, drawn: Dataset | None, kind: str, path: Path) -> Roi:
    name = str(item.get("ROIName", "") or "").strip()
    contours: list[Contour] = []
    unused: dict[str, int] = {}
    for entry in drawn.get("ContourSequence", []) or [] if drawn is not None else []:
        contour = _read_contour(entry, name, path)
        if isinstance(contour, str):
            unused[contour] = unused.get(contour, 0) + 1
        else:
            contours.append(contour)
    return Roi(
        number=int(item.ROINumber),
        name=name,
        kind=kind,
        frame_of_reference_uid=str(item.get("ReferencedFrameOfReferenceUID", "") or ""),
        contours=tuple(contours),
        unused=unused,
    )


def _read_contour(entry: Dataset, name: str, path: Path) -> Contour | str:
    """A closed contour, or why this one is none."""
    kind = str(entry.get("ContourGeometricType", "") or "")
    if kind not in CLOSED:
        known = {"POINT": "points", "OPEN_PLANAR": "open lines", "OPEN_NONPLANAR": "open lines"}
        return known.get(kind, "of an unknown type")
    points = _read_points(entry, name, path)
    stated = entry.get("NumberOfContourPoints")
    if stated is not None and int(stated) != len(points):
        raise _contradiction(
            f"a contour of {name!r} has {len(points)} points and states {int(stated)}", path
        )  # fmt: skip
    if len(points) < LEAST_POINTS:
        return f"closed contours of fewer than {LEAST_POINTS} points"
    images = tuple(str(image.ReferencedSOPInstanceUID) for image in entry.get("ContourImageSequence", []) or [])
    return Contour(points, kind != "CLOSED_PLANAR", images)


def _read_points(entry: Dataset, name: str, path: Path) -> NDArray[np.float64]:
    # The bytes as they stand: pydicom would make an object of each of what may be millions of numbers.
    element: Any = entry.get_item(_CONTOUR_DATA) if _CONTOUR_DATA in entry else None
    content = b"" if element is None else element.value
    if not isinstance(content, bytes):
        content = b"\\".join(str(value).encode() for value in content or [])
    content = content.rstrip(b" \0")
    try:
        numbers = np.array(content.split(b"\\") if content else [], dtype=np.bytes_).astype(np.float64)
    except ValueError:
        raise _contradiction(f"a contour of {name!r} holds what is no number", path) from None
    if len(numbers) % 3:
        raise _contradiction(f"a contour of {name!r} has {len(numbers)} numbers, no multiple of 3", path)
    if not np.all(np.abs(numbers) <= LARGEST_PLACE_MM):  # not where it is no number
        raise _contradiction(f"a contour of {name!r} lies more than {LARGEST_PLACE_MM:.0f} mm from the origin", path)
    return numbers.reshape(-1, 3)


def _contradiction(reason: str, path: Path) -> FormatError:
    return FormatError(reason, code="bad_rtstruct", file=path, remedy="Export it again from the planning system")
