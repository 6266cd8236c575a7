"""NRRD and MetaImage against SimpleITK, pictures against Pillow and tifffile, and damaged files of every format."""

import contextlib

import numpy as np
import pytest
import SimpleITK
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medseg.core.errors import FormatError, MedsegError
from medseg.core.geometry import Geometry
from medseg.core.volume import Segmentation, Volume
from medseg.io import read_image, read_segmentation, write_segmentation, write_volume
from medseg.io.pictures import count_picture_channels
from medseg.io.read import read_array

VALUES = np.random.default_rng(0).integers(0, 200, (6, 5, 4)).astype(np.int16)


def save_itk(path, values=VALUES, *, compress=True, direction=None):
    image = SimpleITK.GetImageFromArray(values.transpose(2, 1, 0))
    image.SetSpacing((0.7, 0.8, 3.25))
    image.SetOrigin((10.5, -20.25, 30.0))
    if direction is not None:
        image.SetDirection(direction)
    SimpleITK.WriteImage(image, str(path), compress)
    return path


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("compress", [True, False])
def test_grids_become_ras_with_i_first(tmp_path, ending, compress):
    c, s = np.cos(0.3), np.sin(0.3)
    save_itk(tmp_path / f"x{ending}", compress=compress, direction=(c, -s, 0, s, c, 0, 0, 0, 1))
    volume = read_image(tmp_path / f"x{ending}")
    np.testing.assert_array_equal(volume.array[0], VALUES)
    assert volume.array.dtype == np.int16
    itk = SimpleITK.ReadImage(str(tmp_path / f"x{ending}"))
    for index in ((0, 0, 0), (5, 4, 3)):
        x, y, z = itk.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(volume.geometry.to_world(index), (-x, -y, z), atol=1e-9)


