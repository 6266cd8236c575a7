"""Lesions keep their ids: through growth, absence, merging and splitting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.measurement import measure_case
from medseg.measurement.longitudinal.changes import compare_lesion, compare_lesions
from medseg.measurement.longitudinal.patients import follow_patient, list_changes
from medseg.measurement.longitudinal.placing import PatientScan, Placement, match_patterns
from medseg.measurement.longitudinal.timeline import Scan
from tests.phantoms import lesions, motion, tube

LABELS = LabelScheme.make({"tumour": 1})
GEOMETRY = Geometry.from_spacing((60, 40, 30), (1, 1, 1))


def follow(*masks, geometries=None, days=None, bar=None, whole_labels=False, images=None):
    """The course of one patient whose scans are aligned; ``bar`` is the volumes' error bar, a share."""
    geometries = geometries or [GEOMETRY] * len(masks)
    scans = [Scan(f"c{n}", "p", days[n] if days else 30 * n, None, None) for n in range(len(masks))]
    parts = [
        PatientScan(Segmentation(mask.astype(np.uint8), own), None) for mask, own in zip(masks, geometries, strict=True)
    ]
    rows = {
        scan.case: measure_case(part.mask, LABELS, case=scan.case, volume=image)
        for scan, part, image in zip(scans, parts, images or [None] * len(scans), strict=True)
    }
    if bar is not None:
        rows = {
            case: [row if whole_labels and row.instance else add_bar(row, bar) for row in own]
            for case, own in rows.items()
        }
    return follow_patient(scans, parts, [Placement(np.eye(4), "same_grid")] * len(masks), LABELS, rows)


def add_bar(row, bar):
    if row.quantity != "volume_ml":
        return row
    return replace(row, low=row.value * (1 - bar), high=row.value * (1 + bar))


def sightings(course):
    return {
        name: lesion.sightings for name, lesion in zip(course.labels[0].names, course.labels[0].courses, strict=True)
    }


def balls(*spots):
    return lesions(GEOMETRY, spots)


def words(course, lesion_id):
    """Each later scan's change against the one before."""
    label = course.labels[0]
    lesion = label.names.index(lesion_id)
    found = []
    for scan in range(1, len(course.scans)):
        rows = list(compare_lesion(label, lesion, scan - 1, scan))
        found.append(rows[0].change if rows else "")
    return found


A, B, C = (12, 20, 15), (34, 20, 15), (50, 20, 15)


def test_stable_grown_shrunk_new_gone():
    course = follow(balls((A, 8), (B, 5)), balls((A, 8), (B, 6)), balls((A, 6), (C, 4)), balls((A, 6), (C, 4)))
    assert list(sightings(course)) == ["tumour-1", "tumour-2", "tumour-3"]
    assert words(course, "tumour-1") == ["stable", "shrunk", "stable"]
    assert words(course, "tumour-2") == ["grown", "gone", ""]
    assert words(course, "tumour-3") == ["", "new", "stable"]


