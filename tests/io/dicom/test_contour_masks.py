"""Contours as masks: against another rule for points in polygons, and what several contours of a slice mean."""

import numpy as np
import pytest
from skimage.measure import points_in_poly

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.io.dicom.contour_masks import fill_polygon, fill_roi
from medseg.io.dicom.rtstruct_read import Contour, Roi

GEOMETRY = Geometry((20, 16, 9), np.diag([-0.8, -1.25, 3.0, 1.0]))


def to_mm(points, plane, axis=2):
    """Index coordinates in a plane as DICOM's points."""
    index = np.insert(np.asarray(points, float), axis, plane, axis=1)
    return GEOMETRY.to_world(index) * (-1, -1, 1)


def make_roi(*contours, axis=2):
    """A structure of (plane, points) or (plane, points, exclusive)."""
    lines = tuple(Contour(to_mm(points, plane, axis), bool(more), ()) for plane, points, *more in contours)
    return Roi(1, "GTV", "GTV", "", lines, {})


def box(low, high):
    """The corners of a box along voxel edges that holds the voxels from low to high."""
    (i, j), (m, n) = np.array(low) - 0.5, np.array(high) + 0.5
    return [(i, j), (m, j), (m, n), (i, n)]


def boxes(*parts):
    mask = np.zeros(GEOMETRY.shape, bool)
    for plane, low, high, value in parts:
        mask[low[0] : high[0] + 1, low[1] : high[1] + 1, plane] = value
    return mask


@pytest.mark.parametrize("seed", range(20))
def test_polygons_as_another_program_fills_them(seed):
    random = np.random.default_rng(seed)
    points = random.uniform(-4, 24, (random.integers(3, 30), 2))
    mask = np.zeros((20, 20), bool)
    place, inside = fill_polygon(points, mask.shape)
    mask[place] = inside
    expected = points_in_poly(np.argwhere(np.ones(mask.shape)), points).reshape(mask.shape)
    np.testing.assert_array_equal(mask, expected)


def test_structures_that_touch_on_voxels_middles_share_none():
    low = fill_polygon(np.array([(1, 1), (5, 1), (5, 7), (1, 7.0)]), (12, 12))
    high = fill_polygon(np.array([(5, 1), (9, 1), (9, 7), (5, 7.0)]), (12, 12))
    mask = np.zeros((12, 12), int)
    for place, inside in (low, high):
        mask[place] += inside
    assert mask.max() == 1
    assert mask.sum() == 8 * 6


def test_a_way_to_a_hole_and_back_leaves_no_trace():
    outer, hole = np.array(box((2, 2), (12, 12))), np.array(box((6, 6), (8, 8)))
    for turn in range(4):  # the ways run across voxels' middles, slantwise too
        points = np.concatenate([outer, outer[:1], np.roll(hole, turn, axis=0), hole[-turn % 4][None]])
        mask, notes = fill_roi(make_roi((4, points)), GEOMETRY, "a")
        np.testing.assert_array_equal(mask, boxes((4, (2, 2), (12, 12), True), (4, (6, 6), (8, 8), False)))
        assert notes == ()


@pytest.mark.parametrize("exclusive", [False, True])
def test_contours_within_one_another_are_holes_and_islands(exclusive):
    parts = [(4, low, high, value) for low, high, value in
             [((2, 2), (14, 12), True), ((4, 4), (10, 10), False), ((6, 6), (8, 8), True)]]  # fmt: skip
    contours = [(plane, box(low, high), exclusive) for plane, low, high, _ in parts]
    for order in (contours, contours[::-1]):
        mask, _ = fill_roi(make_roi(*order), GEOMETRY, "a")
        np.testing.assert_array_equal(mask, boxes(*parts))


def test_contours_that_overlap_in_part_are_united_and_said():
    mask, (note,) = fill_roi(make_roi((4, box((2, 2), (8, 8))), (4, box((6, 6), (12, 12)))), GEOMETRY, "a")
    np.testing.assert_array_equal(mask, boxes((4, (2, 2), (8, 8), True), (4, (6, 6), (12, 12), True)))
    assert "overlap" in note


