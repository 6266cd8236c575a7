"""References that are damaged, foreign or made to harm: RTSTRUCT and SEG beside the scan that they were drawn on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from medseg.io.dicom.rtstruct_write import write_rtstruct
from medseg.io.dicom.seg_write import write_seg
from medseg.io.dicom.uids import derive_uid
from tests.io.dicom_series import in_study, pile, write

LABELS = LabelScheme.make({"liver": 1, "GTV 1": 2})
# The rules with which the references are imported.
RULES = {"labels": {"tumour": ["gtv*"], "liver": ["liver"]}}
RTSTRUCT, SEG = "rs.dcm", "seg.dcm"


@dataclass(frozen=True)
class Reference:
    """A reference with a fault.

    Args:
        name: unique.
        file: which reference is written, ``rs.dcm`` or ``seg.dcm``.
        change: of its data set, before it is written again; or of its file, where it takes a path.
        codes: it is refused with one of these; empty: the case is made.
        says: a part of the reason, or of what ``import-dicom`` says of it.
        same: made cases only: whether the mask is the one that was drawn.
        is_file: whether ``change`` takes the path.
    """

    name: str
    file: str
    change: Callable[[Any], object]
    codes: tuple[str, ...] = ()
    says: str = ""
    same: bool = False
    is_file: bool = False


def write_patient(folder: Path, patient: str, file: str) -> np.ndarray:
    """Write a scan with a reference; the label map (i, j, k) that was drawn on it, 1 liver and 2 tumour."""
    with in_study(patient):
        write(folder / "scan", pile(header={"PatientID": patient}))
    (series,) = find_series(folder / "scan").images
    _, source, _ = read_series(series)
    array = np.zeros(source.geometry.shape, np.uint8)
    array[1:8, 1:6, 2:6] = 1
    array[3:5, 2:5, 3:5] = 2
    drawing = Segmentation(array, source.geometry)
    (write_rtstruct if file == RTSTRUCT else write_seg)(folder / file, drawing, LABELS, source)
    return array


def write_reference(folder: Path, entry: Reference) -> np.ndarray:
    """Write a scan with the entry's reference; what was drawn before it was changed."""
    array = write_patient(folder, entry.name, entry.file)
    path = folder / entry.file
    if entry.is_file:
        entry.change(path)
        return array
    content = pydicom.dcmread(path)
    with warnings.catch_warnings(action="ignore"):  # pydicom's, of what is meant to be wrong
        entry.change(content)
        content.save_as(path)
    return array


def _contours(content: Dataset, roi: int = 1) -> list[Dataset]:
    return list(content.ROIContourSequence[roi].ContourSequence)


def _each_contour(change: Callable[[Dataset], object]) -> Callable[[Dataset], None]:
    """Every contour of the tumour changed."""

    def make(content: Dataset) -> None:
        for contour in _contours(content):
            change(contour)

    return make


def _points(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Dataset], None]:
    """The points (n, 3) of every contour of the tumour changed."""

    def one(contour: Dataset) -> None:
        points = change(np.array(contour.ContourData, float).reshape(-1, 3))
        contour.ContourData = [f"{value:.8g}" for value in points.ravel()]
        contour.NumberOfContourPoints = len(points)

    return _each_contour(one)


def _write_raw(values: list[str]) -> Callable[[Dataset], None]:
    def one(contour: Dataset) -> None:
        text = "\\".join(values)
        contour["ContourData"] = pydicom.dataelem.RawDataElement(
            contour["ContourData"].tag, "DS", len(text), text.encode() + b" " * (len(text) % 2), 0, False, True
        )

    return _each_contour(one)


def _set(**values: Any) -> Callable[[Dataset], None]:
    def make(content: Dataset) -> None:
        for keyword, value in values.items():
            setattr(content, keyword, value)

    return make


def _drop(*keywords: str) -> Callable[[Dataset], None]:
    def make(content: Dataset) -> None:
        for keyword in keywords:
            delattr(content, keyword)

    return make


def _forget_images(content: Dataset) -> None:
    """Contours that name images which are nowhere, as after an anonymisation of the scan alone."""
    frame = content.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    series.SeriesInstanceUID = derive_uid("gone")
    for image in series.ContourImageSequence:
        image.ReferencedSOPInstanceUID = derive_uid("gone", image.ReferencedSOPInstanceUID)
    for roi in content.ROIContourSequence:
        for contour in roi.ContourSequence:
            for image in contour.get("ContourImageSequence", []):
                image.ReferencedSOPInstanceUID = derive_uid("gone", image.ReferencedSOPInstanceUID)


