"""When a volume has grown, how fast it doubles, and what counting voxels is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.measurement.longitudinal.growth import (
    compare_intervals,
    measure_counting_error,
    measure_doubling_time,
    name_change,
)
from tests.phantoms import ball, ball_surface_mm2, ball_volume_ml, centre_of, oblique_geometry


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        *((0, 0, "stable"), (0, 1, "new"), (1, 0, "gone"), (1, 1.24, "stable"), (1, 1.25, "grown")),
        *((1, 0.8, "shrunk"), (1, 0.81, "stable"), (1.25, 1, "shrunk")),
    ],
)
def test_change(first, second, word):
    assert name_change(first, second) == word


def test_change_below_the_counting_error_is_stable():
    assert name_change(0.004, 0.006, error_ml=0.003) == "stable"
    assert name_change(0.004, 0.006, error_ml=0.001) == "grown"
    assert name_change(0.004, 0, error_ml=1) == "gone"


def test_doubling_time():
    assert measure_doubling_time(2, 8, 60) == pytest.approx(30)
    assert measure_doubling_time(1, math.sqrt(2), 50) == pytest.approx(100)
    for first, second, days in ((1, 1, 10), (2, 1, 10), (0, 1, 10), (1, 2, 0)):
        assert measure_doubling_time(first, second, days) is None


def test_intervals():
    assert compare_intervals((1, 2), (2.1, 3)) == "yes"
    assert compare_intervals((2.1, 3), (1, 2)) == "yes"
    assert compare_intervals((1, 2), (2, 3)) == "no"
    assert compare_intervals((1, 2), (None, 3)) == "unknown"
    assert compare_intervals((None, None), (1, 2)) == "unknown"


def test_counting_error_on_cubes_is_the_published_constant():
    # 0.0666 surface u^4: the sum of 1/|n|^4 over whole-numbered points, 16.5323, by 8 pi^3.
    for side in (0.5, 1.0, 2.0):
        geometry = Geometry.from_spacing((4, 4, 4), (side, side, side))
        expected = math.sqrt(16.5323 / (8 * math.pi**3) * 700 * side**4) / 1000
        assert measure_counting_error(700, geometry) == pytest.approx(expected, rel=2e-3)
    assert measure_counting_error(0, geometry) == 0


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 1.1, 2.5), (0.7, 0.7, 3.0)])
def test_counting_error_is_what_balls_show(spacing):
    geometry = oblique_geometry((34, 34, int(24 / spacing[2])), spacing)
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(150):
        radius = rng.uniform(4, 9)
        centre = centre_of(geometry) + rng.uniform(-2, 2, 3)
        volume = ball(geometry, centre, radius).sum() * geometry.voxel_volume_ml
        expected = measure_counting_error(ball_surface_mm2(radius), geometry)
        scores.append((volume - ball_volume_ml(radius)) / expected)
    assert np.sqrt(np.mean(np.square(scores))) == pytest.approx(1, abs=0.25)
    assert np.abs(scores).max() < 5
