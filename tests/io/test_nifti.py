"""NIfTI: what nibabel writes is read as it stands, and what is written is what nibabel reads."""

import gzip
import os

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.core.errors import FormatError, GeometryError, ResourceError
from medseg.core.geometry import Geometry
from medseg.core.volume import Segmentation, Volume
from medseg.io import read_image, write_segmentation, write_volume
from medseg.io.nifti import read_nifti, read_nifti_header
from tests.io.trees import save_nifti

OBLIQUE = np.array([[-0.7, 0.1, 0.0, 30.5], [0.1, 0.7, 0.3, -80.25], [0.0, -0.3, 4.9, 7.0], [0, 0, 0, 1]])


def edit_header(path, edit):
    data = path.read_bytes()
    header = nib.Nifti1Header(data[:348], check=False)
    edit(header)
    path.write_bytes(header.binaryblock + data[348:])
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">f4"])
def test_voxels_types_and_affine_as_nibabel_wrote_them(tmp_path, ending, dtype):
    values = np.random.default_rng(1).integers(0, 100, (3, 4, 5)).astype(dtype)
    image = nib.Nifti1Image(values, OBLIQUE, dtype=np.dtype(dtype))
    image.header.set_data_dtype(np.dtype(dtype))
    nib.save(image, tmp_path / f"x{ending}")
    array, geometry = read_nifti(tmp_path / f"x{ending}")
    assert array.dtype == (np.float32 if "f" in dtype else np.dtype(dtype).newbyteorder("="))
    np.testing.assert_array_equal(array[0], values)
    np.testing.assert_array_equal(geometry.affine, nib.load(tmp_path / f"x{ending}").affine)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_versions_in_both_byte_orders(tmp_path, kind, order):
    image = kind(np.arange(24, dtype=np.int16).reshape(2, 3, 4), OBLIQUE)
    header = image.header.as_byteswapped(order)
    nib.save(kind(np.asarray(image.dataobj), OBLIQUE, header), tmp_path / "x.nii.gz")
    array, geometry = read_nifti(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(array[0].ravel(), np.arange(24))
    np.testing.assert_allclose(geometry.affine, OBLIQUE, atol=1e-5)


def test_scaling_gives_float32(tmp_path):
    path = save_nifti(tmp_path / "x.nii")
    edit_header(path, lambda header: header.set_slope_inter(0.5, -1024))
    array, _ = read_nifti(path)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array[0], np.arange(24).reshape(2, 3, 4) * 0.5 - 1024)
    np.testing.assert_array_equal(array[0], nib.load(path).get_fdata())


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("mm", 1.0), ("micron", 0.001), ("unknown", 1.0)])
def test_units_of_length(tmp_path, unit, factor):
    path = save_nifti(tmp_path / "x.nii", affine=np.diag([0.5, 0.5, 0.5, 1]))
    edit_header(path, lambda header: header.set_xyzt_units(unit))
    assert read_nifti(path)[1].spacing_mm == (0.5 * factor,) * 3


def test_sform_then_qform_then_spacing(tmp_path):
    path = save_nifti(tmp_path / "x.nii")

    def set_both(header):
        header.set_qform(np.diag([2.0, 3.0, 4.0, 1.0]), 1)
        header.set_sform(np.array([[2.0, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]]), 1)

    edit_header(path, set_both)
    assert read_nifti(path)[1].affine[0, 3] == 5
    edit_header(path, lambda header: header.set_sform(np.diag([-5.0, 6.0, 7.0, 1.0]), 0))
    np.testing.assert_allclose(read_nifti(path)[1].affine, np.diag([2.0, 3.0, 4.0, 1.0]), atol=1e-6)
    edit_header(path, lambda header: header.set_qform(None, 0))
    np.testing.assert_array_equal(read_nifti(path)[1].affine, np.diag([2.0, 3.0, 4.0, 1.0]))


def test_unusable_sform_falls_back_to_qform_with_a_warning(tmp_path, caplog):
    path = save_nifti(tmp_path / "x.nii", affine=np.diag([2.0, 2.0, 2.0, 1.0]))

    def spoil(header):
        header.set_qform(np.diag([2.0, 2.0, 2.0, 1.0]), 1)
        header["srow_x"] = 0

    edit_header(path, spoil)
    assert read_nifti(path)[1].spacing_mm == pytest.approx((2, 2, 2))
    assert "the qform is used instead" in caplog.text


