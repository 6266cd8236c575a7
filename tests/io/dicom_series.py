"""Synthetic DICOM series whose voxels encode their own position: a reader is judged by the values at its own affine.

The value of a voxel is a linear function of its position in millimetres, so that it stays right under any linear
interpolation, and wrong under every flip, swap, shift or wrong distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medseg.io.dicom.uids import derive_uid

CT, MR, PET = (f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "4", "128"))
# Value per millimetre towards the left, the back and the head (LPS), and what one stored step is worth.
GRADIENT = np.array([1.0, 2.5, 4.0])
SLOPE = 1 / 32
# Half a stored step; interpolation adds what the rounding of two neighbours differs by.
TOLERANCE = 1.5 * SLOPE
SHAPE = (7, 9)  # rows, columns
SPACING_MM = (1.5, 1.25)  # between rows, between columns
STEP_MM = 3.0
AXIAL = np.eye(3)
CORONAL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # rows to the left, down to the feet, normal to the back
# Which study is written, where there are several.
_STUDY = ContextVar("study", default="")
SAGITTAL = np.array([[0, 1.0, 0], [0, 0, -1], [-1, 0, 0]])


@contextmanager
def in_study(name: str) -> Iterator[None]:
    """What is built meanwhile has identifiers of its own: series of several studies can lie in one tree."""
    before = _STUDY.set(name)
    try:
        yield
    finally:
        _STUDY.reset(before)


def identify(*parts: str) -> str:
    """A UID of the study that is written."""
    return derive_uid(*parts, *filter(None, [_STUDY.get()]))


def turn(degrees_x: float, degrees_z: float) -> NDArray[np.float64]:
    """Axial axes turned about x, then about z: along a row, down the rows and the normal, a row each."""
    a, b = np.radians([degrees_x, degrees_z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return (about_z @ about_x).T


@dataclass(frozen=True)
class Plane:
    """One slice to write.

    Args:
        position: of its first voxel, LPS, millimetres.
        axes: along a row, down the rows, normal, a row each.
        shape: rows, columns.
        spacing: between rows, between columns.
        header: attributes by keyword in place of the usual ones; None leaves one out.
        offset: added to all values, to tell volumes apart.
        name: of its file; numbered where empty.
    """

    position: NDArray[np.float64]
    axes: NDArray[np.float64] = field(default_factory=lambda: AXIAL)
    shape: tuple[int, int] = SHAPE
    spacing: tuple[float, float] = SPACING_MM
    header: dict[str, Any] = field(default_factory=dict)
    offset: float = 0.0
    name: str = ""

    def but(self, **header: Any) -> Plane:
        """The same slice with other attributes."""
        return replace(self, header={**self.header, **header})


def pile(
    count: int = 8,
    *,
    axes: NDArray[np.float64] = AXIAL,
    origin: Sequence[float] = (-11.0, -7.0, 20.0),
    step_mm: float = STEP_MM,
    places_mm: Sequence[float] | None = None,
    tilt_degrees: float = 0.0,
    **changes: Any,
) -> list[Plane]:
    """Slices behind one another along their normal, at ``places_mm`` or evenly; leaning down the rows where tilted."""
    header = changes.pop("header", {})
    places = [step_mm * index for index in range(count)] if places_mm is None else places_mm
    lean = axes[2] + np.tan(np.radians(tilt_degrees)) * axes[1]
    return [Plane(np.asarray(origin) + place * lean, axes, header=dict(header), **changes) for place in places]


def encode(world: NDArray[np.float64], offset: float = 0.0) -> NDArray[np.float64]:
    """The value that belongs to positions (..., 3) in LPS millimetres."""
    return world @ GRADIENT + offset


def fill(plane: Plane) -> NDArray[np.float64]:
    """The values of a slice's voxels, (row, column)."""
    rows, columns = np.meshgrid(*(np.arange(n) for n in plane.shape), indexing="ij")
    down = rows[..., None] * plane.spacing[0] * plane.axes[1]
    along = columns[..., None] * plane.spacing[1] * plane.axes[0]
    return encode(plane.position + down + along, plane.offset)