def _leave_world(content: Dataset) -> None:
    """A structure set of another frame of reference that names nothing that is there."""
    _forget_images(content)
    other = derive_uid("another world")
    content.FrameOfReferenceUID = content.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = other
    for roi in content.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = other


def _repeat_contours(count: int) -> Callable[[Dataset], None]:
    def make(content: Dataset) -> None:
        roi = content.ROIContourSequence[1]
        roi.ContourSequence = [contour for contour in roi.ContourSequence for _ in range(count)]

    return make


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def _second_set(path: Path) -> None:
    content = pydicom.dcmread(path)
    content.SOPInstanceUID = content.file_meta.MediaStorageSOPInstanceUID = derive_uid("second", str(path))
    content.save_as(path.with_name("second.dcm"))


def _name_roi(name: str) -> Callable[[Dataset], None]:
    def make(content: Dataset) -> None:
        content.StructureSetROISequence[1].ROIName = name

    return make


def _number_contours(number: int) -> Callable[[Dataset], None]:
    return lambda content: _set(ReferencedROINumber=number)(content.ROIContourSequence[1])


def _number_structure(number: int) -> Callable[[Dataset], None]:
    return lambda content: _set(ROINumber=number)(content.StructureSetROISequence[1])


def _moved(*by_mm: float) -> Callable[[Dataset], None]:
    return _points(lambda points: points + np.array(by_mm))


def _tilt(points: np.ndarray) -> np.ndarray:
    return points + np.arange(len(points))[:, None] * np.array([0, 0, 0.9])


def _bow(points: np.ndarray) -> np.ndarray:
    """A line that crosses itself."""
    low, high = points.min(axis=0), points.max(axis=0)
    corners = [(low[0], low[1]), (high[0], high[1]), (high[0], low[1]), (low[0], high[1])]
    return np.array([[x, y, points[0, 2]] for x, y in corners])


def _refine(points: np.ndarray) -> np.ndarray:
    """The same line with 20,000 points on each of its pieces."""
    ends = np.roll(points, -1, axis=0)
    share = np.linspace(0, 1, 20_000, endpoint=False)[:, None]
    return np.concatenate([one + share * (other - one) for one, other in zip(points, ends, strict=True)])


STRUCTURE_SETS: tuple[Reference, ...] = (
    Reference("images_nowhere", RTSTRUCT, _forget_images, same=True),
    Reference("another_world", RTSTRUCT, _leave_world, ("no_series",)),
    Reference("another_patient", RTSTRUCT, _set(PatientID="4711"), ("no_series",)),
    Reference("open_lines", RTSTRUCT, _each_contour(_set(ContourGeometricType="OPEN_PLANAR")), ("open_contours",)),
    Reference("points_alone", RTSTRUCT, _each_contour(_set(ContourGeometricType="POINT")), ("open_contours",)),
    Reference("unknown_kind_of_line", RTSTRUCT, _each_contour(_set(ContourGeometricType="BLOB")), ("open_contours",)),
    Reference("another_number_of_points", RTSTRUCT, _each_contour(_set(NumberOfContourPoints=3)), ("bad_rtstruct",)),
    Reference("coordinates_that_are_no_triples", RTSTRUCT, _write_raw(["1", "2", "20", "4"]), ("bad_rtstruct",)),
    Reference("coordinates_that_are_no_numbers", RTSTRUCT, _write_raw(["1", "x", "20"] * 4), ("bad_rtstruct",)),
    Reference("coordinates_nan", RTSTRUCT, _write_raw(["1", "nan", "20"] * 4), ("bad_rtstruct",)),
    Reference("coordinates_beyond_all", RTSTRUCT, _write_raw(["1e30", "1", "29"] * 4), ("bad_rtstruct",)),
    Reference("no_coordinates", RTSTRUCT, _each_contour(_drop("ContourData")), ("bad_rtstruct",)),
    Reference("lines_of_two_points", RTSTRUCT, _points(lambda points: points[:2]), ("open_contours",)),
    Reference("no_contours_at_all", RTSTRUCT, _drop("ROIContourSequence"), says="left out"),
    Reference("contours_of_no_structure", RTSTRUCT, _number_contours(99), ("bad_rtstruct",)),
    Reference("two_structures_of_one_number", RTSTRUCT, _number_structure(1), ("bad_rtstruct",)),
    Reference("html_name", RTSTRUCT, _name_roi("GTV<script>alert(1)</script>"), same=True),
    Reference("path_as_name", RTSTRUCT, _name_roi("gtv/../../../etc/passwd"), same=True),
    Reference("name_without_end", RTSTRUCT, _name_roi("gtv" + "x" * 9000), same=True),
    Reference("tilted_contours", RTSTRUCT, _points(_tilt), ("contours_off_slices",)),
    Reference("contours_between_slices", RTSTRUCT, _moved(0, 0, 1.4), ("contours_off_slices",)),
    Reference("contours_off_the_scan", RTSTRUCT, _moved(500, 0, 0), ("outside_scan",)),
    Reference("contours_above_the_scan", RTSTRUCT, _moved(0, 0, 600), ("outside_scan",)),
    Reference("crossing_line", RTSTRUCT, _points(_bow)),
    Reference("lines_of_80000_points", RTSTRUCT, _points(_refine), same=True),
    Reference("every_contour_a_thousand_times", RTSTRUCT, _repeat_contours(1001), says="count once", same=True),
    Reference("cut_structure_set", RTSTRUCT, _cut, ("truncated",), is_file=True),
    Reference("two_sets_of_one_scan", RTSTRUCT, _second_set, ("several_references",), is_file=True),
)  # fmt: skip


