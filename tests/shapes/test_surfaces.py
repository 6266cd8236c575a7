"""Surface elements and distances against closed forms and a brute-force search."""

import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from medseg.shapes import surfaces
from medseg.shapes.surface_table import CORNERS, tabulate_areas
from medseg.shapes.surfaces import measure_surface_distances

SPACING = st.tuples(*[st.floats(0.3, 6.0)] * 3)


def brute_force_elements(mask, spacing):
    """Places (mm) and areas of a mask's surface elements, looked up cube by cube."""
    padded, places, areas = np.pad(mask, 1), [], []
    table = tabulate_areas(spacing)
    for place in itertools.product(*[range(n - 1) for n in padded.shape]):
        code = sum(int(padded[tuple(np.add(place, corner))]) << bit for bit, corner in enumerate(CORNERS))
        if code not in (0, 255):
            places.append(np.multiply(place, spacing))
            areas.append(table[code])
    return np.array(places).reshape(-1, 3), np.array(areas)


def random_masks(seed, shape):
    rng = np.random.default_rng(seed)
    return [rng.random(shape) < density for density in rng.choice([0.02, 0.1, 0.5, 0.95], 2)]


def assert_same(distances, a, b, spacing):
    (places_a, areas_a), (places_b, areas_b) = brute_force_elements(a, spacing), brute_force_elements(b, spacing)
    between = cdist(places_a, places_b)
    np.testing.assert_allclose(distances.a_areas, areas_a, rtol=1e-12)
    np.testing.assert_allclose(distances.b_areas, areas_b, rtol=1e-12)
    if between.size:
        np.testing.assert_allclose(distances.a_to_b_mm, between.min(axis=1), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(distances.b_to_a_mm, between.min(axis=0), rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(2, 7)] * 3), SPACING)
def test_agrees_with_brute_force_where_masks_touch_the_border(seed, shape, spacing):
    a, b = random_masks(seed, shape)
    assert_same(measure_surface_distances(a, b, spacing), a, b, spacing)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 7.0)])
def test_far_surfaces_are_exact_too(spacing, monkeypatch):
    surfaces._make_grid.cache_clear()
    monkeypatch.setattr(surfaces, "STEPS_TRIED", 20)
    try:
        a, b = np.zeros((20, 9, 8), bool), np.zeros((20, 9, 8), bool)
        a[:2, :3, 2:5] = a[17, 8, 7] = b[16:, 2:, :3] = True
        assert_same(measure_surface_distances(a, b, spacing), a, b, spacing)
    finally:
        surfaces._make_grid.cache_clear()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), SPACING, st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_turned_and_swapped_masks_give_the_same_distances(seed, spacing, axes, flips):
    a, b = random_masks(seed, (4, 6, 5))
    turn = [np.flip(mask, [n for n, flip in enumerate(flips) if flip]).transpose(axes) for mask in (a, b)]
    straight = measure_surface_distances(a, b, spacing)
    turned = measure_surface_distances(turn[1], turn[0], [spacing[axis] for axis in axes])
    np.testing.assert_allclose(np.sort(straight.a_to_b_mm), np.sort(turned.b_to_a_mm))
    np.testing.assert_allclose(np.sort(straight.b_areas), np.sort(turned.a_areas))


def test_box_has_the_area_of_its_chamfered_faces():
    size, spacing = np.array([3, 5, 4]), np.array([0.8, 1.5, 2.5])
    mask = np.zeros((9, 9, 9), bool)
    mask[:3, 2:7, 5:] = True
    x, y, z = (size - 1) * spacing
    hx, hy, hz = spacing / 2
    edges = 4 * (x * math.hypot(hy, hz) + y * math.hypot(hx, hz) + z * math.hypot(hx, hy))
    corner = np.linalg.norm([hy * hz, hx * hz, hx * hy]) / 2
    expected = 2 * (x * y + y * z + x * z) + edges + 8 * corner
    distances = measure_surface_distances(mask, mask, spacing)
    assert distances.a_areas.sum() == pytest.approx(expected, rel=1e-12)
    assert not distances.a_to_b_mm.any()