def test_two_dimensions_and_trailing_ones(tmp_path):
    save_nifti(tmp_path / "flat.nii", np.arange(6).reshape(2, 3))
    assert read_nifti(tmp_path / "flat.nii")[0].shape == (1, 2, 3, 1)
    save_nifti(tmp_path / "long.nii", np.arange(24).reshape(2, 3, 4, 1))
    assert read_nifti(tmp_path / "long.nii")[0].shape == (1, 2, 3, 4)


def test_volumes_of_a_4d_file(tmp_path):
    values = np.arange(48).reshape(2, 3, 4, 2)
    path = save_nifti(tmp_path / "x.nii.gz", values)
    assert read_nifti_header(path).volumes == 2
    np.testing.assert_array_equal(read_nifti(path, [1])[0][0], values[..., 1])
    np.testing.assert_array_equal(read_nifti(path, [1, 0])[0], np.moveaxis(values[..., ::-1], 3, 0))
    np.testing.assert_array_equal(read_image(path, index=0).array[0], values[..., 0])
    with pytest.raises(FormatError, match="2 volumes"):
        read_nifti(path)
    with pytest.raises(FormatError, match="channel 2"):
        read_nifti(path, [2])


@settings(max_examples=48, deadline=None)
@given(order=st.permutations(range(3)), signs=st.tuples(*[st.sampled_from([-1, 1])] * 3), ending=st.booleans())
def test_every_orientation_there_and_back(tmp_path_factory, order, signs, ending):
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * signs * (0.75, 0.8125, 3.0)
    affine[:3, 3] = (-10.5, 20.25, 1000.0)
    values = np.random.default_rng(3).integers(0, 5, (3, 4, 5)).astype(np.uint8)
    path = tmp_path_factory.mktemp("turn") / ("x.nii" if ending else "x.nii.gz")
    write_segmentation(path, Segmentation(values, Geometry(values.shape, affine)))
    array, geometry = read_nifti(path)
    np.testing.assert_array_equal(array[0], values)
    np.testing.assert_array_equal(geometry.affine, affine)
    image = nib.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), values)
    np.testing.assert_array_equal(image.affine, affine)
    np.testing.assert_allclose(image.header.get_qform(), affine, atol=1e-4)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)


def test_a_sheared_grid_has_no_qform(tmp_path):
    affine = np.eye(4)
    affine[1, 2] = 0.4
    write_volume(tmp_path / "x.nii.gz", Volume(np.zeros((1, 2, 3, 4), np.float32), Geometry((2, 3, 4), affine), ("a",)))
    header = nib.load(tmp_path / "x.nii.gz").header
    assert int(header["qform_code"]) == 0
    np.testing.assert_array_equal(read_nifti(tmp_path / "x.nii.gz")[1].affine, affine.astype(np.float32))