def test_rows_against_first_lowest_and_previous_scan():
    course = follow(*(balls((A, radius)) for radius in (8, 5, 6, 7)))
    volumes = [body.found[0].volume_ml for body in course.labels[0].scans]
    rows = [row for row in compare_lesions(course.labels[0]) if row.quantity == "volume_ml"]
    pairs = [(row.day_from, row.day_to) for row in rows]
    assert pairs == [(0, 30), (0, 60), (30, 60), (0, 90), (30, 90), (60, 90)]
    for row in rows:
        first, second = volumes[row.day_from // 30], volumes[row.day_to // 30]
        assert (row.value_from, row.value_to) == (first, second)
        assert row.difference == pytest.approx(second - first)
        assert row.percent == pytest.approx(100 * (second / first - 1))
        assert (row.unit, row.status, row.beyond_error) == ("ml", "ok", "unknown")


def test_lesion_that_returns_has_its_id_again():
    course = follow(balls((A, 8), (B, 5)), balls((A, 8)), balls((A, 8)), balls((A, 8), (B, 5)))
    assert list(sightings(course)) == ["tumour-1", "tumour-2"]
    assert words(course, "tumour-2") == ["gone", "", "new"]
    (row,) = [row for row in compare_lesion(course.labels[0], 1, 0, 3) if row.quantity == "volume_ml"]
    assert row.change == "stable"


def test_merged_lesions_are_compared_as_one_and_come_apart_again():
    first, second = (20, 20, 15), (34, 20, 15)
    apart, joined = balls((first, 6), (second, 5)), balls((first, 8), (second, 8))
    course = follow(apart, joined, joined, apart)
    assert sightings(course) == {"tumour-1": [(1,), (1,), (1,), (1,)], "tumour-2": [(2,), (1,), (1,), (2,)]}
    assert words(course, "tumour-1") == ["merged", "stable", "split"]
    assert words(course, "tumour-2") == ["merged", "stable", "split"]
    label = course.labels[0]
    before = sum(body.volume_ml for body in label.scans[0].found)
    (row,) = [row for row in compare_lesion(label, 0, 0, 1) if row.quantity == "volume_ml"]
    assert (row.value_from, row.value_to) == pytest.approx((before, label.scans[1].found[0].volume_ml))
    other = list(compare_lesion(label, 1, 0, 1))
    assert {(row.status, row.value_to, row.difference) for row in other} == {("merged", None, None)}
    # Apart again, each is itself: nothing of the merger is left in the comparison with the first scan.
    (row,) = [row for row in compare_lesion(label, 1, 0, 3) if row.quantity == "volume_ml"]
    assert (row.change, row.difference) == ("stable", 0)


def test_split_lesion_keeps_its_id_for_all_its_parts():
    left, right = (18, 20, 15), (38, 20, 15)
    whole = balls((left, 6), (right, 5)) | tube(GEOMETRY, left, right, 2.5)
    course = follow(whole, balls((left, 6), (right, 5)), balls((left, 6), (right, 3)), balls((left, 6)))
    assert sightings(course) == {"tumour-1": [(1,), (1, 2), (1, 2), (1,)]}
    assert words(course, "tumour-1") == ["split", "shrunk", "stable"]
    rows = {row.quantity: row for row in compare_lesion(course.labels[0], 0, 0, 1)}
    bodies = course.labels[0].scans[1].found
    assert rows["volume_ml"].value_to == pytest.approx(sum(body.volume_ml for body in bodies))
    # RECIST 1.1: the diameters of fragments are added up.
    assert rows["diameter_axial_mm"].value_to == pytest.approx(sum(body.axial_mm for body in bodies))


def test_neighbours_that_graze_one_another_stay_apart():
    course = follow(balls(((20, 20, 15), 6), ((34, 20, 15), 6)), balls(((22, 20, 15), 6), ((37, 20, 15), 6)))
    assert sightings(course) == {"tumour-1": [(1,), (1,)], "tumour-2": [(2,), (2,)]}


def test_small_lesion_beside_its_earlier_place_is_matched_within_reach():
    first, near, far = (np.zeros(GEOMETRY.shape, bool) for _ in range(3))
    first[20, 20, 15] = near[23, 20, 15] = far[26, 20, 15] = True
    assert sightings(follow(first, near)) == {"tumour-1": [(1,), (1,)]}
    assert sightings(follow(first, far)) == {"tumour-1": [(1,), ()], "tumour-2": [(), (1,)]}


def test_thick_slices_lose_no_lesion():
    thick = Geometry((60, 40, 6), np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 5.0, 2.0], [0, 0, 0, 1.0]]))
    spots = [(A, 4), (B, 3)]
    course = follow(balls(*spots), lesions(thick, spots), geometries=[GEOMETRY, thick])
    assert [len(seen[1]) for seen in sightings(course).values()] == [1, 1]


def test_whole_label_and_doubling_time():
    course = follow(balls((A, 5)), balls((A, 6), (C, 3)), days=[0, 45])
    rows = {row.quantity: row for row in list_changes(course) if not row.lesion_id}
    first, second = (sum(body.volume_ml for body in scan.found) for scan in course.labels[0].scans)
    assert (rows["lesion_count"].value_from, rows["lesion_count"].value_to) == (1, 2)
    assert rows["volume_ml"].difference == pytest.approx(second - first)
    assert rows["doubling_time_days"].value_to == pytest.approx(45 * np.log(2) / np.log(second / first))
    undated = follow(balls((A, 5)), balls((A, 6)), days=[None, None])
    (row,) = [row for row in list_changes(undated) if row.lesion_id and row.quantity == "doubling_time_days"]
    assert (row.value_to, row.status) == (None, "no_day")


