"""MONAI's own loaders against the file itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

monai_transforms = pytest.importorskip("monai.transforms", reason="MONAI is not installed")

from medseg.core.volume import Volume  # noqa: E402
from medseg.inference.scans import as_volume  # noqa: E402
from medseg.io import read_image, write_volume  # noqa: E402
from tests.phantoms import oblique_geometry  # noqa: E402

# MONAI says so on import where pydicom is installed and NVIDIA's decoders are not.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")
GRID = oblique_geometry((7, 6, 5))


@pytest.mark.parametrize("options", [{}, {"ensure_channel_first": True}])
@pytest.mark.parametrize("reader", ["NibabelReader", "ITKReader"])
def test_loaded_images_lie_where_the_file_says(tmp_path: Path, reader: str, options: dict[str, Any]) -> None:
    if reader == "ITKReader":
        pytest.importorskip("itk", reason="ITK is not installed")
    values = np.random.default_rng(0).integers(0, 900, (1, 7, 6, 5)).astype(np.int16)
    write_volume(tmp_path / "x.nii.gz", Volume(values, GRID, ("a",)))
    loaded = monai_transforms.LoadImage(reader=reader, **options)(tmp_path / "x.nii.gz")
    found, expected = as_volume(loaded, ["a"]), read_image(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(found.array, expected.array)
    assert found.geometry.same_grid(expected.geometry)


def test_spatial_transforms_move_the_grid(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 900, (1, 7, 6, 5)).astype(np.int16)
    write_volume(tmp_path / "x.nii.gz", Volume(values, GRID, ("a",)))
    loaded = monai_transforms.LoadImage(ensure_channel_first=True)(tmp_path / "x.nii.gz")
    turned = as_volume(monai_transforms.Orientation(axcodes="PLS", labels=None)(loaded), ["a"])
    expected = read_image(tmp_path / "x.nii.gz")
    assert turned.geometry.orientation == "PLS"
    index = (3, 2, 1)
    there = np.rint(expected.geometry.to_index(turned.geometry.to_world(index))).astype(int)
    assert turned.array[(0, *index)] == expected.array[(0, *there)]
