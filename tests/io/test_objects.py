"""Images of nibabel and SimpleITK in memory against the same images on disk."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from medseg.core.dataset import Case, ImageSource
from medseg.core.errors import FormatError, GeometryError
from medseg.io import read_image, read_volume, volume_from_nibabel, volume_from_simpleitk
from tests.phantoms import oblique_geometry

GRID = oblique_geometry((7, 6, 5))
VALUES = np.random.default_rng(0).integers(-900, 900, (7, 6, 5)).astype(np.int16)


def make_nifti(values=VALUES, affine=GRID.affine, kind=nib.Nifti1Image):
    return kind(values, affine, dtype=values.dtype)


def same(volume, other):
    np.testing.assert_array_equal(volume.array, other.array)
    assert volume.array.dtype == other.array.dtype
    assert volume.array.dtype.isnative
    assert volume.geometry.same_grid(other.geometry)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", ">i2", "i4", "i8", "f4", "f8", ">f8"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_nibabel_in_memory_loaded_and_read_are_one(tmp_path, dtype, kind):
    image = make_nifti(np.abs(VALUES).astype(dtype) if dtype == "u1" else VALUES.astype(dtype), kind=kind)
    path = tmp_path / "x.nii.gz"
    nib.save(image, path)
    expected = read_image(path)
    same(volume_from_nibabel(image), expected)
    same(volume_from_nibabel(nib.load(path)), expected)
    nib.save(image, path.with_suffix(""))
    same(volume_from_nibabel(nib.load(path.with_suffix(""))), expected)


def test_scaled_values_are_as_exact_as_from_the_file(tmp_path):
    image = make_nifti()
    image.header.set_slope_inter(0.1, -1024.0)
    image.header["scl_slope"], image.header["scl_inter"] = 0.1, -1024.0
    path = tmp_path / "x.nii"
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.1, -1024.0], "<f4").tobytes()  # nibabel rescales what it saves; a scanner does not
    path.write_bytes(content)
    volume = volume_from_nibabel(nib.load(path))
    assert volume.array.dtype == np.float32
    same(volume, read_image(path))
    np.testing.assert_allclose(volume.array[0], np.asarray(nib.load(path).dataobj), rtol=1e-6)


def test_axes_after_the_third_are_channels(tmp_path):
    values = np.stack([VALUES, VALUES + 1], axis=-1)
    for array in (values, values[:, :, :, None]):
        path = tmp_path / "x.nii.gz"
        nib.save(make_nifti(array), path)
        volume = volume_from_nibabel(nib.load(path))
        np.testing.assert_array_equal(volume.array, [VALUES, VALUES + 1])
        same(volume, read_volume(Case("x", (ImageSource(path, 0), ImageSource(path, 1)))))
    flat = volume_from_nibabel(make_nifti(VALUES[:, :, 0]))
    np.testing.assert_array_equal(flat.array[0, :, :, 0], VALUES[:, :, 0])


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0), ("unknown", 1.0)])
def test_units_of_the_header_become_millimetres(tmp_path, unit, factor):
    image = make_nifti(affine=np.diag([2.0 / factor, 3.0 / factor, 4.0 / factor, 1.0]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "x.nii")
    for found in (volume_from_nibabel(image), volume_from_nibabel(nib.load(tmp_path / "x.nii"))):
        assert found.geometry.spacing_mm == pytest.approx((2.0, 3.0, 4.0))
    same(found, read_image(tmp_path / "x.nii"))


def test_a_header_without_orientation_is_read_as_from_the_file(tmp_path):
    image = nib.Nifti1Image(VALUES, None)
    image.header.set_zooms((0.5, 0.75, 3.0))
    nib.save(image, tmp_path / "x.nii")
    assert nib.load(tmp_path / "x.nii").header["sform_code"] == 0
    expected = read_image(tmp_path / "x.nii")
    same(volume_from_nibabel(nib.load(tmp_path / "x.nii")), expected)
    same(volume_from_nibabel(image), expected)


def test_an_affine_changed_in_place_counts(tmp_path):
    image = make_nifti()
    image.affine[:3, 3] += 5.0
    nib.save(image, tmp_path / "x.nii")
    same(volume_from_nibabel(make_nifti(affine=image.affine)), read_image(tmp_path / "x.nii"))
    again = make_nifti()
    again.affine[:3, 3] += 5.0
    same(volume_from_nibabel(again), read_image(tmp_path / "x.nii"))


def test_other_kinds_of_nibabel_images():
    volume = volume_from_nibabel(nib.freesurfer.MGHImage(VALUES, GRID.affine))
    np.testing.assert_array_equal(volume.array[0], VALUES)
    assert volume.geometry.same_grid(GRID)


def test_nibabel_images_that_cannot_be_used(tmp_path):
    path = tmp_path / "x.nii"
    nib.save(make_nifti(), path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(FormatError, match="cannot be read") as caught:
        volume_from_nibabel(nib.load(path))
    assert caught.value.file == str(path)
    holed = VALUES.astype(np.float32)
    holed[1, 1, 1] = np.nan
    with pytest.raises(FormatError, match="1 voxels are NaN"):
        volume_from_nibabel(make_nifti(holed))
    with pytest.raises(FormatError, match="complex"):
        volume_from_nibabel(make_nifti(VALUES.astype(np.complex64)))
    with pytest.raises(GeometryError, match="spacing"):
        volume_from_nibabel(make_nifti(affine=np.diag([1e5, 1, 1, 1])))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32, np.float64])
def test_simpleitk_images_as_their_file(tmp_path, dtype):
    image = SimpleITK.GetImageFromArray(np.abs(VALUES).astype(dtype).transpose(2, 1, 0))
    image.SetSpacing((0.7, 0.8, 3.25))
    image.SetOrigin((10.5, -20.25, 30.0))
    c, s = np.cos(0.3), np.sin(0.3)
    image.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    for name in ("x.mha", "x.nrrd"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        same(volume_from_simpleitk(image), read_image(tmp_path / name))
    world = volume_from_simpleitk(image).geometry.to_world((6, 5, 4))
    x, y, z = image.TransformIndexToPhysicalPoint((6, 5, 4))
    np.testing.assert_allclose(world, (-x, -y, z), atol=1e-9)


def test_components_and_fourth_axes_are_channels():
    both = np.stack([VALUES, VALUES + 1], axis=-1)
    vectors = SimpleITK.GetImageFromArray(both.transpose(2, 1, 0, 3), isVector=True)
    series = SimpleITK.GetImageFromArray(both.transpose(3, 2, 1, 0), isVector=False)
    for image in (vectors, series):
        np.testing.assert_array_equal(volume_from_simpleitk(image).array, [VALUES, VALUES + 1])
    flat = volume_from_simpleitk(SimpleITK.GetImageFromArray(VALUES[:, :, 0].T))
    np.testing.assert_array_equal(flat.array[0, :, :, 0], VALUES[:, :, 0])


def test_simpleitk_images_that_cannot_be_used():
    with pytest.raises(FormatError, match="complex"):
        volume_from_simpleitk(SimpleITK.GetImageFromArray(VALUES.astype(np.complex64)))
    with pytest.raises(FormatError, match="infinite"):
        volume_from_simpleitk(SimpleITK.GetImageFromArray(np.full((3, 3, 3), np.inf, np.float32)))
    image = SimpleITK.GetImageFromArray(VALUES)
    image.SetSpacing((1e-9, 1, 1))
    with pytest.raises(GeometryError, match="spacing"):
        volume_from_simpleitk(image)