def test_error_bars_decide_whether_a_change_is_beyond_error():
    masks = [balls((A, radius)) for radius in (8, 9, 6)]
    answers = {}
    for bar in (None, 0.1, 0.3):
        rows = [row for row in list_changes(follow(*masks, bar=bar)) if row.quantity == "volume_ml"]
        answers[bar] = {(row.lesion_id, row.day_from, row.day_to): row.beyond_error for row in rows}
    assert set(answers[None].values()) == {"unknown"}
    for lesion in ("", "tumour-1"):
        assert [answers[0.1][lesion, *pair] for pair in ((0, 30), (0, 60), (30, 60))] == ["yes", "yes", "yes"]
        assert [answers[0.3][lesion, *pair] for pair in ((0, 30), (0, 60), (30, 60))] == ["no", "yes", "yes"]
    # Whether a lesion that came was missed before is nothing that the error of a volume tells.
    rows = list_changes(follow(np.zeros(GEOMETRY.shape, bool), masks[0], bar=0.1))
    assert {row.beyond_error for row in rows if row.quantity == "volume_ml"} == {"unknown"}


def test_error_bar_of_a_label_serves_its_only_lesion():
    def answer(*masks):
        rows = list_changes(follow(*masks, bar=0.1, whole_labels=True))
        return {row.lesion_id: row.beyond_error for row in rows if row.quantity == "volume_ml"}

    assert answer(balls((A, 6)), balls((A, 9))) == {"": "yes", "tumour-1": "yes"}
    two = answer(balls((A, 6), (C, 4)), balls((A, 9), (C, 4)))
    assert two == {"": "yes", "tumour-1": "unknown", "tumour-2": "unknown"}


def test_each_row_names_its_scans_and_what_the_earlier_one_is():
    course = follow(*(balls((A, radius)) for radius in (8, 5, 6, 7)), days=[None] * 4)
    for rows in (
        [row for row in list_changes(course) if row.quantity == "volume_ml" and bool(row.lesion_id) == single]
        for single in (False, True)
    ):
        assert {(row.scan_from, row.scan_to): row.against for row in rows} == {
            (0, 1): ("baseline", "nadir", "previous"),
            **{(0, 2): ("baseline",), (1, 2): ("nadir", "previous")},
            **{(0, 3): ("baseline",), (1, 3): ("nadir",), (2, 3): ("previous",)},
        }


def test_uptake_is_followed_where_it_was_measured():
    from medseg.core.volume import Volume

    masks = [balls((A, 6), (B, 4)), balls((A, 6)), np.zeros(GEOMETRY.shape, bool)]
    images = [Volume(np.full((1, *GEOMETRY.shape), suv), GEOMETRY, ("PET",)) for suv in (4.0, 6.0, 1.0)]
    course = follow(*masks, images=images)
    rows = {(row.lesion_id, row.quantity, row.scan_from, row.scan_to): row for row in list_changes(course)}
    row = rows["tumour-1", "suv_max", 0, 1]
    assert (row.value_from, row.value_to, row.percent, row.unit) == (4, 6, 50, "SUV")
    volumes = [body.found[0].volume_ml for body in course.labels[0].scans[:2]]
    row = rows["tumour-1", "tlg", 0, 1]
    assert (row.value_from, row.value_to) == pytest.approx((4 * volumes[0], 6 * volumes[1]))
    gone = rows["tumour-2", "suv_max", 0, 1]
    assert (gone.value_from, gone.value_to, gone.difference, gone.status) == (4, None, None, "not_defined")
    assert rows["tumour-2", "tlg", 0, 1].value_to == 0
    assert rows["", "suv_peak", 0, 1].difference == pytest.approx(2)
    assert not any(row.quantity.startswith("suv") for row in list_changes(follow(*masks)))


def test_empty_scans_and_a_single_one():
    empty = np.zeros(GEOMETRY.shape, bool)
    assert list_changes(follow(balls((A, 5)))) == []
    course = follow(empty, balls((A, 5)), empty)
    assert words(course, "tumour-1") == ["new", "gone"]
    rows = [row for row in list_changes(course) if row.lesion_id and row.quantity == "volume_ml"]
    assert [row.percent for row in rows] == [None, -100]


def test_pattern_of_centres_gives_turn_and_shift():
    rng = np.random.default_rng(1)
    fixed = rng.uniform(-60, 60, (7, 3))
    moved = motion((20, -30, 40), (15, -25, 30))
    moving = (fixed @ moved[:3, :3].T + moved[:3, 3])[[3, 0, 5, 1, 6]]
    moving = np.concatenate([moving + rng.normal(0, 0.5, moving.shape), rng.uniform(-60, 60, (2, 3))])
    (found,) = match_patterns(fixed, moving)
    assert np.abs(found @ moved - np.eye(4))[:3, :3].max() < 0.05
    assert match_patterns(fixed[:2], moving) == []
