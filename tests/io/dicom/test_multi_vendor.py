"""Series of several vendors become the NIfTI files that others made of them, voxel for voxel in the world."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.core.errors import MedsegError
from medseg.io.dicom.enhanced import list_frames
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.header_reading import read_header
from medseg.io.dicom.pixels import read_frames
from medseg.io.dicom.read import read_series
from medseg.io.dicom.suv import scale_to_suv

DATA = Path(os.environ.get("MEDSEG_TEST_DATA", "/nonexistent")) / "data"
VENDORS = DATA / "dicom_odd" / "multi_vendor"
pytestmark = pytest.mark.skipif(not VENDORS.is_dir(), reason="MEDSEG_TEST_DATA is not set or has no folder dicom_odd")

SERIES = (
    *("anatomical/001", "anatomical/001_implicit", "ge/anatomical/001", "ge/anatomical/001_implicit"),
    *("ge/anatomical/001_single_slice", "siemens/anatomical/001", "siemens/anatomical/001_implicit"),
    *("generic/anatomical/001", "generic/anatomical/001_implicit", "generic/anatomical/002_non_isotropic"),
    *("generic/compressed/001", "generic/compressed_j2k/001", "generic/compressed_jpeg/001"),
    *("generic/compressed_jpegls/001", "generic/compressed_rle/001"),
    *("philips_enhanced/anatomical/001", "philips_enhanced/anatomical/001_implicit"),
)


@pytest.mark.parametrize("name", SERIES)
def test_a_series_becomes_its_nifti(name):
    tree = find_series(VENDORS / name)
    assert len(tree.series) == 1
    volume, source, _ = read_series(tree.series[0])
    truth = nib.load(VENDORS / f"{name}_ground_truth.nii.gz")
    values = np.asanyarray(truth.dataobj).reshape(truth.shape[:3])
    to_truth = np.linalg.inv(truth.affine) @ volume.geometry.affine
    index = np.indices(volume.geometry.shape).reshape(3, -1)
    place = to_truth[:3, :3] @ index + to_truth[:3, 3:]
    if volume.geometry.shape[2] > 1:  # one slice has no thickness that both must agree upon
        assert np.abs(place - np.round(place)).max() < 0.01
    found = values[tuple(np.round(place).astype(int))].reshape(volume.geometry.shape)
    np.testing.assert_allclose(volume.array[0], found, rtol=1e-6)
    assert len(source.frames) == volume.geometry.shape[2]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gantrytilting", r"the planes lean by 14\.0 degrees"),
        ("sliceorientation", "the series mixes orientations"),
        ("slicecount", "2 slices 1 mm apart, expected at least 3"),
    ],
)
def test_what_is_no_volume_is_refused(name, text):
    tree = find_series(VENDORS / "failing" / name)
    assert tree.series
    for series in tree.series:
        with pytest.raises(MedsegError, match=text):
            read_series(series)


def test_colours_are_no_volume():
    tree = find_series(VENDORS / "generic" / "rgb")
    assert all(series.kind != "image" for series in tree.series)


def test_frames_of_a_converted_ct_are_its_files():
    folder = DATA / "dicom_odd" / "dcmqi" / "data" / "segmentations" / "24x38x3"
    whole = read_header(folder / "multiframe" / "mf.dcm").header
    frames = list_frames(whole)
    files = sorted(
        (read_header(path).header for path in (folder / "image").iterdir()), key=lambda one: one.place.position_mm[2]
    )
    assert [frame.place.position_mm for frame in frames] == [file.place.position_mm for file in files]
    np.testing.assert_array_equal(read_frames(frames).array, read_frames(files).array)


def test_frames_as_highdicom_reads_them():
    highdicom = pytest.importorskip("highdicom")
    for name in ("001/IM-0001-0170-0001.dcm", "001_implicit/IM1.dcm"):
        path = VENDORS / "philips_enhanced" / "anatomical" / name
        theirs = highdicom.imread(path).get_frames(
            apply_real_world_transform=False, apply_presentation_lut=False, apply_voi_transform=False
        )
        frames = list_frames(read_header(path).header)
        np.testing.assert_allclose(read_frames(frames).array, theirs.transpose(2, 1, 0), rtol=1e-6)


def test_pet_in_suv_is_left_as_it_is():
    """The PET series of the sarcoma data state SUV; voxels are those of the NIfTI file made of the same scan."""
    (series,) = find_series(DATA / "sarcoma_dicom" / "STS_001" / "PET" / "image").series
    volume, _, _ = read_series(series)
    scaled, notes = scale_to_suv(series.planes)
    ordered = sorted(scaled, key=lambda frame: frame.place.position_mm[2])
    np.testing.assert_array_equal(read_frames(ordered).array, volume.array[0])
    assert notes == ()
    assert 1 < volume.array.max() < 100