def test_writing_is_the_same_to_the_byte_and_whole(tmp_path):
    values = np.random.default_rng(0).integers(0, 3, (30, 20, 10)).astype(np.uint16)
    segmentation = Segmentation(values, Geometry(values.shape, OBLIQUE))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_segmentation(tmp_path / name, segmentation)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[4:8] == b"\0\0\0\0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_long_axis_becomes_nifti2_and_channels_4d(tmp_path):
    long = np.zeros((1, 40000, 1, 1), np.int16)
    write_volume(tmp_path / "long.nii.gz", Volume(long, Geometry.from_spacing((40000, 1, 1), (1, 1, 1)), ("a",)))
    assert isinstance(nib.load(tmp_path / "long.nii.gz"), nib.Nifti2Image)
    two = np.arange(48, dtype=np.float16).reshape(2, 2, 3, 4)
    write_volume(tmp_path / "two.nii", Volume(two, Geometry.from_spacing((2, 3, 4), (1, 1, 1)), ("a", "b")))
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "two.nii").dataobj), np.moveaxis(two, 0, 3))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_truncated_gzip_is_refused_wherever_it_ends(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut")
    noise = np.random.default_rng(5).integers(0, 1000, (12, 11, 10))
    content = save_nifti(folder / "x.nii.gz", noise).read_bytes()
    stop = data.draw(st.integers(0, len(content) - 1))
    (folder / "x.nii.gz").write_bytes(content[:stop])
    with pytest.raises(FormatError):
        read_nifti(folder / "x.nii.gz")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_in_the_data_is_refused_or_changes_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    noise = np.random.default_rng(5).integers(0, 1000, (12, 11, 10))
    path = save_nifti(folder / "x.nii.gz", noise)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(10, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        array, _ = read_nifti(path)
    except FormatError:
        return
    np.testing.assert_array_equal(array[0], noise)


def test_gzip_members_and_padding_are_read_and_rubbish_after_them_refused(tmp_path):
    plain = save_nifti(tmp_path / "x.nii").read_bytes()
    path = tmp_path / "y.nii.gz"
    path.write_bytes(gzip.compress(plain[:300]) + gzip.compress(plain[300:]) + b"\0" * 512)
    np.testing.assert_array_equal(read_nifti(path)[0][0].ravel(), np.arange(24))
    path.write_bytes(gzip.compress(plain) + b"rubbish")
    with pytest.raises(FormatError, match="damaged"):
        read_nifti(path)


def _set(**fields):
    def edit(header):
        for key, value in fields.items():
            header[key] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "error", "text"),
    [
        (_set(dim=[3, 2, 3, 400, 1, 1, 1, 1]), FormatError, "truncated"),
        (_set(dim=[3, 2, 0, 4, 1, 1, 1, 1]), FormatError, "shape"),
        (_set(dim=[9, 2, 3, 4, 1, 1, 1, 1]), FormatError, "shape"),
        (_set(dim=[3, 2, -3, 4, 1, 1, 1, 1]), FormatError, "shape"),
        (_set(datatype=32, bitpix=64), FormatError, "complex"),
        (_set(datatype=128, bitpix=24), FormatError, "colours"),
        (_set(datatype=999), FormatError, "data type code 999"),
        (_set(vox_offset=-5), FormatError, "byte -5"),
        (_set(vox_offset=np.nan), FormatError, "byte nan"),
        (_set(scl_slope=np.inf), FormatError, "not finite"),
        (_set(magic=b"ni1"), FormatError, "pair of files"),
        (_set(magic=b"xyz"), FormatError, "no NIfTI mark"),
        (_set(srow_x=[np.nan, 0, 0, 0]), GeometryError, "sform"),
        (_set(srow_x=[0, 0, 0, 0]), GeometryError, "sform"),
        (_set(srow_x=[1e9, 0, 0, 0]), GeometryError, "spacing of 1e"),
        (_set(sform_code=0, pixdim=[1, 0, 1, 1, 1, 1, 1, 1]), GeometryError, "spacing"),
        (_set(sform_code=0, pixdim=[1, np.inf, 1, 1, 1, 1, 1, 1]), GeometryError, "spacing"),
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_headers_that_cannot_be_are_refused_in_one_line(tmp_path, edit, error, text, ending):
    path = edit_header(save_nifti(tmp_path / "x.nii"), edit)
    if ending == ".nii.gz":
        path = tmp_path / "x.nii.gz"
        path.write_bytes(gzip.compress((tmp_path / "x.nii").read_bytes()))
    with pytest.raises(error, match=text) as caught:
        read_nifti(path)
    assert "\n" not in str(caught.value)
    assert caught.value.file == str(path)


def test_a_header_that_declares_terabytes_costs_nothing(tmp_path):
    path = save_nifti(tmp_path / "x.nii")
    edit_header(path, _set(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]))
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    for name in ("x.nii", "x.nii.gz"):
        with pytest.raises(FormatError):
            read_nifti(tmp_path / name)


def test_voxels_that_the_memory_cannot_hold_are_refused_before_they_are_read(tmp_path):
    path = edit_header(save_nifti(tmp_path / "x.nii"), _set(dim=[3, 10000, 10000, 10000, 1, 1, 1, 1]))
    os.truncate(path, 352 + 2 * 10000**3)  # a hole takes no room on the disk
    with pytest.raises(ResourceError, match=r"its voxels need 2000\.0 GB of memory, [0-9.]+ GB are free"):
        read_nifti(path)


def test_more_voxels_than_declared_are_refused(tmp_path):
    path = save_nifti(tmp_path / "x.nii.gz", np.zeros((50, 50, 50)))
    (tmp_path / "y.nii").write_bytes(gzip.decompress(path.read_bytes()))
    edit_header(tmp_path / "y.nii", _set(dim=[3, 50, 50, 5, 1, 1, 1, 1]))
    with pytest.raises(FormatError, match="header declares"):
        read_nifti(tmp_path / "y.nii")


def test_nan_and_infinite_voxels_are_counted(tmp_path):
    values = np.zeros((4, 4, 4))
    values[0, 0, :3] = np.nan
    values[1, 1, 1] = np.inf
    path = save_nifti(tmp_path / "x.nii.gz", values, dtype=np.float32)
    with pytest.raises(FormatError, match="3 voxels are NaN and 1 infinite, of 64"):
        read_nifti(path)


def test_too_large_for_float32_counts_as_infinite(tmp_path):
    path = save_nifti(tmp_path / "x.nii.gz", np.full((2, 2, 2), 1e300), dtype=np.float64)
    with pytest.raises(FormatError, match="8 infinite"):
        read_nifti(path)