def _frames(change: Callable[[Dataset], object], *, last: bool = False) -> Callable[[Dataset], None]:
    def make(content: Dataset) -> None:
        groups = content.PerFrameFunctionalGroupsSequence
        for item in groups[-1:] if last else groups:
            change(item)

    return make


def _leave_world_seg(content: Dataset) -> None:
    content.FrameOfReferenceUID = derive_uid("another world")
    for item in content.get("ReferencedSeriesSequence", []):
        item.SeriesInstanceUID = derive_uid("gone")
        for image in item.ReferencedInstanceSequence:
            image.ReferencedSOPInstanceUID = derive_uid("gone", image.ReferencedSOPInstanceUID)
    for group in content.PerFrameFunctionalGroupsSequence:
        if "DerivationImageSequence" in group:
            del group.DerivationImageSequence


def _move(millimetres: float) -> Callable[[Dataset], None]:
    def one(item: Dataset) -> None:
        place = item.PlanePositionSequence[0]
        x, y, z = map(float, place.ImagePositionPatient)
        place.ImagePositionPatient = [x, y, z + millimetres]

    return _frames(one)


def _number_segment(number: int) -> Callable[[Dataset], None]:
    return _frames(lambda item: _set(ReferencedSegmentNumber=number)(item.SegmentIdentificationSequence[0]), last=True)


def _label_segment(name: str) -> Callable[[Dataset], None]:
    return lambda content: _set(SegmentLabel=name)(content.SegmentSequence[1])


def _fill_pixels(value: bytes) -> Callable[[Dataset], None]:
    def make(content: Dataset) -> None:
        content.PixelData = value * len(content.PixelData)

    return make


SEGMENTATIONS: tuple[Reference, ...] = (
    Reference("seg_of_another_world", SEG, _leave_world_seg, ("no_series",)),
    Reference("seg_of_another_patient", SEG, _set(PatientID="4711"), ("no_series",)),
    Reference("seg_without_places", SEG, _frames(lambda item: _drop("PlanePositionSequence")(item)), ("no_place",)),
    Reference("seg_of_more_frames", SEG, _set(NumberOfFrames=4000), ("truncated",)),
    Reference("seg_of_frames_without_end", SEG, _set(NumberOfFrames=2_000_000_000), ("truncated",)),
    Reference("seg_of_no_frames", SEG, _set(NumberOfFrames=0), ("bad_shape",)),
    Reference("seg_of_a_segment_that_is_not_there", SEG, _number_segment(9), ("bad_seg",)),
    Reference("seg_of_an_unknown_type", SEG, _set(SegmentationType="MAGIC"), ("bad_seg",)),
    Reference("seg_of_other_rows", SEG, _set(Rows=70, Columns=90), ("truncated",)),
    Reference("seg_between_slices", SEG, _move(1.4), ("other_grid",)),
    Reference("seg_above_the_scan", SEG, _move(700), ("other_grid",)),
    Reference("seg_html_name", SEG, _label_segment("GTV<img src=x>"), same=True),
    Reference("seg_without_segments", SEG, _drop("SegmentSequence"), ("bad_seg",)),
    Reference("seg_without_groups", SEG, _drop("PerFrameFunctionalGroupsSequence"), ("bad_seg",)),
    Reference("seg_of_nothing", SEG, _fill_pixels(b"\0")),
    Reference("cut_seg", SEG, _cut, ("truncated",), is_file=True),
    Reference("two_segs_of_one_scan", SEG, _second_set, ("several_references",), is_file=True),
)

REFERENCES = (*STRUCTURE_SETS, *SEGMENTATIONS)