def test_unless_the_file_asks_for_an_exclusive_or():
    contours = [(4, box((2, 2), (8, 8)), True), (4, box((6, 6), (12, 12)), True)]
    mask, notes = fill_roi(make_roi(*contours), GEOMETRY, "a")
    parts = [boxes((4, (2, 2), (8, 8), True)), boxes((4, (6, 6), (12, 12), True))]
    np.testing.assert_array_equal(mask, parts[0] ^ parts[1])
    assert notes == ()


def test_a_contour_that_stands_there_twice_is_no_hole_of_itself():
    once = box((2, 2), (8, 8))
    mask, (note,) = fill_roi(make_roi((4, once), (4, once[::-1][1:] + once[::-1][:1])), GEOMETRY, "a")
    np.testing.assert_array_equal(mask, boxes((4, (2, 2), (8, 8), True)))
    assert "twice" in note


def test_a_hole_that_leaves_little_is_said():
    outer = np.array(box((2, 2), (13, 13)))
    inner = 7.5 + 0.97 * (outer - 7.5)
    _, (note,) = fill_roi(make_roi((4, outer), (4, inner)), GEOMETRY, "a")
    assert "twice" in note
    _, notes = fill_roi(make_roi((4, outer), (4, box((4, 4), (11, 11)))), GEOMETRY, "a")
    assert notes == ()


def test_contours_across_the_slices():
    mask, _ = fill_roi(make_roi((7, box((2, 2), (8, 6))), axis=0), GEOMETRY, "a")
    expected = np.zeros(GEOMETRY.shape, bool)
    expected[7, 2:9, 2:7] = True
    np.testing.assert_array_equal(mask, expected)


def test_what_lies_beyond_the_scan_is_cut_and_said():
    contours = [(plane, box((-5, 3), (30, 5))) for plane in range(-3, 12)]
    mask, notes = fill_roi(make_roi(*contours), GEOMETRY, "a")
    assert mask[:, 3:6].all()
    assert mask.sum() == 20 * 3 * 9
    assert [note.split(" contours")[0] for note in notes] == ["6 of 15", "9 of 9"]


def test_slices_between_without_contours_are_said():
    mask, (note,) = fill_roi(make_roi(*((plane, box((2, 2), (4, 4))) for plane in (1, 2, 5))), GEOMETRY, "a")
    assert mask.any(axis=(0, 1)).nonzero()[0].tolist() == [1, 2, 5]
    assert note.startswith("2 slices")


@pytest.mark.parametrize(
    ("contours", "code", "words"),
    [
        ([(plane + 0.5, box((2, 2), (4, 4))) for plane in range(4)], "contours_off_slices", "1.5 mm from the nearest"),
        ([(plane, box((2, 2), (4, 4))) for plane in range(0, 9, 3)], "contours_skip_slices", "9 mm apart"),
        ([(plane, box((2, 2), (4, 4))) for plane in (12, 13)], "outside_scan", "12 mm or more"),
    ],
)
def test_contours_of_another_grid_are_refused(contours, code, words):
    with pytest.raises(GeometryError, match=words) as caught:
        fill_roi(make_roi(*contours), GEOMETRY, "rs.dcm")
    assert caught.value.code == code
    assert caught.value.file == "rs.dcm"
    assert caught.value.remedy


def test_tilted_contours_are_refused():
    points = to_mm(box((2, 2), (12, 12)), 4)
    points[:, 2] += 0.3 * points[:, 1]
    roi = Roi(1, "GTV\n", "", "", (Contour(points, False, ()),), {})
    with pytest.raises(GeometryError, match=r"'GTV\\n' are not parallel") as caught:
        fill_roi(roi, GEOMETRY, "a")
    assert caught.value.code == "contours_off_slices"


def test_contours_on_every_third_slice_can_be_kept():
    roi = make_roi(*((plane, box((2, 2), (4, 4))) for plane in (0, 3, 6)))
    mask, (note,) = fill_roi(roi, GEOMETRY, "a", skipped="keep")
    assert mask.sum() == 27
    assert "4 slices" in note


def test_a_structure_that_was_never_drawn_is_empty():
    mask, notes = fill_roi(Roi(1, "GTV", "", "", (), {"points": 2}), GEOMETRY, "a")
    assert not mask.any()
    assert notes == ("2 contours of 'GTV' are left out: points",)
