"""Diameters of shapes that are known in closed form, and against comparing all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import pdist

from medseg.core.geometry import Geometry
from medseg.measurement import find_longest_diameter, longest_axial_diameter
from medseg.measurement.diameters import find_axial_axis, list_outermost_points
from tests.phantoms import ball, box, centre_of, half_diagonal_mm, oblique_geometry, rotation, tube

NOISE = hnp.arrays(bool, st.tuples(*[st.integers(1, 5)] * 3)).filter(np.any)
PLANE = hnp.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8), st.just(1))).filter(np.any)


def list_corners(plane):
    steps = np.array([(a, b) for a in (-0.5, 0.5) for b in (-0.5, 0.5)])
    return (np.argwhere(plane)[:, None] + steps).reshape(-1, 2)


@given(st.integers(1, 300), st.integers(2, 3), st.integers(0, 2**32 - 1))
def test_longest_diameter_is_that_of_all_pairs(count, dimensions, seed):
    points = np.random.default_rng(seed).normal(size=(count, dimensions))
    ends = find_longest_diameter(points)
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(pdist(points).max() if count > 1 else 0)
    assert all(any((end == point).all() for point in points) for end in ends)


def test_points_on_a_line_and_in_a_plane():
    line = np.outer(np.arange(100.0), [1, 2, 2])
    assert np.linalg.norm(np.diff(find_longest_diameter(line), axis=0)) == pytest.approx(99 * 3)
    plane = np.stack(np.meshgrid(np.arange(12.0), np.arange(9.0), [3.0]), axis=-1).reshape(-1, 3)
    assert np.linalg.norm(np.diff(find_longest_diameter(plane), axis=0)) == pytest.approx(math.hypot(11, 8))


@given(NOISE)
def test_outermost_points_reach_as_far_as_all_face_middles(mask):
    steps = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    every = (np.argwhere(mask)[:, None] + steps).reshape(-1, 3)
    for direction in np.random.default_rng(0).normal(size=(20, 3)):
        assert (list_outermost_points(mask) @ direction).max() == pytest.approx((every @ direction).max())
    faces = {tuple(point) for point in every}
    assert all(tuple(point) in faces for point in list_outermost_points(mask))


def test_ball_on_an_oblique_grid():
    # A voxel belongs to the ball where its centre does, so that its corners reach half a voxel's diagonal further.
    geometry = oblique_geometry((60, 50, 30), (0.8, 1.0, 2.0))
    found = longest_axial_diameter(ball(geometry, centre_of(geometry), 15), geometry)
    bound = 2 * half_diagonal_mm(geometry)
    assert found.length_mm == pytest.approx(30, abs=bound)
    assert found.perpendicular_mm == pytest.approx(30, abs=bound)
    assert found.axis == 2
    assert found.slice == pytest.approx(14.5, abs=1)


def test_tube_lying_in_the_slice():
    geometry = oblique_geometry((60, 50, 20), (1, 1, 3), (0, 0, 25), (0, 0, 0))
    direction = rotation((0, 0, 40)) @ [1, 0, 0]
    mask = tube(geometry, -20 * direction, 20 * direction, 4)
    found = longest_axial_diameter(mask, geometry)
    assert found.length_mm == pytest.approx(math.hypot(40, 8), abs=2 * half_diagonal_mm(geometry))
    across = found.ends_mm[1] - found.ends_mm[0]
    # The diagonal of a 40 x 8 rectangle; the longest chord across it is 8 / cos(atan(8 / 40)).
    assert abs(across @ direction) / np.linalg.norm(across) == pytest.approx(40 / math.hypot(40, 8), abs=0.02)
    assert found.perpendicular_mm == pytest.approx(8 * math.hypot(40, 8) / 40, abs=math.sqrt(2))


def test_box_is_exact_on_its_own_grid():
    geometry = oblique_geometry((30, 30, 10), (0.7, 1.1, 4), (8, -5, 12))
    found = longest_axial_diameter(box(geometry, centre_of(geometry), (14, 22, 16)), geometry)
    assert found.length_mm == pytest.approx(math.hypot(14, 22))
    # Across the diagonal of a rectangle the longest chord is bounded by the two long sides.
    assert found.perpendicular_mm == pytest.approx(14 * math.hypot(14, 22) / 22)


def test_end_points_lie_where_they_are_said_to():
    geometry = oblique_geometry((40, 30, 12), (0.8, 1.2, 3), (8, -5, 12))
    mask = ball(geometry, geometry.to_world([10, 12, 7]), 7)
    found = longest_axial_diameter(mask, geometry)
    for index, world, length in (
        (found.ends_index, found.ends_mm, found.length_mm),
        (found.perpendicular_ends_index, found.perpendicular_ends_mm, found.perpendicular_mm),
    ):
        assert np.allclose(geometry.to_world(index), world)
        assert np.linalg.norm(world[1] - world[0]) == pytest.approx(length)
        assert (index[:, 2] == found.slice).all()
        assert np.abs(index - [10, 12, found.slice]).max() < 10
    along = found.ends_mm[1] - found.ends_mm[0]
    assert along @ (found.perpendicular_ends_mm[1] - found.perpendicular_ends_mm[0]) == pytest.approx(0, abs=1e-9)
    start, stop = (1, 3, 4), (25, 25, 11)
    inside = mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    moved = longest_axial_diameter(inside, geometry, start)
    assert np.array_equal(moved.ends_index, found.ends_index)
    assert np.allclose(moved.perpendicular_ends_mm, found.perpendicular_ends_mm)
    assert np.array_equal(found.ends_index[:, :2] % 1, np.full((2, 2), 0.5))


@given(PLANE, st.floats(0.5, 3), st.floats(0.5, 3))
def test_axial_diameter_is_that_of_all_pixel_corners(plane, first, second):
    geometry = Geometry.from_spacing(plane.shape, (first, second, 5))
    found = longest_axial_diameter(plane, geometry)
    corners = list_corners(plane[..., 0]) * (first, second)
    assert found.length_mm == pytest.approx(pdist(corners).max())
    # The perpendicular chord is no longer than the extent across, and no shorter than any chord tried here.
    along = (found.ends_mm[1] - found.ends_mm[0])[:2] / found.length_mm
    across = corners @ [-along[1], along[0]]
    assert found.perpendicular_mm <= np.ptp(across) + 1e-9
    x = corners @ along
    same = np.abs(x[:, None] - x) < 1e-9
    assert found.perpendicular_mm >= np.where(same, np.abs(across[:, None] - across), 0).max() - 1e-9


@given(NOISE)
def test_longest_over_all_slices(mask):
    geometry = Geometry.from_spacing((9, 9, 9), (1.5, 1, 2))
    expected = max(
        pdist(list_corners(mask[..., k]) * (1.5, 1)).max() for k in range(mask.shape[2]) if mask[..., k].any()
    )
    assert longest_axial_diameter(mask, geometry).length_mm == pytest.approx(expected)


def test_slices_are_those_closest_to_axial():
    sagittal = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])  # i runs to y, j to z, k to x
    assert find_axial_axis(Geometry((10, 10, 10), sagittal)) == 1
    assert find_axial_axis(Geometry((10, 10, 1), sagittal)) == 2
    tilted = np.diag([0.5, 0.5, 5.0, 1.0])
    tilted[1, 2] = 4.9  # a tilted gantry: slices stay axial although their stack leans by 44 degrees
    assert find_axial_axis(Geometry((10, 10, 10), tilted)) == 2


def test_lengths_hold_on_sheared_grids():
    affine = np.array([[1, 0.4, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    found = longest_axial_diameter(np.ones((10, 6, 1), bool), Geometry((10, 6, 1), affine))
    assert found.length_mm == pytest.approx(math.hypot(10 + 0.4 * 6, 6))
    along = found.ends_mm[1] - found.ends_mm[0]
    assert along @ (found.perpendicular_ends_mm[1] - found.perpendicular_ends_mm[0]) == pytest.approx(0, abs=1e-9)


def test_empty_mask_has_no_diameter():
    assert longest_axial_diameter(np.zeros((4, 4, 4), bool), Geometry.from_spacing((4, 4, 4), (1, 1, 1))) is None