def test_the_same_place_as_nifti(tmp_path):
    image = SimpleITK.ReadImage(str(save_itk(tmp_path / "x.nrrd")))
    SimpleITK.WriteImage(image, str(tmp_path / "x.nii.gz"))
    assert read_image(tmp_path / "x.nrrd").geometry.same_grid(read_image(tmp_path / "x.nii.gz").geometry)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_written_grids_are_exact_reproducible_and_readable_by_others(tmp_path, ending):
    affine = np.array([[-0.7, 0.1, 0.0, 30.5], [0.1, 0.7, 0.0, -80.25], [0.0, 0.0, 4.9, 7.0], [0, 0, 0, 1]])
    segmentation = Segmentation(VALUES.astype(np.uint8), Geometry(VALUES.shape, affine))
    for name in ("a", "b"):
        write_segmentation(tmp_path / f"{name}{ending}", segmentation)
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    back = read_segmentation(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(back.array, VALUES)
    np.testing.assert_allclose(back.geometry.affine, affine, atol=1e-12)
    itk = SimpleITK.ReadImage(str(tmp_path / f"a{ending}"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(itk).transpose(2, 1, 0), VALUES)
    np.testing.assert_allclose(itk.GetOrigin(), (-30.5, 80.25, 7.0), atol=1e-12)


def test_vectors_are_channels(tmp_path):
    two = np.stack([VALUES, VALUES + 1]).astype(np.float32)
    write_volume(tmp_path / "x.nrrd", Volume(two, Geometry.from_spacing(VALUES.shape, (1, 1, 1)), ("a", "b")))
    np.testing.assert_array_equal(read_image(tmp_path / "x.nrrd", index=1).array[0], VALUES + 1)
    with pytest.raises(FormatError, match="2 components"):
        read_image(tmp_path / "x.nrrd")
    with pytest.raises(FormatError, match="channel 2"):
        read_image(tmp_path / "x.nrrd", index=2)


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("compress", [True, False])
@settings(max_examples=15, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_grids_are_refused(tmp_path_factory, ending, compress, share):
    folder = tmp_path_factory.mktemp("cut")
    path = save_itk(folder / f"x{ending}", compress=compress)
    other = [file for file in folder.iterdir() if file != path]
    target = other[0] if other else path
    content = target.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FormatError):
        read_image(path)


def test_data_outside_the_folder_and_strange_encodings_are_refused(tmp_path):
    path = save_itk(tmp_path / "x.mhd")
    text = path.read_text()
    path.write_text(text.replace("x.zraw", "../x.zraw"))
    with pytest.raises(FormatError, match="same folder"):
        read_image(path)
    path.write_text(text.replace("x.zraw", "gone.zraw"))
    with pytest.raises(FormatError, match="does not exist"):
        read_image(path)
    path.write_text(text.replace("MET_SHORT", "MET_OTHER"))
    with pytest.raises(FormatError, match="OTHER"):
        read_image(path)
    nrrd = save_itk(tmp_path / "x.nrrd", compress=False)
    content = nrrd.read_bytes()
    nrrd.write_bytes(content.replace(b"encoding: raw", b"encoding: hex"))
    with pytest.raises(FormatError, match="encoding 'hex'"):
        read_image(nrrd)
    nrrd.write_bytes(content.replace(b"type: short", b"type: block"))
    with pytest.raises(FormatError, match="type 'block'"):
        read_image(nrrd)


def test_a_grid_is_not_written_as_a_pair(tmp_path):
    with pytest.raises(FormatError, match=r"Use \.nrrd or \.mha"):
        write_segmentation(tmp_path / "x.mhd", Segmentation(VALUES.astype(np.uint8), Geometry(VALUES.shape, np.eye(4))))
    with pytest.raises(FormatError, match="no format"):
        write_segmentation(tmp_path / "x.abc", Segmentation(VALUES.astype(np.uint8), Geometry(VALUES.shape, np.eye(4))))


GREY = np.random.default_rng(1).integers(0, 255, (7, 9)).astype(np.uint8)
RGB = np.random.default_rng(2).integers(0, 255, (7, 9, 3)).astype(np.uint8)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_rows_are_i_columns_are_j(tmp_path, ending):
    Image.fromarray(GREY).save(tmp_path / f"x{ending}")
    volume = read_image(tmp_path / f"x{ending}", spacing_mm=(0.5, 0.25))
    assert volume.array.shape == (1, 7, 9, 1)
    np.testing.assert_array_equal(volume.array[0, :, :, 0], GREY)
    assert volume.geometry.spacing_mm == (0.5, 0.25, 1.0)
    assert read_image(tmp_path / f"x{ending}").geometry.spacing_mm == (1, 1, 1)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_colours_are_three_channels(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    Image.fromarray(RGB).save(path)
    assert count_picture_channels(path) == 3
    volume = read_image(path)
    np.testing.assert_array_equal(volume.array[..., 0], RGB.transpose(2, 0, 1))
    np.testing.assert_array_equal(read_image(path, index=1).array[0, ..., 0], RGB[..., 1])
    write_volume(path, volume)
    np.testing.assert_array_equal(read_image(path).array, volume.array)


def test_jpeg_as_pillow_decodes_it(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "x.jpg", quality=95)
    decoded = np.asarray(Image.open(tmp_path / "x.jpg"))
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg").array[..., 0], decoded.transpose(2, 0, 1))


def test_transparency_palettes_one_bit_and_sixteen_bits(tmp_path):
    Image.fromarray(np.dstack([RGB, GREY])).save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "alpha.png").array.shape == (3, 7, 9, 1)
    Image.fromarray(GREY > 100).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bit.png").array[0, ..., 0], GREY > 100)
    wide = GREY.astype(np.uint16) * 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(read_image(tmp_path / "wide.png").array[0, ..., 0], wide)
    palette = Image.fromarray(GREY % 3).convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_segmentation(tmp_path / "palette.png").array[..., 0], GREY % 3)
    assert read_image(tmp_path / "palette.png").array.shape == (3, 7, 9, 1)


def test_sixteen_bit_colours_keep_their_bits(tmp_path):
    deep = RGB.astype(np.uint16) * np.uint16(250) + np.uint16(3)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(deep, isVector=True), str(tmp_path / "deep.png"))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png").array[..., 0], deep.transpose(2, 0, 1))


