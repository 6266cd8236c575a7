"""Surface metrics of distances that can be worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.evaluation import surface
from medseg.shapes.surfaces import SurfaceDistances, measure_surface_distances


def make(a_to_b, a_areas, b_to_a, b_areas):
    return SurfaceDistances(*(np.array(values, float) for values in (a_to_b, a_areas, b_to_a, b_areas)))


def test_areas_weigh_every_metric():
    distances = make([4, 0, 1], [1, 6, 3], [2, 0], [1, 9])
    assert surface.measure_hd(distances) == 4
    assert surface.measure_assd(distances) == pytest.approx((4 + 3 + 2) / 20)
    assert surface.measure_masd(distances) == pytest.approx((7 / 10 + 2 / 10) / 2)
    assert surface.measure_nsd(distances, 1.0) == pytest.approx((6 + 3 + 9) / 20)
    assert surface.measure_nsd(distances, 0.0) == pytest.approx(15 / 20)
    assert surface.measure_hd95(distances) == 4
    # The far element now holds less than 5 % of its surface, and does not count any more.
    assert surface.measure_hd95(make([4, 0, 1], [0.04, 0.6, 0.36], [0.5, 0], [1, 9])) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1.0, 1.4, 30.0]) | st.floats(0, 1e6), st.floats(0.01, 5)), min_size=1
    ),
    st.floats(0.01, 1.0),
)
@settings(max_examples=300, deadline=None)
def test_percentiles_are_those_of_sorted_distances(elements, part):
    values, weights = (np.array(column) for column in zip(*elements, strict=True))
    order = np.argsort(values, kind="stable")
    held = np.cumsum(weights[order])
    found = surface._find_percentile(values, weights, part)
    # A sum in another order may reach a part a rounding earlier or later.
    places = np.searchsorted(held / held[-1], [part - 1e-9, part + 1e-9])
    assert found in values[order[places[0] : min(places[1], values.size - 1) + 1]]


def test_an_empty_mask_is_infinitely_far():
    distances = make([np.inf, np.inf], [1, 2], [], [])
    for measure in (surface.measure_hd, surface.measure_hd95, surface.measure_assd, surface.measure_masd):
        assert measure(distances) == math.inf
    assert surface.measure_nsd(distances, 100.0) == 0


def test_a_spacing_off_by_rounding_does_not_leave_the_tolerance():
    a, b = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    a[2:6, 2:6, 2:6] = b[3:7, 2:6, 2:6] = True
    for spacing in (1.0, 1.0000003, 0.9999997):
        assert surface.measure_nsd(measure_surface_distances(a, b, (spacing,) * 3), 1.0) == 1.0
    assert surface.measure_nsd(measure_surface_distances(a, b, (1.01,) * 3), 1.0) < 1.0


def test_shifted_slab():
    a, b = np.zeros((30, 40, 40), bool), np.zeros((30, 40, 40), bool)
    a[5:10, 1:39, 1:39] = b[8:13, 1:39, 1:39] = True
    distances = measure_surface_distances(a, b, (2.0, 1.0, 1.0))
    assert surface.measure_hd(distances) == 6.0
    assert surface.measure_hd95(distances) == 6.0
    # Outer faces lie 6 mm from the other slab, inner ones 4 mm; the rims, nearer, are a third of the area.
    assert 3.5 < surface.measure_assd(distances) < 5.0
    assert surface.measure_assd(distances) == pytest.approx(surface.measure_masd(distances))
