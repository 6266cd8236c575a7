"""Elastic deformation: smooth, of the drawn size, and never folding."""

import numpy as np
import pytest
import torch

from medseg.augmentation.elastic import (
    MAGNITUDE_SHARE,
    SIGMA_SHARE,
    Displacement,
    draw_displacement,
    expand_displacement,
)
from medseg.augmentation.spatial import ELASTIC, SPATIAL
from tests.augmentation.examples import make_generators, make_scene

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [(40, 30), (20, 28, 24)])
def test_the_field_has_the_magnitude_and_no_mean(size: tuple[int, ...]) -> None:
    for rng in make_generators(5):
        displacement = draw_displacement(rng, len(size))
        field = expand_displacement(displacement, size, CPU)
        assert field.shape == (len(size), *size)
        for axis, length in enumerate(size):
            largest = length * displacement.sigma_share * displacement.magnitude_share
            assert float(field[axis].abs().max()) == pytest.approx(largest, rel=1e-5)
            assert float(field[axis].mean()) == pytest.approx(0, abs=1e-5)


def test_even_the_strongest_field_does_not_fold() -> None:
    size = (32, 40, 36)
    for rng in make_generators(8):
        drawn = draw_displacement(rng, 3)
        field = expand_displacement(Displacement(drawn.lattice, drawn.sigma_share, MAGNITUDE_SHARE[1]), size, CPU)
        slopes = np.stack([np.stack(np.gradient(component)) for component in field.numpy()])
        determinant = np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)) + np.eye(3))
        assert determinant.min() > 0


def test_neighbours_move_alike() -> None:
    # A Gaussian blur of white noise by sigma has the correlation exp(-d^2 / (4 sigma^2)).
    # A fine field, so that taking the mean away hardly matters.
    size, products, squares = (160, 160), [], []
    for rng in make_generators(60):
        lattice = rng.standard_normal((2, 23, 23), dtype=np.float32)
        field = expand_displacement(Displacement(lattice, 0.0625, 0.3), size, CPU)[0].numpy()
        field = field / field.std()
        products.append((field[:, :-10] * field[:, 10:]).mean())
        squares.append((field**2).mean())
    assert np.mean(products) / np.mean(squares) == pytest.approx(np.exp(-(10**2) / (4 * 10**2)), abs=0.04)


def test_elastic_is_drawn_by_its_chance_and_not_by_default() -> None:
    for kind, axes in (("3d", 3), ("flat", 2), ("2d", 2)):
        scene = make_scene(kind)
        assert all(SPATIAL.draw(rng, scene).displacement is None for rng in make_generators(100))
        found = [ELASTIC.draw(rng, scene).displacement for rng in make_generators(400)]
        drawn = [displacement for displacement in found if displacement is not None]
        assert len(drawn) / 400 == pytest.approx(0.2, abs=0.06)
        assert all(len(displacement.lattice) == axes for displacement in drawn)
        assert all(SIGMA_SHARE[0] <= displacement.sigma_share <= SIGMA_SHARE[1] for displacement in drawn)
        assert all(MAGNITUDE_SHARE[0] <= displacement.magnitude_share <= MAGNITUDE_SHARE[1] for displacement in drawn)
