"""What is said of a grid that is not the one it should be."""

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.io.grid_differences import describe_difference
from tests.phantoms import oblique_geometry

GRID = oblique_geometry((20, 18, 12), (0.8, 0.8, 3.0), (3.0, -4.0, 100.0))


def with_affine(change):
    return Geometry(GRID.shape, GRID.affine @ change)


def shifted(*millimetres):
    affine = GRID.affine.copy()
    affine[:3, 3] += millimetres
    return Geometry(GRID.shape, affine)


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (GRID, ""),
        (shifted(0, 0, 7), "shifted by 0, 0, 7 mm"),
        (shifted(-0.25, 1.5, 0), "shifted by -0.25, 1.5, 0 mm"),
        (with_affine(np.diag([-1, 1, 1, 1.0])), "its header is mirrored along i"),
        (with_affine(np.diag([-1, -1, 1, 1.0])), "its header is mirrored along i (back-front), j (left-right)"),
        (with_affine(np.diag([1, 1, 1.1, 1.0])), "another spacing"),
        (Geometry((20, 18, 13), GRID.affine), "another number of voxels"),
        (Geometry((12, 18, 20), GRID.affine), "its array looks transposed"),
        (
            with_affine(np.array([[0.99875, -0.05, 0, 0], [0.05, 0.99875, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
            "turned by",
        ),
    ],
)
def test_what_happened_is_named(grid, says):
    found = describe_difference(grid, GRID)
    assert found == says if not says else says in found
