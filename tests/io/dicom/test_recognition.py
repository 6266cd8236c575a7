"""Which paths are DICOM, whatever their folders are called."""

from pathlib import Path

import pytest

from medseg.io import find_inputs, find_masks, write_volume
from medseg.io.dicom.listing import list_dicom
from medseg.io.dicom.recognition import is_dicom_tree, note_mixture
from tests.io.dicom_series import pile, write
from tests.preprocessing.examples import make_scan


def test_folders_that_look_like_a_data_set_may_hold_dicom(tmp_path: Path) -> None:
    for channel in ("CT", "MR"):
        write(tmp_path / "patient" / channel / "image", pile())
        write(tmp_path / "patient" / channel / "mask", pile(1))
    assert is_dicom_tree(tmp_path)
    assert is_dicom_tree(next((tmp_path / "patient" / "CT" / "image").iterdir()))
    listed = list_dicom(tmp_path)
    assert listed is not None
    assert listed.content["layout"] == "DICOM"


def test_other_folders_are_none(tmp_path: Path) -> None:
    assert not is_dicom_tree(tmp_path)
    assert not is_dicom_tree(tmp_path / "absent")
    write_volume(tmp_path / "scans" / "a.nii.gz", make_scan()[0])
    assert not is_dicom_tree(tmp_path / "scans")
    assert not is_dicom_tree(tmp_path / "scans" / "a.nii.gz")
    write(tmp_path / "scans" / "original", pile())  # images lead where both are there
    assert not is_dicom_tree(tmp_path)
    assert list_dicom(tmp_path) is None


def test_dicom_among_images_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What lies there and is not read is named; what ``medseg predict`` writes beside a mask is no mixture."""
    write_volume(tmp_path / "a.nii.gz", make_scan()[0])
    assert note_mixture(tmp_path) is None
    (one,) = write(tmp_path / "beside", pile(1))
    one.rename(tmp_path / "a.seg.dcm")
    assert note_mixture(tmp_path) is None
    write(tmp_path / "series", pile())
    line = note_mixture(tmp_path)
    assert line is not None
    assert "8 DICOM files are not" in line
    assert "im001.dcm" in line
    found = find_inputs(tmp_path, 1)
    assert found.layout.endswith("DICOM files in it are not read")
    find_masks(tmp_path)
    assert [record.getMessage() for record in caplog.records] == [line, line]
    assert note_mixture(tmp_path / "series") is None
