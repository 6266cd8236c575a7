"""RTSTRUCTs as others judge them: dciodvfy finds no fault, plastimatch draws every voxel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.rtstruct_write import write_rtstruct
from tests.io.dicom.small_series import make_geometry, write_series

LABELS = LabelScheme.make({"ring with island": 1, "one voxel": 2, "diagonals": 3, "noise": 4})


def find_program(name: str) -> str:
    """A program that a package of the group ``bench`` brings."""
    found = shutil.which(name, path=Path(sys.executable).parent)
    if found is None:
        pytest.skip(f"{name} is not installed (group bench)")
    return found


def draw_shapes(shape: tuple[int, int, int]) -> np.ndarray:
    i, j, _ = np.meshgrid(*map(np.arange, shape), indexing="ij")
    array = np.zeros(shape, np.uint8)
    radius = np.hypot(i - 20, j - 18)
    array[:, :, 1:7] = ((radius < 14) & (radius > 7) | (radius < 3))[:, :, 1:7]
    array[38, 33, 2] = 2
    for step in range(5):
        array[1 + step, 1 + step, 3] = array[5 - step, 30 + step, 3] = 3
    array[:, :, 8] = 4 * (np.random.default_rng(1).random(shape[:2]) < 0.6)
    return array


@pytest.mark.parametrize("multiframe", [False, True])
@pytest.mark.parametrize("contours", ["exact", "smooth"])
def test_dciodvfy_finds_no_fault(tmp_path: Path, contours: str, multiframe: bool) -> None:
    program = find_program("dciodvfy")
    geometry = make_geometry((40, 36, 10), oblique=True)
    series = write_series(tmp_path / "ct", geometry, multiframe=multiframe)
    array = draw_shapes(geometry.shape)
    array[array != 1] = 0
    written = write_rtstruct(tmp_path / "rs.dcm", Segmentation(array, geometry), LABELS, series, contours=contours)
    said = subprocess.run([program, "-new", str(written.path)], capture_output=True, text=True, timeout=60, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert lines == ["RTStructureSet"]


@pytest.mark.parametrize("oblique", [False, True])
def test_plastimatch_draws_every_voxel(tmp_path: Path, oblique: bool) -> None:
    program = find_program("plastimatch")
    sitk = pytest.importorskip("SimpleITK")
    geometry = make_geometry((40, 36, 10), oblique=oblique)
    series = write_series(tmp_path / "ct", geometry)
    array = draw_shapes(geometry.shape)
    written = write_rtstruct(tmp_path / "rs.dcm", Segmentation(array, geometry), LABELS, series)
    grid = sitk.GetImageFromArray(np.zeros(geometry.shape[::-1], np.float32))
    affine = np.diag([-1, -1, 1, 1]) @ geometry.affine
    grid.SetOrigin(affine[:3, 3])
    grid.SetSpacing(geometry.spacing_mm)
    grid.SetDirection((affine[:3, :3] / geometry.spacing_mm).ravel())
    sitk.WriteImage(grid, str(tmp_path / "grid.nrrd"))
    subprocess.run(
        [program, "convert", "--input", str(written.path), "--fixed", str(tmp_path / "grid.nrrd"), "--output-prefix",
         str(tmp_path / "drawn"), "--prefix-format", "nrrd"],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    for label, (value,) in LABELS.labels.items():
        drawn = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "drawn" / f"{label}.nrrd"))).T
        np.testing.assert_array_equal(drawn > 0, array == value)
