"""Lower resolution."""

import pytest
import torch

from medseg.augmentation.low_resolution import Zoom, apply_zoom, draw_zoom
from tests.augmentation.examples import make_generators, make_scene

LABELS = torch.zeros(2, 1, dtype=torch.uint8)


@pytest.mark.parametrize("size", [(16, 12), (8, 12, 10)])
@pytest.mark.parametrize("first_axis", [0, 1])
def test_half_resolution_has_half_the_voxels(size: tuple[int, ...], first_axis: int) -> None:
    images = torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(0))
    coarse, _ = apply_zoom(images.clone(), LABELS, [Zoom((0.5, 1.0), first_axis), None])
    small = [length // 2 if axis >= first_axis else length for axis, length in enumerate(size)]
    expected = torch.nn.functional.interpolate(images[:1, :1], small, mode="nearest-exact")
    expected = torch.nn.functional.interpolate(expected, size, mode="bilinear" if len(size) == 2 else "trilinear")
    assert torch.allclose(coarse[0, 0], expected[0, 0])
    assert torch.equal(coarse[0, 1], images[0, 1])
    assert torch.equal(coarse[1], images[1])


def test_a_coarse_first_axis_keeps_its_slices() -> None:
    for kind, first in (("flat", 1), ("3d", 0), ("2d", 0)):
        drawn = [zoom for rng in make_generators(100) if (zoom := draw_zoom(rng, make_scene(kind))) is not None]
        assert {zoom.first_axis for zoom in drawn} == {first}
