"""Small CT series on disk with their source record, for tests of what is written for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.source import DicomSource, SourceFrame
from medseg.io.dicom.uids import derive_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
LPS = np.array([-1.0, -1.0, 1.0])
LABELS = LabelScheme.make({"liver": 1, "kidney_left": 2, "liver tumour": 3})


def make_geometry(
    shape: tuple[int, int, int] = (12, 10, 6),
    spacing_mm: tuple[float, float, float] = (0.8, 1.25, 3.0),
    oblique: bool = False,
) -> Geometry:
    """A grid as series have it: rows to the left, columns to the back, planes upwards, turned where oblique."""
    axes = np.diag([-1.0, -1.0, 1.0])
    if oblique:
        a, b = 0.3, -0.2
        turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        turn_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
        axes = turn_x @ turn_z @ axes
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing_mm
    affine[:3, 3] = (31.25, -17.5, 4.75)
    return Geometry(shape, affine, spacing_mm)


def make_mask(geometry: Geometry) -> Segmentation:
    """A ball with a hole, a single voxel, a diagonal of voxels; one plane in the middle is empty."""
    i, j, k = np.indices(geometry.shape)
    array = np.zeros(geometry.shape, np.uint8)
    array[(i - 5) ** 2 + (j - 5) ** 2 < 16] = 1
    array[(i - 5) ** 2 + (j - 5) ** 2 < 4] = 0
    array[0, 0, 0] = 2
    array[(i == j) & (j == k + 1)] = 3
    array[..., 3] = 0
    return Segmentation(array, geometry)


def write_series(folder: Path, geometry: Geometry, *, multiframe: bool = False, **header: Any) -> DicomSource:
    """Write the files of a series (one, for a multi-frame one) without pixels, and say what they are.

    ``header`` changes attributes; None leaves them out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame_uid = (derive_uid("test", what) for what in ("study", "series", "frame"))
    positions = geometry.to_world([(0, 0, k) for k in range(geometry.shape[2])]) * LPS
    frames = []
    for k, position in enumerate(positions):
        path = folder / ("all.dcm" if multiframe else f"{k:03}.dcm")
        uid = derive_uid("test", "instance", "0" if multiframe else str(k))
        if not multiframe or k == 0:
            _write_file(
                path, geometry, position, (study, series, frame_uid, uid), ENHANCED_CT if multiframe else CT, header
            )
        where = (float(position[0]), float(position[1]), float(position[2]))
        frames.append(SourceFrame(path, ENHANCED_CT if multiframe else CT, uid, k + 1 if multiframe else 0, where))
    return DicomSource(series, study, frame_uid, "CT", geometry, tuple(frames))


def _write_file(
    path: Path, geometry: Geometry, position: Any, uids: tuple[str, str, str, str], kind: str, header: dict[str, Any]
) -> None:
    content = Dataset()
    content.file_meta = FileMetaDataset()
    content.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content.SpecificCharacterSet = "ISO_IR 100"
    content.SOPClassUID, content.SOPInstanceUID = kind, uids[3]
    content.StudyInstanceUID, content.SeriesInstanceUID, content.FrameOfReferenceUID = uids[:3]
    content.Modality = "CT"
    content.PatientName, content.PatientID = "Doe^Jane", "P-17"
    content.PatientBirthDate, content.PatientSex = "19600102", "F"
    content.StudyDate, content.StudyTime, content.StudyID = "20240501", "101500", "S1"
    content.AccessionNumber, content.ReferringPhysicianName = "A1", ""
    content.Rows, content.Columns = geometry.shape[1], geometry.shape[0]
    columns = geometry.affine[:3, :2] * LPS[:, None] / geometry.measured_mm[:2]
    content.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in columns.T.ravel()]
    content.ImagePositionPatient = [format_number_as_ds(float(value)) for value in position]
    content.PixelSpacing = [geometry.spacing_mm[1], geometry.spacing_mm[0]]
    content.SliceThickness = geometry.spacing_mm[2]
    for keyword, value in header.items():
        if value is None:
            delattr(content, keyword)
        else:
            setattr(content, keyword, value)
    content.save_as(path, enforce_file_format=True)
