"""Contours of masks: even-odd filling gives the mask again, and none is too long for DICOM."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medseg.io.dicom.contour_lines import MOST_POINTS, measure_area, trace_exact
from medseg.io.dicom.contour_masks import fill_polygon
from medseg.io.dicom.contour_smoothing import trace_smooth


def fill_all(polygons, shape):
    """How many polygons hold each pixel's middle."""
    count = np.zeros(shape, int)
    for polygon in polygons:
        place, inside = fill_polygon(polygon, shape)
        count[place] += inside
    return count


@settings(max_examples=150, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_exact_contours_give_the_mask_again(mask):
    polygons = trace_exact(mask)
    np.testing.assert_array_equal(fill_all(polygons, mask.shape), mask)
    assert sum(map(measure_area, polygons)) == mask.sum()
    assert all((polygon % 1 == 0.5).all() for polygon in polygons), "corners lie between voxels' middles"
    for polygon in polygons:  # along voxel edges, the ways to holes too
        steps = np.roll(polygon, -1, axis=0) - polygon
        assert (np.count_nonzero(steps, axis=1) == 1).all()


def test_a_hole_and_an_island_in_it():
    mask = np.zeros((11, 11), bool)
    mask[1:10, 1:10] = True
    mask[3:8, 3:8] = False
    mask[5, 5] = True
    polygons = trace_exact(mask)
    assert sorted(map(len, polygons)) == [4, 11]  # the ring with its way there and back, and the island
    np.testing.assert_array_equal(fill_all(polygons, mask.shape), mask)


@pytest.mark.parametrize("trace", [trace_exact, trace_smooth])
def test_an_empty_mask_has_no_contours(trace):
    assert trace(np.zeros((4, 5), bool)) == []


def test_contours_too_long_for_dicom_are_parted():
    comb = np.zeros((2 * MOST_POINTS, 4), bool)
    comb[:, 0] = comb[::2] = True
    polygons = trace_exact(comb)
    assert 1 < len(polygons) < 20
    assert max(map(len, polygons)) <= MOST_POINTS
    np.testing.assert_array_equal(fill_all(polygons, comb.shape), comb)


def test_noise_is_drawn_too():
    mask = np.random.default_rng(3).random((96, 96)) < 0.7
    polygons = trace_exact(mask)
    assert max(map(len, polygons)) <= MOST_POINTS
    np.testing.assert_array_equal(fill_all(polygons, mask.shape), mask)


@pytest.mark.parametrize("radius", [0.4, 1.2, 5, 17.5])
def test_smooth_contours_keep_the_area(radius):
    i, j = np.mgrid[:41, :41] - 20
    mask = i**2 + j**2 <= radius**2
    (polygon,) = trace_smooth(mask)
    assert measure_area(polygon) == pytest.approx(mask.sum(), rel=1e-4)
    assert fill_all([polygon], mask.shape).sum() == pytest.approx(mask.sum(), rel=0.01)


def test_smooth_contours_are_rounder_than_voxels():
    i, j = np.mgrid[:61, :61] - 30
    mask = i**2 + j**2 <= 25**2
    (smooth,) = trace_smooth(mask)
    (exact,) = trace_exact(mask)
    length = [np.hypot(*(np.roll(line, -1, axis=0) - line).T).sum() for line in (smooth, exact)]
    assert length[0] == pytest.approx(2 * np.pi * 25, rel=0.02)
    assert length[1] > 1.2 * length[0]


def test_smooth_contours_keep_holes():
    i, j = np.mgrid[:61, :61] - 30
    ring = (i**2 + j**2 <= 25**2) & (i**2 + j**2 >= 12**2)
    (polygon,) = trace_smooth(ring)
    assert measure_area(polygon) == pytest.approx(ring.sum(), rel=1e-4)
    assert np.count_nonzero(fill_all([polygon], ring.shape) != ring) <= 0.03 * ring.sum()
