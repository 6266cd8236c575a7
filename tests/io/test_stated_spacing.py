"""A spacing is what the header states, to the last digit, however the grid is turned."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.io import read_image
from tests.phantoms import oblique_geometry


@pytest.mark.parametrize("spacing_mm", [(1.5, 1.5, 4.5), (0.5, 0.75, 1.25)])
def test_spacing_of_an_oblique_scan_is_the_headers(tmp_path: Path, spacing_mm: tuple[float, float, float]) -> None:
    grid = oblique_geometry((5, 6, 7), spacing_mm)
    image = nibabel.Nifti1Image(np.zeros(grid.shape, np.float32), grid.affine)
    image.header.set_zooms(spacing_mm)
    nibabel.save(image, tmp_path / "scan.nii.gz")
    geometry = read_image(tmp_path / "scan.nii.gz").geometry
    assert geometry.spacing_mm == spacing_mm
    assert geometry.crop((1, 1, 1), (3, 3, 3)).spacing_mm == spacing_mm
    assert geometry.measured_mm == pytest.approx(spacing_mm, rel=1e-6)


def test_the_affine_counts_where_the_header_contradicts_itself() -> None:
    assert Geometry((2, 2, 2), np.diag([2.0, 2.0, 2.0, 1.0]), (1.0, 2.0, 2.0)).spacing_mm == (2.0, 2.0, 2.0)
