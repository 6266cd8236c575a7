"""Real series: soft-tissue sarcomas as others converted them, a head CT of a tilted gantry with two slice distances."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from medseg.core.errors import GeometryError
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.pixels import read_frames
from medseg.io.dicom.read import read_series
from medseg.io.dicom.series import DicomSeries

DATA = Path(os.environ.get("MEDSEG_TEST_DATA", "/nonexistent")) / "data"
SARCOMA, TILTED = DATA / "sarcoma_dicom", DATA / "dicom_odd" / "ct_gantry_tilt_ge"
needs_sarcoma = pytest.mark.skipif(not SARCOMA.is_dir(), reason="MEDSEG_TEST_DATA is not set or has no sarcoma_dicom")
needs_tilted = pytest.mark.skipif(not TILTED.is_dir(), reason="MEDSEG_TEST_DATA is not set or has no ct_gantry_tilt_ge")


@needs_sarcoma
@pytest.mark.parametrize("patient", ["STS_001", "STS_002", "STS_003"])
@pytest.mark.parametrize(
    ("folder", "images"), [("CT", "sarcoma_ct_pet/CT"), ("PET", "sarcoma_ct_pet/PET"), ("MR_T1", "sarcoma_mr")]
)
def test_a_series_is_the_nifti_that_others_made_of_it(patient: str, folder: str, images: str) -> None:
    tree = find_series(SARCOMA / patient / folder)
    assert sorted(series.kind for series in tree.series) == ["contours", "image"]
    volume, _, _ = read_series(tree.images[0])
    truth = nib.load(DATA / images / "images" / f"{patient}.nii.gz")
    index = np.indices(volume.geometry.shape).reshape(3, -1)
    place = np.linalg.inv(truth.affine) @ volume.geometry.affine @ np.vstack([index, np.ones(index.shape[1])])
    nearest = np.round(place[:3]).astype(int)
    assert np.abs(place[:3] - nearest).max() < 1e-4
    np.testing.assert_array_equal(np.asarray(truth.dataobj)[tuple(nearest)], volume.array[0].ravel())


@needs_tilted
def test_a_tilted_gantry_is_refused_and_each_distance_is_a_volume() -> None:
    series = find_series(TILTED).images
    assert sorted(len(one.planes) for one in series) == [14, 14]
    for one in series:
        with pytest.raises(GeometryError, match=r"lean by 18\.5 degrees"):
            read_series(one)


@needs_tilted
def test_a_tilted_gantry_is_straightened_as_scipy_does_it() -> None:
    for series in find_series(TILTED).images:
        volume, _, _ = read_series(series, tilt="resample")
        array, affine = volume.array[0], volume.geometry.affine
        squares = np.diag(np.square(volume.geometry.spacing_mm))
        np.testing.assert_allclose(affine[:3, :3].T @ affine[:3, :3], squares, atol=1e-6)
        for k in (0, 6, 13):
            _compare_plane(series, array, affine, k)


def _compare_plane(series: DicomSeries, array: np.ndarray, affine: np.ndarray, k: int) -> None:
    """One plane of the straight volume against its slice, looked up where the affine says that its voxels lie."""
    planes = sorted(series.planes, key=lambda plane: plane.place.position_mm[2])
    place = planes[k].place
    stored = read_frames([planes[k]]).array[:, :, 0].astype(np.float64)
    i, j = np.meshgrid(*(np.arange(n) for n in array.shape[:2]), indexing="ij")
    world = (np.stack([i, j, np.full_like(i, k)], -1) @ affine[:3, :3].T + affine[:3, 3]) * [-1, -1, 1]
    offset = world - place.position_mm
    column = offset @ np.array(place.orientation[:3]) / place.spacing_mm[1]
    row = offset @ np.array(place.orientation[3:]) / place.spacing_mm[0]
    normal = np.cross(place.orientation[:3], place.orientation[3:])
    assert np.abs(offset @ normal).max() < 0.05  # positions are rounded; slices lie 4 and 7 mm apart
    expected = ndimage.map_coordinates(stored, [column, row], order=1, cval=np.nan)
    inside = np.isfinite(expected) & (row >= 0) & (row <= stored.shape[1] - 1)
    assert inside.mean() > 0.85
    np.testing.assert_allclose(array[:, :, k][inside], expected[inside], atol=2.0)
