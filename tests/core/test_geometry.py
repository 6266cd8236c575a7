"""Geometry against nibabel's affine arithmetic and closed forms, on any of 48 orientations."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.affines import apply_affine, voxel_sizes
from scipy.spatial.transform import Rotation

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry

spacings = st.tuples(*[st.floats(0.2, 9.0)] * 3)
shapes = st.tuples(*[st.integers(1, 40)] * 3)
indices = st.tuples(*[st.integers(-50, 50)] * 3)
ORIENTATIONS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


@st.composite
def geometries(draw: st.DrawFn, oblique: bool = True) -> Geometry:
    """A grid in any of 48 orientations, turned further by up to half a radian about each axis."""
    order, signs = draw(st.sampled_from(ORIENTATIONS))
    spacing = np.array(draw(spacings))
    axes = np.zeros((3, 3))
    axes[list(order), range(3)] = signs
    if oblique:
        turns = draw(st.tuples(*[st.floats(-0.5, 0.5)] * 3))
        axes = Rotation.from_euler("xyz", turns).as_matrix() @ axes
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return Geometry(draw(shapes), affine)


def test_there_are_48_orientations() -> None:
    codes = set()
    for order, signs in ORIENTATIONS:
        affine = np.eye(4)
        affine[:3, :3] = 0
        affine[list(order), range(3)] = signs
        codes.add(nib.orientations.aff2axcodes(affine))
    assert len(codes) == 48


@given(geometries(), indices)
def test_world_coordinates_equal_nibabels(geometry: Geometry, index: tuple[int, int, int]) -> None:
    np.testing.assert_allclose(geometry.to_world(index), apply_affine(geometry.affine, index), atol=1e-9)


@given(geometries(), indices)
def test_to_the_world_and_back(geometry: Geometry, index: tuple[int, int, int]) -> None:
    np.testing.assert_allclose(geometry.to_index(geometry.to_world(index)), index, atol=1e-9)


@given(geometries())
def test_spacing_and_volume(geometry: Geometry) -> None:
    np.testing.assert_allclose(geometry.spacing_mm, voxel_sizes(geometry.affine))
    # Rotations and flips keep volumes: the product of the spacings.
    assert geometry.voxel_volume_mm3 == pytest.approx(np.prod(geometry.spacing_mm))
    assert geometry.voxel_volume_ml == pytest.approx(geometry.voxel_volume_mm3 / 1000)


def test_steeply_oblique_grids_have_nibabels_orientation() -> None:
    rng = np.random.default_rng(0)
    for turn in Rotation.random(500, rng=rng):
        affine = np.eye(4)
        affine[:3, :3] = turn.as_matrix() * rng.uniform(0.3, 5, 3)
        affine[0, 1] += rng.uniform(-0.3, 0.3)  # sheared a little
        codes = nib.orientations.aff2axcodes(affine)
        assert Geometry((3, 4, 5), affine).orientation == "".join(codes)


def test_volume_of_a_sheared_grid_is_exact() -> None:
    # A CT with a tilted gantry: slices 2 mm apart, each shifted by 1.5 mm; the volume is base times height.
    affine = np.array([[1.0, 0, 0, 0], [0, 1.0, 1.5, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    geometry = Geometry((4, 4, 4), affine)
    assert geometry.voxel_volume_mm3 == pytest.approx(2.0)
    assert geometry.spacing_mm[2] == pytest.approx(2.5)


@given(geometries(), indices, shapes, st.data())
def test_crop_keeps_every_voxel_where_it_was(
    geometry: Geometry, start: tuple[int, int, int], shape: tuple[int, int, int], data: st.DataObject
) -> None:
    stop = [a + n for a, n in zip(start, shape, strict=True)]
    cropped = geometry.crop(start, stop)
    assert cropped.shape == shape
    inside = data.draw(st.tuples(*[st.integers(0, n - 1) for n in shape]))
    whole = np.add(start, inside)
    np.testing.assert_allclose(cropped.to_world(inside), geometry.to_world(whole), atol=1e-9)
    # Cropping back to where it began gives the grid again.
    back = cropped.crop([-a for a in start], [n - a for a, n in zip(start, geometry.shape, strict=True)])
    assert back.same_grid(geometry)


@given(geometries(), st.integers(0, 2), st.floats(-3, 3))
def test_shift_is_measured_in_voxels(geometry: Geometry, axis: int, shift: float) -> None:
    affine = geometry.affine.copy()
    affine[:3, 3] += shift * geometry.affine[:3, axis]
    other = Geometry(geometry.shape, affine)
    assert geometry.largest_shift_voxels(other) == pytest.approx(abs(shift), abs=1e-9)
    if abs(abs(shift) - 1e-3) > 1e-9:  # at the very limit rounding decides
        assert geometry.same_grid(other) == (abs(shift) < 1e-3)


@given(geometries())
def test_float32_headers_are_the_same_grid(geometry: Geometry) -> None:
    # At 300 mm a float32 is off by up to 1.5e-5 mm, far below a thousandth of the smallest voxel here.
    rounded = Geometry(geometry.shape, geometry.affine.astype(np.float32).astype(np.float64))
    assert geometry.same_grid(rounded)


def test_another_shape_is_another_grid() -> None:
    assert not Geometry((4, 4, 4), np.eye(4)).same_grid(Geometry((4, 4, 5), np.eye(4)))


def test_same_centre_but_other_spacing_is_another_grid() -> None:
    a = Geometry.from_spacing((100, 1, 1), (1, 1, 1))
    b = Geometry.from_spacing((100, 1, 1), (1.0001, 1, 1))
    assert a.largest_shift_voxels(b) == pytest.approx(99 * 1e-4)
    assert not a.same_grid(b)


def test_from_spacing() -> None:
    geometry = Geometry.from_spacing((3, 4, 5), (0.7, 0.8, 5))
    assert geometry.spacing_mm == pytest.approx((0.7, 0.8, 5.0))
    assert geometry.describe() == "3x4x5 at 0.7x0.8x5 mm"
    np.testing.assert_array_equal(geometry.to_world((0, 0, 0)), (0, 0, 0))


@pytest.mark.parametrize("broken", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan), np.diag([1.0, 1, 0, 1])])
def test_impossible_affines_are_refused(broken: np.ndarray) -> None:
    with pytest.raises(GeometryError) as caught:
        Geometry((2, 2, 2), broken)
    assert caught.value.code == "bad_affine"


def test_the_affine_cannot_be_changed() -> None:
    given_affine = np.eye(4)
    geometry = Geometry((2, 2, 2), given_affine)
    given_affine[0, 0] = 7
    assert geometry.spacing_mm[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        geometry.affine[0, 0] = 7
