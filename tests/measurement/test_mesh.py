"""Mesh volume and surface against marching cubes of scikit-image and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

from medseg.core.geometry import Geometry
from medseg.measurement import mesh
from medseg.measurement.mesh import count_neighbourhoods, measure_mesh
from tests.phantoms import ball, ball_volume_ml, box, centre_of, oblique_geometry

NOISE = hnp.arrays(bool, st.tuples(*[st.integers(1, 5)] * 3))
UNIT = Geometry.from_spacing((1, 1, 1), (1, 1, 1))


def measure(mask, geometry=UNIT):
    return measure_mesh(count_neighbourhoods(mask), geometry)


@given(NOISE)
def test_counts_every_neighbourhood(mask):
    padded = np.pad(mask, 1).astype(int)
    expected = np.zeros(256, int)
    for i, j, k in np.ndindex(*(n - 1 for n in padded.shape)):
        expected[sum(padded[i + n // 4, j + n // 2 % 2, k + n % 2] << n for n in range(8))] += 1
    assert np.array_equal(count_neighbourhoods(mask), expected)


def test_chunks_change_nothing(monkeypatch):
    mask = np.random.default_rng(0).random((9, 5, 6)) < 0.4
    whole = count_neighbourhoods(mask)
    for size in (1, 60, 100):
        monkeypatch.setattr(mesh, "_CHUNK_VOXELS", size)
        assert np.array_equal(count_neighbourhoods(mask), whole)


def test_single_voxel_is_an_octahedron():
    volume_ml, surface_mm2 = measure(np.ones((1, 1, 1), bool))
    assert volume_ml == pytest.approx(1 / 6 / 1000)
    assert surface_mm2 == pytest.approx(math.sqrt(3))


def test_box_loses_its_bevelled_edges_and_corners():
    # Edges are bevelled along half a voxel: each takes 1/8 of a voxel per voxel of its length, each corner more.
    a, b, c = 12, 10, 8
    geometry = oblique_geometry((20, 20, 20), (1, 1, 1))
    mask = box(geometry, centre_of(geometry), (a, b, c))
    volume_ml, _ = measure(mask, geometry)
    edges = 4 * ((a - 1) + (b - 1) + (c - 1))
    corners = 8 * (1 / 8 - 1 / 48)
    assert mask.sum() == a * b * c
    assert volume_ml * 1000 == pytest.approx(a * b * c - edges / 8 - corners)


def test_ball_on_an_oblique_anisotropic_grid():
    # The grid moves the surface by half a voxel here and there; the mean effect on the volume is below 1 %.
    geometry = oblique_geometry((60, 50, 30), (0.8, 1.0, 2.0))
    mask = ball(geometry, centre_of(geometry), 18)
    volume_ml, _ = measure(mask, geometry)
    assert volume_ml == pytest.approx(ball_volume_ml(18), rel=0.01)


@pytest.mark.parametrize("spacing_mm", [(1, 1, 1), (0.7, 0.9, 3.0)])
def test_agrees_with_scikit_image_on_smooth_shapes(spacing_mm):
    rng = np.random.default_rng(1)
    mask = ndimage.gaussian_filter(rng.random((24, 26, 22)), 3) > 0.5
    vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(float), 0.5, spacing=spacing_mm)
    corners = vertices[faces]
    volume_ml = abs(np.linalg.det(corners).sum()) / 6 / 1000
    found_ml, found_mm2 = measure(mask, Geometry.from_spacing(mask.shape, spacing_mm))
    # The two differ in how they split polygons that are not flat.
    assert found_ml == pytest.approx(volume_ml, rel=2e-3)
    assert found_mm2 == pytest.approx(mesh_surface_area(vertices, faces), rel=5e-3)


@given(NOISE, st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_turning_and_mirroring_the_array_changes_nothing(mask, order, flipped):
    turned = mask.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)]
    assert measure(np.ascontiguousarray(turned)) == pytest.approx(measure(mask))


@given(NOISE)
def test_mesh_is_closed(mask):
    # The surface's directed area of a closed mesh is zero; measured through the volume, which moving must not change.
    shifted = np.pad(mask, ((3, 0), (0, 5), (2, 2)))
    assert measure(shifted) == pytest.approx(measure(mask))
    volumes, triangles = mesh._tables()
    normals = np.cross(*(triangles["corners"][:, n] - triangles["corners"][:, 0] for n in (1, 2)))
    normals *= triangles["weight"][:, None]
    counts = count_neighbourhoods(mask)
    assert np.abs((counts[triangles["code"]][:, None] * normals).sum(axis=0)).max() < 1e-9
    assert counts @ volumes >= 0


def test_empty_mask_has_no_mesh():
    assert measure(np.zeros((3, 3, 3), bool)) == (0, 0)
    assert measure(np.zeros((0, 0, 0), bool)) == (0, 0)