def test_concentric_balls_lie_their_radii_apart():
    i, j, k = np.indices((50, 50, 50)) - 24.5
    radius = np.sqrt(i**2 + j**2 + k**2)
    distances = measure_surface_distances(radius < 20, radius < 14, (1, 1, 1))
    # Either element lies within half a voxel's diagonal of its sphere.
    assert abs(distances.a_to_b_mm - 6.0).max() < np.sqrt(3)
    assert abs(distances.b_to_a_mm - 6.0).max() < np.sqrt(3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_picture_has_lengths(axis):
    shape, spacing = [6, 6, 6], [0.7, 1.0, 1.9]
    shape[axis] = 1
    a, b = np.zeros(shape, bool), np.zeros(shape, bool)
    inside = [slice(1, 4)] * 3
    inside[axis] = slice(None)
    a[tuple(inside)] = True
    b[tuple(s if n == axis else slice(2, 5) for n, s in enumerate(inside))] = True
    u, v = (value for n, value in enumerate(spacing) if n != axis)
    distances = measure_surface_distances(a, b, spacing)
    assert distances.a_areas.sum() == pytest.approx(4 * u + 4 * v + 4 * math.hypot(u / 2, v / 2))
    assert distances.a_to_b_mm.max() == pytest.approx(math.hypot(u, v))


def test_empty_masks():
    empty, full = np.zeros((3, 4, 5), np.uint8), np.ones((3, 4, 5), np.uint8)
    nothing = measure_surface_distances(empty, empty, (1, 1, 1))
    assert nothing.a_to_b_mm.size == nothing.b_areas.size == 0
    one = measure_surface_distances(full, empty, (1, 1, 1))
    assert np.isinf(one.a_to_b_mm).all()
    assert one.a_areas.size == one.a_to_b_mm.size > 0
    assert one.b_to_a_mm.size == 0


def test_refuses_unfit_masks_and_spacings():
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match="shapes"):
        measure_surface_distances(mask, mask[:2], (1, 1, 1))
    with pytest.raises(ValueError, match="shapes"):
        measure_surface_distances(mask[0], mask[0], (1, 1, 1))
    for spacing in ((1, 1), (1, 0, 1), (1, math.nan, 1)):
        with pytest.raises(ValueError, match="spacing"):
            measure_surface_distances(mask, mask, spacing)


@settings(max_examples=5, deadline=None)
@given(SPACING)
def test_table_is_the_same_from_either_side_and_however_the_cube_is_turned(spacing):
    table = tabulate_areas(spacing)
    np.testing.assert_allclose(table, table[::-1])
    for axes, flips in itertools.product(itertools.permutations(range(3)), itertools.product((0, 1), repeat=3)):
        turned = [tuple(corner[axis] ^ flip for axis, flip in zip(axes, flips, strict=True)) for corner in CORNERS]
        moved = [sum(code >> bit & 1 and 1 << CORNERS.index(turned[bit]) for bit in range(8)) for code in range(256)]
        np.testing.assert_allclose(tabulate_areas([spacing[axis] for axis in axes])[moved], table)


def test_table_of_known_pieces():
    table = tabulate_areas((1, 1, 1))

    def area(*corners):
        return table[sum(1 << CORNERS.index(corner) for corner in corners)]

    corner = math.sqrt(3) / 8
    assert area() == area(*CORNERS) == 0
    assert area((0, 0, 0)) == pytest.approx(corner)
    assert area((0, 0, 0), (0, 0, 1)) == pytest.approx(math.sqrt(0.5))
    assert area((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)) == pytest.approx(1)
    assert area((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)) == pytest.approx(4 * corner)
    # A corner with its three neighbours is cut off by a regular hexagon of side sqrt(1/2).
    assert area((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)) == pytest.approx(3 * math.sqrt(3) / 4)


def test_works_where_compiled_loops_cannot_be_kept():
    code = (
        "import numpy as np; from medseg.shapes.surfaces import measure_surface_distances as measure\n"
        "mask = np.ones((2, 2, 2), bool); print(measure(mask, mask, (1, 1, 1)).a_areas.size)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment["NUMBA_CACHE_LOCATOR_CLASSES"] = "UserProvidedCacheLocator"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.stdout == "26\n", run.stderr
