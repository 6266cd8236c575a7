"""Masks of a patient's earlier studies: DICOM segmentations whose lesions have identifiers that shall stay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.core.errors import MedsegError
from medseg.core.geometry import Geometry
from medseg.core.manifest import read_run
from medseg.core.volume import Segmentation
from medseg.io.dicom.datasets import open_dataset
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.identity import name_patient, quiet
from medseg.io.dicom.kinds import SEGMENTATION
from medseg.io.dicom.seg_read import find_segments, paint_segments, read_seg
from medseg.io.dicom.series import DicomSeries

_KEYWORDS = (
    *("PatientID", "IssuerOfPatientID", "StudyDate", "StudyTime", "StudyInstanceUID", "SpecificCharacterSet"),
    *("SegmentationType", "ReferencedSeriesSequence", "SegmentSequence"),
)


@dataclass(frozen=True)
class StudyMoment:
    """When a study was made, as its header states it; empty where it does not."""

    date: str = ""
    time: str = ""

    def is_before(self, other: StudyMoment) -> bool:
        """Whether it is known to be earlier."""
        if not self.date or not other.date:
            return False
        if self.date != other.date:
            return self.date < other.date
        return bool(self.time and other.time) and self.time < other.time


@dataclass(frozen=True, eq=False)
class EarlierMask:
    """A segmentation that says which lesion is which.

    Args:
        path: the file.
        patient: what tells the patient from all others (``identity.name_patient``); empty where nothing does.
        study_uid: the study's unique identifier.
        moment: when the study was made.
        series_uids: the series that it was drawn on.
    """

    path: Path
    patient: str = field(repr=False)
    study_uid: str
    moment: StudyMoment = field(repr=False)
    series_uids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class NamedLesions:
    """A label's lesions in an earlier mask.

    Args:
        numbers: which segment each voxel belongs to, 0 for none.
        names: of each segment its name and its unique identifier over time.
    """

    numbers: Segmentation
    names: Mapping[int, tuple[str, str]]


def read_moment(header: Any) -> StudyMoment:
    """When the study of a header was made.

    Args:
        header: pydicom's data set.
    Returns:
        date and time of day to the second, each empty where it is missing or none.
    """
    date, time = (str(header.get(keyword) or "") for keyword in ("StudyDate", "StudyTime"))
    day = re.fullmatch("[0-9]{8}", date.strip())
    clock = re.match("[0-9]{6}", time.strip())
    return StudyMoment(day.group() if day else "", clock.group() if clock else "")


def list_segmentations(place: str | Path) -> dict[Path, str]:
    """The DICOM segmentations of a folder tree, or of one file.

    Args:
        place: the folder or file.
    Returns:
        each file with the digest of its patient's number (``FrameHeader.patient``).
    Raises:
        DatasetError: there is no such place.
    """
    planes = (plane for one in find_series(place).series if one.kind == SEGMENTATION for plane in one.planes)
    return {plane.path: plane.patient[0] for plane in sorted(planes, key=lambda plane: plane.path)}


def read_earlier_mask(path: Path) -> EarlierMask | None:
    """What an earlier segmentation is of.

    Args:
        path: the file.
    Returns:
        the mask; None where it names no lesion, holds probabilities, or cannot be read.
    """
    try:
        header = open_dataset(path, _KEYWORDS)
        with quiet():
            header.decode()
            named = any(item.get("TrackingUID") for item in header.get("SegmentSequence") or [])
            if not named or str(header.get("SegmentationType", "")) == "FRACTIONAL":
                return None
            drawn_on = [str(item.SeriesInstanceUID) for item in header.get("ReferencedSeriesSequence") or []]
            return EarlierMask(
                path, name_patient(header), str(header.get("StudyInstanceUID", "")), read_moment(header),
                tuple(drawn_on),
            )  # fmt: skip
    except Exception:  # pydicom raises errors of every kind on damaged files
        return None


def read_named_lesions(
    mask: EarlierMask, labels: Sequence[str], like: Geometry | None = None
) -> dict[str, NamedLesions]:
    """The lesions of an earlier mask.

    Args:
        mask: the segmentation.
        labels: to look for.
        like: the grid to lie on; the smallest that holds all frames where None.
    Returns:
        by label, those that have segments with identifiers.
    Raises:
        FormatError: damaged.
        GeometryError: a frame does not lie on the grid.
    """
    seg, found = read_seg(mask.path), {}
    for label in labels:
        segments = [segment for segment in find_segments(seg, label) if segment.tracking_uid]
        if segments:
            painted = paint_segments(seg, {segment.number: segment.number for segment in segments}, like)
            names = {s.number: (s.tracking_id or s.name or label, s.tracking_uid) for s in segments}
            found[label] = NamedLesions(painted, names)
    return found


def find_drawn_series(mask: EarlierMask) -> DicomSeries | None:
    """The series that an earlier mask was drawn on, where the record of the run that drew it tells.

    Args:
        mask: a file in the folder of a run of ``predict``.
    Returns:
        the series; None where the files are no longer there, or more than one volume could be meant.
    """
    try:
        record = read_run(mask.path.parent)
        cases = [entry["case"] for entry in record.get("cases", ()) if mask.path.name in entry["outputs"]]
        files = [Path(file) for case in cases for file in record.get("inputs", {}).get(case, ())]
        folders = {file.parent for file in files if file.is_file()}
        trees = [find_series(folder) for folder in sorted(folders)]
    except (MedsegError, AttributeError, KeyError, TypeError):
        return None
    found = [series for tree in trees for series in tree.images if series.series_uid in mask.series_uids]
    return found[0] if len(found) == 1 else None
