"""Images and masks refuse a grid that is not theirs."""

import numpy as np
import pytest

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Segmentation, Volume

GRID = Geometry.from_spacing((2, 3, 4), (1, 1, 1))


def test_what_fits() -> None:
    volume = Volume(np.zeros((2, 2, 3, 4)), GRID, ("CT", "PET"))
    assert volume.channels == ("CT", "PET")
    assert Segmentation(np.zeros((2, 3, 4), np.uint16), GRID).array.dtype == np.uint16


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((2, 3, 4), ("CT",)), ((1, 2, 3, 5), ("CT",)), ((2, 2, 3, 4), ("CT",)), ((1, 4, 3, 2), ("CT",))],
)
def test_volumes_that_do_not_fit(shape: tuple[int, ...], channels: tuple[str, ...]) -> None:
    with pytest.raises(GeometryError):
        Volume(np.zeros(shape), GRID, channels)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((2, 3, 4), np.float32), ((2, 3, 4), np.int16), ((2, 3, 4), np.bool_), ((2, 3, 5), np.uint8), ((24,), np.uint8)],
)
def test_masks_that_do_not_fit(shape: tuple[int, ...], kind: type[np.generic]) -> None:
    with pytest.raises(GeometryError):
        Segmentation(np.zeros(shape, kind), GRID)
