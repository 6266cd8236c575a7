"""Aligning: a linear field of world coordinates is known everywhere, so linear interpolation must return it exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.grids.align import align_volume, find_axis_order, turn_axes


def make_grid(shape, spacing_mm=(1.0, 1.0, 1.0), angle=0.0, origin=(0.0, 0.0, 0.0)):
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * spacing_mm
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def field(geometry):
    x, y, z = np.moveaxis(geometry.to_world(np.moveaxis(np.indices(geometry.shape), 0, -1)), -1, 0)
    return 2.0 * x - 3.0 * y + 0.5 * z + 100.0


def as_volume(array, geometry):
    return Volume(np.asarray(array)[None], geometry, ("a",))


@pytest.mark.parametrize("angle", [0.0, 0.1])
@pytest.mark.parametrize(
    "like",
    [
        make_grid((20, 17, 9), (0.7, 0.6, 1.1), 0.3, (-1, -2, 2)),
        make_grid((9, 8, 7), (1.3, 1.1, 1.7), 0.0, (0, 0, 0)),
        make_grid((4, 5, 6), (-1.0, 1.0, -1.0), -0.2, (5, 3, 9)),
    ],
)
def test_linear_field_is_exact_inside(like, angle):
    source = make_grid((24, 22, 14), (0.9, 1.2, 1.3), angle, (-8, -9, -1))
    aligned = align_volume(as_volume(field(source), source), like)
    place = source.to_index(like.to_world(np.moveaxis(np.indices(like.shape), 0, -1)))
    inside = np.all((place >= 0) & (place <= np.array(source.shape) - 1), axis=-1)
    assert inside.sum() > 50
    np.testing.assert_allclose(aligned.array[0][inside], field(like)[inside], rtol=1e-5)
    assert aligned.geometry is like
    assert aligned.array.dtype == np.float32


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_straight_axes_as_scipy_interpolates(order, dtype):
    values = np.random.default_rng(0).integers(-50, 50, (7, 8, 9)).astype(dtype)
    source = Geometry.from_spacing(values.shape, (2.0, 3.0, 4.0))
    linear = np.diag([1.3, -1.7, 5.0])[:, order]
    like = Geometry(
        (9, 10, 3), np.block([[linear, np.array([[1.0], [18.0], [2.0]])], [np.zeros((1, 3)), np.ones((1, 1))]])
    )
    place = source.to_index(like.to_world(np.moveaxis(np.indices(like.shape), 0, -1)))
    expected = ndimage.map_coordinates(values.astype(float), np.moveaxis(place, -1, 0), order=1, mode="nearest")
    beyond = np.any((place < -0.5) | (place > np.array(values.shape) - 0.5), axis=-1)
    expected[beyond] = values.min()
    np.testing.assert_allclose(align_volume(as_volume(values, source), like).array[0], expected, atol=1e-4)


def test_outside_is_the_minimum_and_the_edge_voxel_reaches_half_a_voxel():
    source = Geometry.from_spacing((3, 3, 3), (2, 2, 2))
    values = np.arange(27, dtype=np.int16).reshape(3, 3, 3) - 5
    like = make_grid((8, 1, 1), (1, 1, 1), origin=(-2.5, 0, 0))
    aligned = align_volume(as_volume(values, source), like).array[0, :, 0, 0]
    # World x: -2.5 and -1.5 lie outside (the first voxel begins at -1), -0.5 in its outer half.
    expected = [-5, -5, -5, -5 + 0.25 * 9, -5 + 0.75 * 9, -5 + 1.25 * 9, -5 + 1.75 * 9, -5 + 18]
    np.testing.assert_allclose(aligned, expected)


def test_planes_are_the_same_however_the_work_is_cut(monkeypatch):
    source = make_grid((12, 11, 10), (1, 1, 1), 0.2)
    like = make_grid((14, 9, 8), (0.8, 1.1, 1.2), 0.1)
    volume = as_volume(np.random.default_rng(0).normal(size=source.shape), source)
    whole = align_volume(volume, like).array
    monkeypatch.setattr("medseg.grids.align._SLAB_VOXELS", 1)
    np.testing.assert_allclose(align_volume(volume, like).array, whole, atol=1e-5)


def test_grids_apart_are_refused():
    far = make_grid((4, 4, 4), origin=(100, 0, 0))
    with pytest.raises(GeometryError, match="do not overlap") as caught:
        align_volume(as_volume(np.zeros((4, 4, 4)), make_grid((4, 4, 4))), far)
    assert caught.value.code == "no_overlap"


@settings(max_examples=48, deadline=None)
@given(order=st.permutations(range(3)), flips=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_turned_axes_are_found_and_change_no_value(order, flips):
    like = make_grid((3, 4, 5), (0.7, 0.8, 2.5), 0.4, (10, -20, 30))
    values = np.arange(60, dtype=np.int16).reshape(like.shape)
    turned, affine = values, like.affine.copy()
    for axis in range(3):
        if flips[axis]:
            turned = np.flip(turned, axis)
            affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
            affine[:3, axis] *= -1
    turned, affine = turned.transpose(order), affine[:, [*order, 3]]
    geometry = Geometry(turned.shape, affine)
    turn = find_axis_order(geometry, like)
    assert turn is not None
    np.testing.assert_array_equal(turn_axes(turned, turn), values)
    aligned = align_volume(as_volume(turned, geometry), like)
    assert aligned.array.dtype == np.int16
    np.testing.assert_array_equal(aligned.array[0], values)


def test_a_shifted_grid_is_no_turned_one():
    grid = make_grid((3, 4, 5))
    assert find_axis_order(grid, make_grid((3, 4, 5), origin=(0.01, 0, 0))) is None
    assert find_axis_order(grid, make_grid((3, 4, 6))) is None
