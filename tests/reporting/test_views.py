"""Slices are hung as radiologists read them, whatever the order of the file's axes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.core.geometry import Geometry
from medseg.reporting.views import Plane, choose_planes, make_view, name_side
from tests.phantoms import oblique_geometry

# For each plane, the world directions (RAS+) that must run to the right and down on the page.
HANGING: dict[Plane, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "axial": ((-1, 0, 0), (0, -1, 0)),
    "coronal": ((-1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, -1, 0), (0, 0, -1)),
}
ORIENTATIONS = [
    (axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


def oriented(axes: tuple[int, ...], signs: tuple[int, ...]) -> Geometry:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for array_axis, (world, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[world, array_axis] = sign * (1.0, 2.0, 3.0)[array_axis]
    affine[:3, 3] = (5, -7, 11)
    return Geometry((4, 5, 6), affine)


@settings(deadline=None)
@given(st.sampled_from(ORIENTATIONS), st.sampled_from(list(HANGING)))
def test_right_and_down_are_what_they_should_be(
    orientation: tuple[tuple[int, ...], tuple[int, ...]], plane: Plane
) -> None:
    geometry = oriented(*orientation)
    view = make_view(geometry, plane)
    world = geometry.to_world(np.moveaxis(np.indices(geometry.shape), 0, -1))
    shown = np.stack([view.cut(world[..., axis], 1) for axis in range(3)], axis=-1)
    assert shown.shape[:2] == view.shape
    right, down = (np.array(direction) for direction in HANGING[plane])
    assert np.allclose(shown[0, 1] - shown[0, 0], right * view.column_mm)
    assert np.allclose(shown[1, 0] - shown[0, 0], down * view.row_mm)


@settings(deadline=None)
@given(st.sampled_from(ORIENTATIONS), st.sampled_from(list(HANGING)), st.integers(0, 119))
def test_a_voxel_is_placed_where_it_is_shown(
    orientation: tuple[tuple[int, ...], tuple[int, ...]], plane: Plane, voxel: int
) -> None:
    geometry = oriented(*orientation)
    view = make_view(geometry, plane)
    array = np.arange(120).reshape(geometry.shape)
    index = np.argwhere(array == voxel)[0]
    column, row = view.place(index).astype(int)
    assert view.cut(array, index[view.slice_axis])[row, column] == voxel


@pytest.mark.parametrize(
    ("plane", "letters"),
    [("axial", ("R", "L", "A", "P")), ("coronal", ("R", "L", "S", "I")), ("sagittal", ("A", "P", "S", "I"))],
)
def test_letters_of_every_orientation(plane: Plane, letters: tuple[str, ...]) -> None:
    assert all(make_view(oriented(*orientation), plane).letters == letters for orientation in ORIENTATIONS)


def test_letters_say_how_a_slice_is_tilted() -> None:
    assert name_side(np.array([-0.8, 0.6, 0.0])) == "LA"
    assert name_side(np.array([-0.98, 0.19, 0.0])) == "L"
    tilted = make_view(oblique_geometry(angles_degrees=(0.0, 0.0, 30.0)), "axial")
    assert {len(letter) for letter in tilted.letters} == {2}


def test_a_picture_is_shown_as_its_file_holds_it() -> None:
    geometry = Geometry.from_spacing((4, 7, 1), (0.5, 0.25, 1.0))
    view = make_view(geometry, "axial")
    array = np.arange(28).reshape(4, 7, 1)
    assert np.array_equal(view.cut(array, 0), array[..., 0])
    assert (view.row_mm, view.column_mm, view.letters) == (0.5, 0.25, ("", "", "", ""))
    assert choose_planes(geometry) == ("axial",)


def test_nobody_knows_the_sides_of_a_grid_without_a_place() -> None:
    assert make_view(Geometry.from_spacing((4, 5, 6), (1, 1, 1)), "axial").letters == ("", "", "", "")


def test_a_single_slice_is_shown_in_its_own_plane() -> None:
    sagittal = oriented((1, 2, 0), (-1, -1, 1))  # k runs to the patient's right
    assert choose_planes(Geometry((4, 5, 1), sagittal.affine)) == ("sagittal",)
    assert choose_planes(sagittal) == ("axial", "coronal", "sagittal")
