"""The elements of an RTSTRUCT: DICOM PS3.3, A.19 and C.8.8.5 to C.8.8.8."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian

from medseg.io.dicom.contour_lines import Points
from medseg.io.dicom.identity import copy_identity
from medseg.io.dicom.maker import Maker, describe_software
from medseg.io.dicom.rtstruct_read import RTSTRUCT_CLASS_UID
from medseg.io.dicom.segments import Segment, clean_text
from medseg.io.dicom.source import DicomSource, SourceFrame
from medseg.io.dicom.uids import derive_uid, make_uid

# PS3.3, C.8.8.5: how a study is referred to, though objects of this class were retired.
_STUDY_CLASS_UID = "1.2.840.10008.3.1.2.3.1"
_CONTOUR_DATA = Tag(0x3006, 0x0050)
_SHORT_TEXT = 16  # SH
# Of a millimetre: far below any scanner's voxel, and with at most five digits before the point within the 16 letters of
# a decimal string.
_DECIMALS = 6
# Codes (SNOMED CT) that a radiotherapist contours as gross tumour volume, and words for the patient's outline.
_TUMOURS = frozenset(("Neoplasm", "Mass", "Metastasis"))
_TARGETS = ("GTV", "CTV", "PTV")
_OUTLINES = frozenset(("body", "external", "skin", "patient"))


@dataclass(frozen=True, eq=False)
class ContourPlane:
    """A slice that contours can stand on.

    Args:
        frame: of the series, which lies in that plane.
        origin_mm: of the middle of the volume's first voxel there, x, y, z, LPS.
    """

    frame: SourceFrame
    origin_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class DrawnRoi:
    """A structure to write.

    Args:
        name: of at most 64 letters, different from all others.
        segment: what it stands for.
        contours: slice and corners, (point, 2), index coordinates i, j.
    """

    name: str
    segment: Segment
    contours: tuple[tuple[int, Points], ...]


def make_structure_set(
    header: Any, source: DicomSource, planes: Sequence[ContourPlane], rois: Sequence[DrawnRoi], maker: Maker
) -> Dataset:
    """An RTSTRUCT, ready to be written.

    Args:
        header: the patient and study as ``read_identity`` gives them.
        source: the series that the structures were drawn on.
        planes: its slices, in the order of k.
        rois: the structures.
        maker: who or what drew them.
    Returns:
        the data set with its file header, unapproved.
    """
    content = Dataset()
    copy_identity(header, content)
    now = datetime.datetime.now()  # of the place, as DICOM has it
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    uid = UID(make_uid())
    content.SOPClassUID, content.SOPInstanceUID = RTSTRUCT_CLASS_UID, uid
    content.InstanceCreationDate, content.InstanceCreationTime = date, time
    content.StudyInstanceUID, content.SeriesInstanceUID = source.study_uid, maker.series_uid or make_uid()
    content.Modality, content.SeriesNumber, content.OperatorsName = "RTSTRUCT", maker.series_number, None
    content.SeriesDescription = clean_text(maker.series_description or "medseg contours")
    software = describe_software()
    content.Manufacturer, content.ManufacturerModelName = software["manufacturer"], software["manufacturer_model_name"]
    content.SoftwareVersions = software["software_versions"]
    world = source.frame_of_reference_uid or derive_uid("frame of reference", source.series_uid)
    content.FrameOfReferenceUID, content.PositionReferenceIndicator = world, None
    content.StructureSetLabel = "medseg"
    content.StructureSetDescription = "Drawn by hand" if maker.by_hand else "Automatic contours, not reviewed"
    content.StructureSetDate, content.StructureSetTime = date, time
    content.ReferencedFrameOfReferenceSequence = Items([_refer_to_series(source, planes, world)])
    content.StructureSetROISequence = Items(
        [_name_roi(number, roi, world, source, maker) for number, roi in enumerate(rois, start=1)]
    )
    content.ROIContourSequence = Items(
        [_draw_roi(number, roi, source, planes) for number, roi in enumerate(rois, start=1)]
    )
    content.RTROIObservationsSequence = Items([_observe_roi(number, roi) for number, roi in enumerate(rois, start=1)])
    content.ApprovalStatus = "UNAPPROVED"
    content.file_meta = FileMetaDataset()
    content.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content.file_meta.MediaStorageSOPClassUID = UID(RTSTRUCT_CLASS_UID)
    content.file_meta.MediaStorageSOPInstanceUID = uid
    return content


def _refer_to_series(source: DicomSource, planes: Sequence[ContourPlane], world: str) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = source.series_uid
    instances = {plane.frame.sop_instance_uid: plane.frame for plane in planes}
    series.ContourImageSequence = Items([_refer_to_image(frame, whole=True) for frame in instances.values()])
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _STUDY_CLASS_UID, source.study_uid
    study.RTReferencedSeriesSequence = Items([series])
    frame_of_reference = Dataset()
    frame_of_reference.FrameOfReferenceUID = world
    frame_of_reference.RTReferencedStudySequence = Items([study])
    return frame_of_reference


def _refer_to_image(frame: SourceFrame, *, whole: bool = False) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
    if frame.number and not whole:
        image.ReferencedFrameNumber = frame.number
    return image


def _name_roi(number: int, roi: DrawnRoi, world: str, source: DicomSource, maker: Maker) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ReferencedFrameOfReferenceUID, item.ROIName = number, world, roi.name
    item.ROIVolume = f"{roi.segment.voxels * source.geometry.voxel_volume_ml:.8g}"  # cubic centimetres
    item.ROIGenerationAlgorithm = "MANUAL" if maker.by_hand else "AUTOMATIC"
    return item


def _draw_roi(number: int, roi: DrawnRoi, source: DicomSource, planes: Sequence[ContourPlane]) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor, item.ReferencedROINumber = list(roi.segment.colour), number
    if roi.contours:
        item.ContourSequence = Items(
            [_draw_contour(place, planes[k], points, source) for place, (k, points) in enumerate(roi.contours, start=1)]
        )
    return item


def _draw_contour(place: int, plane: ContourPlane, points: Points, source: DicomSource) -> Dataset:
    columns = source.geometry.affine[:3, :2] * np.array([[-1.0], [-1.0], [1.0]])
    world = np.asarray(plane.origin_mm) + points @ columns.T
    content = "\\".join(_write_number(value) for value in world.ravel().tolist()).encode("ascii")
    content += b" " * (len(content) % 2)
    item = Dataset()
    item.ContourImageSequence = Items([_refer_to_image(plane.frame)])
    item.ContourGeometricType, item.NumberOfContourPoints, item.ContourNumber = "CLOSED_PLANAR", len(points), place
    # As bytes: pydicom would make an object of each number.
    item[_CONTOUR_DATA] = RawDataElement(_CONTOUR_DATA, "DS", len(content), content, 0, False, True)
    return item


def _write_number(value: float) -> str:
    text = f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _observe_roi(number: int, roi: DrawnRoi) -> Dataset:
    item = Dataset()
    item.ObservationNumber, item.ReferencedROINumber = number, number
    item.ROIObservationLabel = clean_text(roi.name, _SHORT_TEXT)
    item.RTROIInterpretedType, item.ROIInterpreter = name_kind_of_roi(roi.segment), None
    return item


def name_kind_of_roi(segment: Segment) -> str:
    """What radiotherapy calls a structure: a target by its name, a tumour, an organ, the outline; empty if unknown."""
    words = segment.label.replace("_", " ").replace("-", " ").casefold().split()
    target = next((kind for kind in _TARGETS if any(word.startswith(kind.casefold()) for word in words)), "")
    if target:
        return target
    if len(words) == 1 and words[0] in _OUTLINES:
        return "EXTERNAL"
    meaning = segment.meaning
    if meaning.kind.meaning in _TUMOURS:
        return "GTV"
    return "ORGAN" if meaning.known and meaning.category.meaning.startswith("Anatomical") else ""
