"""Outlines enclose exactly the mask's pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from medseg.shapes.contours import trace_outline

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def signed_area(outline):
    x, y = outline[:, 0], outline[:, 1]
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def test_single_pixel():
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    (outline,) = trace_outline(mask)
    assert outline.tolist() == [[1.5, 1.5], [1.5, 2.5], [0.5, 2.5], [0.5, 1.5], [1.5, 1.5]]


def test_empty_mask_has_no_outline():
    assert trace_outline(np.zeros((4, 4), bool)) == []


def test_ring_has_a_border_and_a_hole():
    mask = np.ones((5, 5), np.uint8)
    mask[2, 2] = 0
    assert sorted(signed_area(outline) for outline in trace_outline(mask)) == [-1.0, 25.0]


def test_pixels_touching_at_a_corner_share_one_outline():
    outlines = trace_outline(np.eye(3, dtype=bool))
    assert len(outlines) == 1
    assert signed_area(outlines[0]) == pytest.approx(3)


def test_only_corners_are_listed():
    assert [len(outline) for outline in trace_outline(np.ones((30, 50), bool))] == [5]


@given(MASKS)
def test_areas_add_up_to_the_pixels(mask):
    assert sum(signed_area(outline) for outline in trace_outline(mask)) == mask.sum()


@given(MASKS)
def test_borders_and_holes_are_counted_as_components(mask):
    areas = [signed_area(outline) for outline in trace_outline(mask)]
    _, pieces = ndimage.label(mask, np.ones((3, 3)))
    _, outside = ndimage.label(np.pad(~mask, 1, constant_values=True))
    assert sum(area > 0 for area in areas) == pieces
    assert sum(area < 0 for area in areas) == outside - 1


@given(MASKS)
def test_every_stretch_runs_along_pixel_edges_between_inside_and_outside(mask):
    padded = np.pad(mask, 1).astype(int)
    length = 0
    for outline in trace_outline(mask):
        steps = np.diff(outline, axis=0)
        assert ((steps != 0).sum(axis=1) == 1).all()
        assert ((outline - 0.5) % 1 == 0).all()
        assert (outline[0] == outline[-1]).all()
        length += np.abs(steps).sum()
    edges = np.count_nonzero(np.diff(padded, axis=0)) + np.count_nonzero(np.diff(padded, axis=1))
    assert length == edges


@given(MASKS, st.integers(0, 8), st.integers(0, 8))
def test_winding_number_is_one_inside_and_zero_outside(mask, i, j):
    i, j = i % mask.shape[0], j % mask.shape[1]
    winding = 0
    for outline in trace_outline(mask):
        for (x0, y0), (x1, _) in pairwise(outline):
            if y0 > j and min(x0, x1) < i < max(x0, x1):
                winding += 1 if x1 < x0 else -1
    assert winding == int(mask[i, j])
