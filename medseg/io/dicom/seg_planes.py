"""The planes that a written segmentation refers to, in the form that highdicom wants them."""

from __future__ import annotations

from typing import Any

import numpy as np

from medseg.core.errors import GeometryError
from medseg.io.dicom.identity import list_planes
from medseg.io.dicom.source import DicomSource, SourceFrame
from medseg.io.dicom.uids import derive_uid

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
_CT = "1.2.840.10008.5.1.4.1.1.2"
# Classes of one plane a file that highdicom knows; others stand in as CT until the object is made.
_PLAIN_CLASSES = (_CT, "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128")


def make_stand_ins(source: DicomSource) -> list[Any]:
    """A small pydicom data set for each plane of a volume, in the order of k.

    Args:
        source: the series. Files are not opened: multi-frame ones and such that lack what highdicom wants work too.
    Returns:
        data sets with the place of each plane and the identifiers that the object refers to it by.
    Raises:
        FormatError: the series names no file or no valid identifiers.
        GeometryError: the series' planes are not those of its volume.
    """
    from pydicom.dataset import Dataset
    from pydicom.valuerep import format_number_as_ds

    def numbers(values: Any) -> list[str]:
        return [format_number_as_ds(float(value)) for value in values]

    list_planes(source)
    geometry, count = source.geometry, source.geometry.shape[2]
    if source.frames and len(source.frames) != count:
        raise GeometryError(
            f"the series has {len(source.frames)} planes, its volume {count}", code="other_grid",
            remedy="Read the series with read_series",
        )  # fmt: skip
    columns = geometry.affine[:3, :3] * _RAS_TO_LPS[:, None]
    cosines = numbers((columns[:, :2] / geometry.measured_mm[:2]).T.ravel())
    step_mm = abs(float(columns[:, 2] @ np.cross(columns[:, 0], columns[:, 1]))) / np.prod(geometry.measured_mm[:2])
    positions = geometry.to_world([(0, 0, k) for k in range(count)]) * _RAS_TO_LPS
    common = Dataset()
    common.StudyInstanceUID, common.SeriesInstanceUID = source.study_uid, source.series_uid
    common.FrameOfReferenceUID = source.frame_of_reference_uid or derive_uid("frame", source.series_uid)
    common.Modality = source.modality
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(common, keyword, "")
    common.StudyDate = common.StudyTime = None
    common.Rows, common.Columns = geometry.shape[1], geometry.shape[0]
    common.PixelSpacing = numbers((geometry.spacing_mm[1], geometry.spacing_mm[0]))
    common.SliceThickness = format_number_as_ds(step_mm)
    common.ImageOrientationPatient = cosines
    planes = []
    for k in range(count):
        frame = source.frames[k] if source.frames else None
        plane = Dataset()
        plane.update(common)
        plane.SOPClassUID = frame.sop_class_uid if frame and frame.sop_class_uid in _PLAIN_CLASSES else _CT
        plane.SOPInstanceUID = frame.sop_instance_uid if frame and not frame.number else f"2.25.{k + 1}"
        plane.ImagePositionPatient = numbers(frame.position_mm if frame else positions[k])
        planes.append(plane)
    return planes


def refer_to_source(target: Any, source: DicomSource) -> None:
    """Have a segmentation that was made from stand-ins refer to the real planes.

    Args:
        target: highdicom's segmentation; planes of a resampled volume then refer to the real plane that lies nearest,
            as one whose locations are not preserved.
        source: the series.
    """
    frames = source.frames
    if frames and all(not frame.number and frame.sop_class_uid in _PLAIN_CLASSES for frame in frames):
        return
    real = dict(zip(_name_stand_ins(source), frames or _find_nearest(source), strict=True))
    for group in target.PerFrameFunctionalGroupsSequence:
        for derivation in group.get("DerivationImageSequence") or []:
            for item in derivation.SourceImageSequence:
                frame = real.get(str(item.ReferencedSOPInstanceUID))
                if frame is not None:  # segments of one plane share their item
                    _refer(item, frame)
                    item.SpatialLocationsPreserved = "YES" if frames else "NO"
    for holder, keyword in [(target, "SourceImageSequence")] + [
        (series, "ReferencedInstanceSequence") for series in target.get("ReferencedSeriesSequence") or []
    ]:
        if keyword in holder:
            holder[keyword].value = _list_instances(list_planes(source))


def _name_stand_ins(source: DicomSource) -> list[str]:
    if not source.frames:
        return [f"2.25.{k + 1}" for k in range(source.geometry.shape[2])]
    return [f"2.25.{k + 1}" if frame.number else frame.sop_instance_uid for k, frame in enumerate(source.frames)]


def _find_nearest(source: DicomSource) -> list[SourceFrame]:
    """For each plane of a resampled volume the series' plane that lies nearest along the normal."""
    geometry = source.geometry
    normal = np.cross(geometry.affine[:3, 0], geometry.affine[:3, 1]) * _RAS_TO_LPS
    normal /= np.linalg.norm(normal)
    own = geometry.to_world([(0, 0, k) for k in range(geometry.shape[2])]) * _RAS_TO_LPS @ normal
    real = np.array([frame.position_mm for frame in source.resampled_frames]) @ normal
    return [source.resampled_frames[int(np.abs(real - height).argmin())] for height in own]


def _refer(item: Any, frame: SourceFrame) -> None:
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
    if frame.number:
        item.ReferencedFrameNumber = frame.number


def _list_instances(frames: tuple[SourceFrame, ...]) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    items = []
    for frame in {frame.sop_instance_uid: frame for frame in frames}.values():
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
        items.append(item)
    return Sequence(items)