def test_stacks_of_pages(tmp_path):
    stack = np.random.default_rng(3).integers(0, 60000, (4, 7, 9)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").array[0], stack.transpose(1, 2, 0))
    metadata = {"axes": "ZYX", "unit": "um", "spacing": 5.0}
    tifffile.imwrite(tmp_path / "j.tif", stack, imagej=True, resolution=(2.0, 4.0), metadata=metadata)
    np.testing.assert_allclose(read_image(tmp_path / "j.tif").geometry.spacing_mm, (0.00025, 0.0005, 0.005))
    colours = np.stack([stack, stack + 1, stack + 2], axis=-1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", colours, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "c.tif").array, colours.transpose(3, 1, 2, 0))
    write_volume(tmp_path / "c2.tif", read_image(tmp_path / "c.tif"))
    np.testing.assert_array_equal(read_image(tmp_path / "c2.tif").array, colours.transpose(3, 1, 2, 0))


@pytest.mark.parametrize(("ending", "dtype"), [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint16)])
def test_written_masks_come_back(tmp_path, ending, dtype):
    values = (GREY.astype(dtype) % 5)[..., None]
    write_segmentation(tmp_path / f"x{ending}", Segmentation(values, Geometry(values.shape, np.eye(4))))
    back = read_segmentation(tmp_path / f"x{ending}")
    np.testing.assert_array_equal(back.array, values)
    write_segmentation(tmp_path / f"y{ending}", Segmentation(values, Geometry(values.shape, np.eye(4))))
    assert (tmp_path / f"x{ending}").read_bytes() == (tmp_path / f"y{ending}").read_bytes()


def test_what_png_cannot_hold_is_refused(tmp_path):
    stack = Segmentation(np.zeros((3, 4, 5), np.uint8), Geometry((3, 4, 5), np.eye(4)))
    with pytest.raises(FormatError, match="cannot be written as"):
        write_segmentation(tmp_path / "x.png", stack)
    assert not list(tmp_path.iterdir())


def save_any(path, seed=0):
    rng = np.random.default_rng(seed)
    if path.suffix in (".png", ".jpg"):
        Image.fromarray(rng.integers(0, 255, (20, 21, 3)).astype(np.uint8)).save(path)
    elif path.suffix == ".tif":
        tifffile.imwrite(
            path, rng.integers(0, 255, (3, 20, 21)).astype(np.uint8), photometric="minisblack", compression="zlib"
        )
    else:
        geometry = Geometry((6, 5, 4), np.eye(4))
        write_volume(path, Volume(rng.integers(0, 9, (1, 6, 5, 4)).astype(np.int16), geometry, ("a",)))
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".png", ".jpg", ".tif"])
@settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 0.999), byte=st.integers(0, 255), cut=st.booleans(), header=st.booleans())
def test_damage_ends_in_our_error_or_in_voxels(tmp_path_factory, ending, place, byte, cut, header):
    path = save_any(tmp_path_factory.mktemp("damage") / f"x{ending}")
    content = bytearray(path.read_bytes())
    position = int(place * (min(len(content), 400) if header else len(content)))
    if cut:
        content = content[:position]
    else:
        content[position] = byte
    path.write_bytes(content)
    with contextlib.suppress(MedsegError):
        array, geometry = read_array(path)
        assert array.shape[1:] == geometry.shape
        assert np.isfinite(array).all()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_truncated_pictures_are_refused(tmp_path, ending, share):
    path = save_any(tmp_path / f"x{ending}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FormatError):
        read_image(path)


def test_a_flipped_bit_in_a_png_is_refused(tmp_path):
    path = save_any(tmp_path / "x.png")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match="damaged"):
        read_image(path)