def build(plane: Plane, number: int) -> Dataset:
    """The data set of a slice: a signed 16-bit CT slice, but for what its header says."""
    uid = identify("series-test", *map(str, np.round(plane.position, 6)), str(plane.offset), str(number))
    data = Dataset()
    standard = {
        "SOPClassUID": CT, "SOPInstanceUID": uid, "Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "StudyInstanceUID": identify("study"), "SeriesInstanceUID": identify("series"),
        "FrameOfReferenceUID": identify("frame"), "PatientID": "0815", "PatientName": "Muster^Erika",
        "PatientBirthDate": "19700101", "StudyDate": "20200102", "StudyTime": "101112", "SeriesNumber": 3,
        "SeriesDescription": "thorax", "InstanceNumber": number, "AcquisitionNumber": 1, "SliceThickness": STEP_MM,
        "ImagePositionPatient": [f"{value:.10g}" for value in plane.position],
        "ImageOrientationPatient": [f"{value:.10g}" for value in plane.axes[:2].ravel()],
        "PixelSpacing": list(plane.spacing), "Rows": plane.shape[0], "Columns": plane.shape[1],
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": SLOPE, "RescaleIntercept": 0, "RescaleType": "HU",
    }  # fmt: skip
    for keyword, value in {**standard, **plane.header}.items():
        if value is not None:
            setattr(data, keyword, value)
    if "PixelData" not in plane.header and plane.header.get("Rows", 1) is not None:
        data.PixelData = store(plane, data)
        data["PixelData"].VR = "OW"
    return data


def store(plane: Plane, data: Dataset) -> bytes:
    """A slice's values as its data set says they are stored."""
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    stored = np.rint((fill(plane) - intercept) / slope)
    kind = "i" if data.PixelRepresentation else "u"
    values = stored.astype(f"<{kind}2")
    assert np.array_equal(values, stored), "a test's values do not fit its pixels"
    return values.tobytes()


def write(folder: Path, planes: Sequence[Plane], syntax: str = ExplicitVRLittleEndian, start: int = 1) -> list[Path]:
    """Write slices as files, without an ending where their name has none; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        save(folder / (plane.name or f"im{number:03}.dcm"), build(plane, number), syntax)
        for number, plane in enumerate(planes, start)
    ]


def save(path: Path, data: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write one data set with preamble and file header."""
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def measure_error(array: NDArray[Any], affine: NDArray[np.float64]) -> tuple[float, float]:
    """How far values (i, j, k) are from those that belong to their places in RAS+ millimetres.

    Returns:
        the offset that all share (which volume it is), and the largest difference besides.
    """
    index = np.stack(np.meshgrid(*(np.arange(n) for n in array.shape), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    difference = array - encode(world * [-1, -1, 1])
    offset = float(np.median(difference))
    return offset, float(np.abs(difference - offset).max())


def is_right(
    array: NDArray[Any], affine: NDArray[np.float64], tolerance: float = TOLERANCE, *, straightened: bool = False
) -> bool:
    """Whether values (i, j, k) are those that belong to their places in RAS+ millimetres, but for one offset.

    Args:
        array: of a volume that was read.
        affine: from its index to millimetres.
        tolerance: how far a value may be off.
        straightened: whether it was a leaning pile; what no plane covered then holds the lowest value.
    """
    array = np.asarray(array, np.float64)
    if not straightened:
        return measure_error(array, affine)[1] <= tolerance
    index = np.stack(np.meshgrid(*(np.arange(n) for n in array.shape), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    covered = array > array.min() + tolerance
    # At the rim of what planes cover, voxels are half covered.
    inner = covered & np.roll(covered, 1, axis=1) & np.roll(covered, -1, axis=1)
    leaning = (
        np.abs(affine[:3, :3].T @ affine[:3, :3] - np.diag(np.diag(affine[:3, :3].T @ affine[:3, :3]))).max() > 1e-3
    )
    off = np.abs(array - encode(world * [-1, -1, 1])) > tolerance
    return bool(inner.any()) and not leaning and float(off[inner].mean()) <= 0.1
