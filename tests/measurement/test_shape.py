"""Centroid, principal axes and sphericity against closed forms and numpy on the voxel positions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medseg.measurement.shape import find_centroid, measure_axes, measure_sphericity, measure_stretch, sum_moments
from tests.phantoms import box, centre_of, oblique_geometry, tube

NOISE = hnp.arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)).filter(np.any)
GEOMETRY = oblique_geometry((40, 40, 20), (0.8, 1.1, 2.5), (20, -15, 30))


@given(NOISE, st.tuples(*[st.integers(0, 500)] * 3))
def test_moments_are_those_of_the_voxel_positions(mask, start):
    moments = sum_moments(mask, start)
    world = GEOMETRY.to_world(np.argwhere(mask) + start)
    assert np.allclose(find_centroid(moments, GEOMETRY), world.mean(axis=0))
    variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(world.T, bias=True)))[::-1]
    assert np.allclose(measure_axes(moments, GEOMETRY) ** 2, variances, atol=1e-6)


def test_moments_of_parts_add_up():
    first, second = np.random.default_rng(0).random((2, 5, 6, 7)) < 0.5
    both = np.concatenate([first, second])
    total, summed = sum_moments(both), sum_moments(first) + sum_moments(second, (5, 0, 0))
    assert total.count == summed.count
    assert np.array_equal(total.first, summed.first)
    assert np.array_equal(total.second, summed.second)


def test_box_axes_in_closed_form():
    # n points in a row at spacing s have the variance s^2 (n^2 - 1) / 12.
    sizes = {0.8: 30, 1.1: 10, 2.5: 3}
    mask = box(GEOMETRY, centre_of(GEOMETRY), [spacing * count for spacing, count in sizes.items()])
    # A box with an odd count along an axis of even length is one voxel off: the count along k decides.
    counts = [np.ptp(np.argwhere(mask)[:, axis]) + 1 for axis in range(3)]
    expected = sorted((s * math.sqrt((n**2 - 1) / 12) for s, n in zip(sizes, counts, strict=True)), reverse=True)
    assert measure_axes(sum_moments(mask), GEOMETRY) == pytest.approx(expected)


def test_long_tube_is_neither_round_nor_flat():
    # A cylinder of length L and radius r has the variances L^2 / 12 and twice r^2 / 4; 5 % for its few voxels across.
    middle = centre_of(GEOMETRY)
    mask = tube(GEOMETRY, middle - np.array([14, 0, 0]), middle + np.array([14, 0, 0]), 5)
    elongation, flatness = measure_stretch(measure_axes(sum_moments(mask), GEOMETRY))
    expected = math.sqrt(5**2 / 4 / (28**2 / 12))
    assert elongation == pytest.approx(expected, rel=0.05)
    assert flatness == pytest.approx(expected, rel=0.05)


def test_degenerate_masks():
    assert measure_stretch(measure_axes(sum_moments(np.ones((1, 1, 1), bool), (400, 400, 100)), GEOMETRY)) == (
        None,
        None,
    )
    line = measure_stretch(measure_axes(sum_moments(np.ones((9, 1, 1), bool), (400, 400, 100)), GEOMETRY))
    assert line == (0, 0)
    empty = sum_moments(np.zeros((2, 2, 2), bool))
    assert find_centroid(empty, GEOMETRY) is None
    assert measure_stretch(measure_axes(empty, GEOMETRY)) == (None, None)


def test_sphericity_of_known_bodies():
    assert measure_sphericity(4 / 3 * math.pi * 27, 4 * math.pi * 9) == pytest.approx(1)
    assert measure_sphericity(8, 24) == pytest.approx((math.pi / 6) ** (1 / 3))
    assert measure_sphericity(0, 0) is None
