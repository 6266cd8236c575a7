"""Where a volume that was read from DICOM came from: what objects that are written for it must refer to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.core.geometry import Geometry


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """One plane of a series as it lies in a file.

    Args:
        path: the file.
        sop_class_uid: what kind of object it is.
        sop_instance_uid: which one.
        number: of the frame in a multi-frame file, from 1 on; 0 where the file holds a single one.
        position_mm: of the middle of its first voxel, x, y, z in the patient's world as DICOM has it (LPS).
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    number: int
    position_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class DicomSource:
    """A series as it was read.

    Args:
        series_uid, study_uid, frame_of_reference_uid: what identifies it; the last is empty where the files name none.
        modality: CT, MR, PT, ...
        geometry: of the volume that was read, in RAS+ as everywhere in medseg: i runs along a row of the picture (its
            columns), j down its rows, k from frame to frame.
        frames: in the order of k; empty where the volume was resampled (a tilted gantry) and lies between the planes.
        resampled_frames: where ``frames`` is empty, the planes that the volume was resampled from.
    """

    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    modality: str
    geometry: Geometry
    frames: tuple[SourceFrame, ...]
    resampled_frames: tuple[SourceFrame, ...] = ()
