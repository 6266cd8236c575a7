"""NRRD and MetaImage as we write them, read by SimpleITK: every type, several channels, any grid; and a full disk."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from medseg.core.errors import FormatError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.io import read_image, write_volume
from medseg.io.nrrd_write import write_grid
from tests.full_disks import limited_files

TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
AFFINE = np.array([[-0.7, 0.1, 0.0, 30.5], [0.1, 0.7, 0.0, -80.25], [0.0, 0.0, -4.9, 7.0], [0, 0, 0, 1]])
SHAPE = (6, 5, 4)
GEOMETRY = Geometry(SHAPE, AFFINE)


def make_array(dtype: str, channels: int = 1) -> np.ndarray:
    numbers = np.random.default_rng(0).integers(0, 120, (channels, *SHAPE))
    return np.asarray(numbers, dtype)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [*TYPES, ">i2", "bool", "float16"])
def test_others_read_the_same_numbers_at_the_same_places(
    tmp_path: Path, ending: str, channels: int, dtype: str
) -> None:
    array = make_array(dtype, channels)
    write_grid(tmp_path / f"x{ending}", array, GEOMETRY)
    image = SimpleITK.ReadImage(str(tmp_path / f"x{ending}"))
    assert image.GetNumberOfComponentsPerPixel() == channels
    read = SimpleITK.GetArrayFromImage(image)
    read = read if channels > 1 else read[..., None]
    np.testing.assert_array_equal(read.transpose(3, 2, 1, 0), array)
    stored = {"bool": "uint8", "float16": "float32", ">i2": "int16"}.get(dtype, dtype)
    assert read.dtype == stored
    for index in ((0, 0, 0), (5, 4, 3), (1, 2, 3)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(GEOMETRY.to_world(index), (-x, -y, z), atol=1e-9)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_we_read_what_we_wrote(tmp_path: Path, ending: str) -> None:
    array = make_array("int16")
    write_volume(tmp_path / f"x{ending}", Volume(array, GEOMETRY, ("a",)))
    back = read_image(tmp_path / f"x{ending}")
    np.testing.assert_array_equal(back.array, array)
    assert back.geometry.same_grid(GEOMETRY)
    np.testing.assert_allclose(back.geometry.affine, AFFINE, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_types_that_the_formats_do_not_know(tmp_path: Path, ending: str) -> None:
    with pytest.raises(FormatError, match="complex128"):
        write_grid(tmp_path / f"x{ending}", make_array("complex128"), GEOMETRY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz", ".nii", ".png", ".tif"])
def test_a_full_disk_leaves_the_old_mask(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mask{ending}"
    flat = ending in (".png", ".tif")
    geometry = Geometry((40, 50, 1 if flat else 30), np.eye(4))
    array = np.random.default_rng(0).integers(0, 5, (1, *geometry.shape)).astype(np.uint8)
    write_volume(path, Volume(np.zeros_like(array), geometry, ("a",)))
    old = path.read_bytes()
    write_volume(tmp_path / f"whole{ending}", Volume(array, geometry, ("a",)))
    size = (tmp_path / f"whole{ending}").stat().st_size
    for limit in np.linspace(0, size - 1, 40).astype(int):
        with limited_files(int(limit)), pytest.raises(OSError) as caught:
            write_volume(path, Volume(array, geometry, ("a",)))
        assert caught.value.filename == str(path)
        assert path.read_bytes() == old
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"mask{ending}", f"whole{ending}"]
