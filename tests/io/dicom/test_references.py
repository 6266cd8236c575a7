"""On which series a reference was drawn: by images, series, frame of reference, and where its contours lie."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from medseg.io.dicom.references import find_drawn_on, read_reference
from medseg.io.dicom.rtstruct_write import write_rtstruct
from medseg.io.dicom.uids import derive_uid
from tests.io.dicom_series import pile, write


def write_scan(folder: Path, name: str, origin_mm: float, **header: str) -> str:
    """Write a series of its own in the one world; its UID."""
    uid = derive_uid("series", name)
    planes = pile(origin=(-11, -7, origin_mm), header={"SeriesInstanceUID": uid, **header})
    images = {"SOPInstanceUID": ""}
    for number, plane in enumerate(planes):
        images["SOPInstanceUID"] = derive_uid("image", name, str(number))
        planes[number] = plane.but(**images)
    write(folder / name, planes)
    return uid


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, str]:
    """Two series in one world, the second half a slice higher, and contours of the first."""
    first = write_scan(tmp_path, "first", 20.0)
    write_scan(tmp_path, "second", 21.5)
    (series,) = find_series(tmp_path / "first").images
    _, source, _ = read_series(series)
    array = np.zeros(source.geometry.shape, np.uint8)
    array[2:5, 2:5, 2:4] = 1
    write_rtstruct(tmp_path / "rs.dcm", Segmentation(array, source.geometry), LabelScheme.make({"a": 1}), source)
    return tmp_path, first


def forget(path: Path, *, images: bool = False, series: bool = False, world: bool = False) -> None:
    """Remove what an RTSTRUCT says it was drawn on."""
    file = pydicom.dcmread(path)
    if images:
        for contour in file.ROIContourSequence[0].ContourSequence:
            contour.ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    if series:
        del file.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence
    if world:
        file.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3"
    file.save_as(path)


def find(folder: Path) -> str:
    found = find_series(folder)
    (contours,) = (series for series in found.series if series.kind == "contours")
    return find_drawn_on(read_reference(contours.planes[0], contours.kind), found.images).series_uid


@pytest.mark.parametrize("forgotten", [{}, {"images": True}, {"images": True, "series": True}])
def test_the_series_is_found_by_whatever_is_said(tree: tuple[Path, str], forgotten: dict[str, bool]) -> None:
    folder, first = tree
    forget(folder / "rs.dcm", **forgotten)
    assert find(folder) == first


def test_series_with_the_same_slices_are_ambiguous(tree: tuple[Path, str]) -> None:
    folder, _ = tree
    write_scan(folder, "third", 20.0)
    forget(folder / "rs.dcm", images=True, series=True)
    with pytest.raises(DatasetError, match="any of 3 series") as caught:
        find(folder)
    assert caught.value.code == "ambiguous_series"


def test_another_world_is_no_place(tree: tuple[Path, str]) -> None:
    folder, _ = tree
    forget(folder / "rs.dcm", images=True, series=True, world=True)
    with pytest.raises(DatasetError) as caught:
        find(folder)
    assert caught.value.code == "no_series"


def test_another_patients_series_is_no_place(tree: tuple[Path, str]) -> None:
    folder, _ = tree
    file = pydicom.dcmread(folder / "rs.dcm")
    file.PatientID = "another"
    file.save_as(folder / "rs.dcm")
    with pytest.raises(DatasetError) as caught:
        find(folder)
    assert caught.value.code == "no_series"
