"""The volumes that stand in the examples' tables, against closed forms and against plain sampling."""

import math

import numpy as np
import pytest
from example_sets.cells_2d import measure_area
from example_sets.shapes import Blob, Ellipsoid, Tube, draw_waves, measure_coverage

from medseg.core.geometry import Geometry

OBLIQUE = Geometry(
    (34, 30, 22),
    np.array([[-1.9, 0.31, 0.4, 30.0], [0.3, 2.1, -0.5, -33.0], [0.2, 0.3, 3.8, -42.0], [0, 0, 0, 1.0]]),
)


def wavy_blob(seed: int = 3) -> Blob:
    rng = np.random.default_rng(seed)
    return Blob(np.array([1.0, -2.0, 0.5]), np.array([14.0, 12.0, 16.0]), draw_waves(rng, (0.08, 0.05), (2, 4)), 2.4)


@pytest.mark.parametrize("power", [2.0, 2.4, 4.0])
def test_superellipsoid_volume_in_closed_form(power: float) -> None:
    axes = np.array([9.0, 11.0, 14.0])
    expected_ml = 8 * axes.prod() * math.gamma(1 + 1 / power) ** 3 / math.gamma(1 + 3 / power) / 1000
    blob = Blob(np.array([5.0, 6.0, 7.0]), axes, power=power)
    assert blob.volume_ml == pytest.approx(expected_ml, rel=2e-5)
    assert blob.centroid_mm == pytest.approx([5.0, 6.0, 7.0], abs=1e-6)


def test_ellipsoid_diameter_is_the_longest_axis() -> None:
    assert Blob(np.zeros(3), np.array([8.0, 10.0, 13.0])).diameter_mm == pytest.approx(26.0, rel=1e-3)


def test_scaling_sets_the_volume() -> None:
    assert wavy_blob().scaled_to(0.05).volume_ml == pytest.approx(0.05, rel=1e-12)


def test_volume_and_centroid_against_random_points() -> None:
    blob = wavy_blob()
    points = np.random.default_rng(1).uniform(-25, 25, size=(400_000, 3))
    inside = points[blob.level(points) < 0]
    assert len(inside) / len(points) * 50**3 / 1000 == pytest.approx(blob.volume_ml, rel=0.01)
    assert inside.mean(axis=0) == pytest.approx(blob.centroid_mm, abs=0.15)


@pytest.mark.parametrize(
    "shape",
    [
        wavy_blob(),
        Ellipsoid((2.0, 0.0, 1.0), (9.0, 14.0, float("inf")), power=2.3),
        Tube(np.array([[-20.0, -15.0, -20.0], [0.0, 5.0, 0.0], [15.0, 0.0, 20.0]]), 3.0),
    ],
    ids=["blob", "column", "tube"],
)
def test_coverage_equals_sampling_every_voxel(shape: Blob | Ellipsoid | Tube) -> None:
    steps = (np.arange(3) + 0.5) / 3 - 0.5
    index = np.stack(np.meshgrid(*map(np.arange, OBLIQUE.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    parts = np.mean([shape.level(OBLIQUE.to_world(index + offset)) < 0 for offset in offsets], axis=0)
    coverage = measure_coverage(shape, OBLIQUE, 3)
    assert coverage.ravel() == pytest.approx(parts, abs=1e-6)
    assert 0 < coverage.mean() < 1


def test_coverage_sums_to_the_volume() -> None:
    blob = wavy_blob()
    sampled_ml = measure_coverage(blob, OBLIQUE, 5).sum(dtype=np.float64) * OBLIQUE.voxel_volume_ml
    assert sampled_ml == pytest.approx(blob.volume_ml, rel=1e-3)


def test_round_cell_has_the_area_of_a_disc() -> None:
    disc = np.array([10.0, 10.0, 7.0, *[0.0] * 8])
    assert measure_area(disc) == pytest.approx(math.pi * 49)
    # A wave of amplitude a adds a^2 / 2 of the disc: the mean of (1 + a cos)^2.
    wavy = np.array([10.0, 10.0, 7.0, 0.2, 1.0, *[0.0] * 6])
    assert measure_area(wavy) == pytest.approx(math.pi * 49 * 1.02)
