"""Rows of one case: what is measured, of what, and what stands where a value cannot be known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.results import Measurement, read_rows, write_rows
from medseg.core.volume import Segmentation, Volume
from medseg.measurement import find_axial_diameters, longest_axial_diameter, measure_case
from tests.phantoms import (
    ball,
    ball_volume_ml,
    box,
    centre_of,
    half_diagonal_mm,
    lesions,
    oblique_geometry,
    segmentation_of,
    tube,
    tube_volume_ml,
)

LABELS = LabelScheme.make({"organ": 1, "tumour": 2})
GEOMETRY = oblique_geometry((60, 50, 30), (0.8, 1.0, 2.0))
SPOTS = [((10, -20, 30), 8), ((28, -20, 30), 5), ((-6, -8, 22), 3)]


def pick(rows, quantity, label="tumour", instance=0):
    (row,) = [row for row in rows if (row.quantity, row.label, row.instance) == (quantity, label, instance)]
    return row


@pytest.fixture(scope="module")
def segmentation():
    organ = box(GEOMETRY, centre_of(GEOMETRY), (40, 40, 40))
    return segmentation_of(GEOMETRY, organ, lesions(GEOMETRY, SPOTS))


@pytest.fixture(scope="module")
def rows(segmentation):
    return measure_case(segmentation, LABELS, case="a", patient="p", day=3)


def test_volumes_are_voxel_counts_times_the_voxel_volume(rows, segmentation):
    for value, name in enumerate(LABELS.names, start=1):
        count = int((segmentation.array == value).sum())
        assert pick(rows, "volume_voxels", name).value == count
        assert pick(rows, "volume_ml", name).value == count * GEOMETRY.voxel_volume_ml
    assert pick(rows, "volume_ml").definition == "voxel count x voxel volume"


def test_each_lesion_is_its_ball(rows):
    # Voxels whose centre lies inside: the count's error is a fraction of the surface layer, below 5 % here.
    assert pick(rows, "lesion_count").value == 3
    slack = 2 * half_diagonal_mm(GEOMETRY)
    for number, (centre_mm, radius_mm) in enumerate(SPOTS, start=1):
        assert pick(rows, "volume_ml", instance=number).lesion_id == f"tumour-{number}"
        assert pick(rows, "volume_ml", instance=number).value == pytest.approx(ball_volume_ml(radius_mm), rel=0.05)
        assert pick(rows, "diameter_3d_mm", instance=number).value == pytest.approx(2 * radius_mm, abs=slack)
        assert pick(rows, "diameter_axial_mm", instance=number).value == pytest.approx(2 * radius_mm, abs=slack)
        found = [pick(rows, f"centroid_{axis}_mm", instance=number).value for axis in "xyz"]
        assert found == pytest.approx(centre_mm, abs=0.3)
        assert pick(rows, "elongation", instance=number).value == pytest.approx(1, abs=0.1)
        assert 0.8 < pick(rows, "sphericity", instance=number).value < 0.95


def test_whole_label_is_the_sum_of_its_lesions(rows):
    for quantity in ("volume_voxels", "volume_ml", "volume_mesh_ml", "surface_mm2"):
        parts = [pick(rows, quantity, instance=number).value for number in (1, 2, 3)]
        assert pick(rows, quantity).value == pytest.approx(sum(parts))
    slack = 2 * half_diagonal_mm(GEOMETRY)
    # The first two balls' centres lie 18 mm apart; the axial diameter stays within one lesion.
    far = max(math.dist(a, b) + r + s for n, (a, r) in enumerate(SPOTS) for b, s in SPOTS[n + 1 :])
    assert pick(rows, "diameter_3d_mm").value == pytest.approx(far, abs=slack)
    assert pick(rows, "diameter_axial_mm").value == pick(rows, "diameter_axial_mm", instance=1).value
    assert pick(rows, "diameter_axial_mm").definition != pick(rows, "diameter_axial_mm", instance=1).definition


def test_rows_are_complete_and_survive_the_table(rows, tmp_path):
    assert {(row.case, row.patient, row.day) for row in rows} == {("a", "p", 3)}
    keys = [(row.label, row.instance, row.quantity, row.definition) for row in rows]
    assert len(set(keys)) == len(keys)
    names = {row.quantity for row in rows if row.instance == 1}
    assert {row.quantity for row in rows if row.instance == 0} == names | {"lesion_count"}
    assert all(row.value is None or isinstance(row.value, float) for row in rows)
    write_rows(tmp_path / "measurements.csv", rows, Measurement)
    assert read_rows(tmp_path / "measurements.csv", Measurement) == rows


def test_empty_label_has_volume_zero_and_no_diameter():
    rows = measure_case(segmentation_of(GEOMETRY), LABELS, case="a")
    assert {row.instance for row in rows} == {0}
    assert rows[0].patient == "a"
    for quantity in ("volume_ml", "volume_voxels", "volume_mesh_ml", "surface_mm2", "lesion_count", "touches_border"):
        assert (pick(rows, quantity).value, pick(rows, quantity).status) == (0, "ok")
    unknown = [
        "diameter_3d_mm",
        "diameter_axial_mm",
        "diameter_perpendicular_mm",
        "sphericity",
        "elongation",
        "flatness",
    ]
    unknown += [f"{name}_mm" for axis in "xyz" for name in (f"centroid_{axis}", f"box_{axis}_min", f"box_{axis}_max")]
    for quantity in unknown:
        assert (pick(rows, quantity).value, pick(rows, quantity).status) == (None, "not_defined")
    assert pick(rows, "mean_intensity").status == "no_image"
    image = Volume(np.zeros((1, *GEOMETRY.shape), np.float32), GEOMETRY, ("CT",))
    rows = measure_case(segmentation_of(GEOMETRY), LABELS, volume=image, case="a")
    assert (pick(rows, "mean_intensity").value, pick(rows, "mean_intensity").status) == (None, "not_defined")


def test_intensities_by_channel(segmentation):
    array = np.random.default_rng(0).normal(100, 20, (2, *GEOMETRY.shape)).astype(np.float32)
    image = Volume(array, GEOMETRY, ("CT", "PET"))
    rows = measure_case(segmentation, LABELS, volume=image, case="a")
    for channel, name in enumerate(image.channels):
        inside = array[channel][segmentation.array == 2].astype(np.float64)
        found = {row.quantity: row.value for row in rows
                 if (row.label, row.instance, row.definition) == ("tumour", 0, name)}  # fmt: skip
        low, first, median, third, high = np.percentile(inside, (10, 25, 50, 75, 90))
        assert found == pytest.approx(
            {
                "mean_intensity": inside.mean(), "sd_intensity": inside.std(), "median_intensity": median,
                "min_intensity": inside.min(), "max_intensity": inside.max(), "p10_intensity": low,
                "p25_intensity": first, "p75_intensity": third, "p90_intensity": high,
            }
        )  # fmt: skip


def test_unknown_intensities_are_not_numbers():
    array = np.full((1, *GEOMETRY.shape), np.nan, np.float32)
    mask = segmentation_of(GEOMETRY, ball(GEOMETRY, centre_of(GEOMETRY), 5))
    rows = measure_case(mask, LabelScheme.make({"a": 1}), volume=Volume(array, GEOMETRY, ("MR",)), case="a")
    assert [(row.value, row.status) for row in rows if row.quantity == "mean_intensity"] == [(None, "not_defined")] * 2


def test_regions_are_unions_and_the_ignore_label_is_left_out():
    first, second = box(GEOMETRY, centre_of(GEOMETRY), (20, 20, 20)), ball(GEOMETRY, centre_of(GEOMETRY), 4)
    outside = np.zeros(GEOMETRY.shape, bool)
    outside[:3] = True
    mask = segmentation_of(GEOMETRY, first, second, outside)
    labels = LabelScheme.make({"whole": (1, 2), "core": 2, "ignore": 3})
    rows = measure_case(mask, labels, case="a")
    assert {row.label for row in rows} == {"whole", "core"}
    assert pick(rows, "volume_voxels", "whole").value == (first | second).sum()
    assert pick(rows, "volume_voxels", "core").value == second.sum()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_touching_the_border(axis, end):
    array = np.zeros((6, 7, 8), np.uint8)
    array[3, 3, 3] = 1
    labels = LabelScheme.make({"a": 1})
    geometry = Geometry.from_spacing(array.shape, (1, 1, 1))
    assert pick(measure_case(Segmentation(array, geometry), labels, case="a"), "touches_border", "a").value == 0
    array[(slice(None),) * axis + (end,)] = 1
    assert pick(measure_case(Segmentation(array, geometry), labels, case="a"), "touches_border", "a").value == 1


def test_picture_of_one_slice_touches_only_at_its_edges():
    array = np.zeros((9, 9, 1), np.uint8)
    array[3:5, 3:6] = 1
    labels = LabelScheme.make({"cell": 1})
    rows = measure_case(Segmentation(array, Geometry.from_spacing(array.shape, (1, 1, 1))), labels, case="a")
    assert pick(rows, "touches_border", "cell").value == 0
    assert pick(rows, "diameter_axial_mm", "cell").value == pytest.approx(math.hypot(2, 3))
    assert pick(rows, "flatness", "cell").value == 0


def test_image_on_another_grid_is_refused(segmentation):
    image = Volume(np.zeros((1, 4, 4, 4), np.float32), Geometry.from_spacing((4, 4, 4), (1, 1, 1)), ("CT",))
    with pytest.raises(GeometryError, match=r"a: .*4x4x4") as refused:
        measure_case(segmentation, LABELS, volume=image, case="a")
    assert refused.value.case == "a"


def test_memory_order_of_the_mask_changes_nothing(segmentation, rows):
    turned = Segmentation(np.asfortranarray(segmentation.array), GEOMETRY)
    assert measure_case(turned, LABELS, case="a", patient="p", day=3) == rows


def test_box_holds_every_voxel_and_no_more():
    rng = np.random.default_rng(0)
    geometry = oblique_geometry((9, 8, 7), (0.8, 1.1, 2.5), (25, -30, 40))
    steps = np.array([(a, b, c) for a in (-0.5, 0.5) for b in (-0.5, 0.5) for c in (-0.5, 0.5)])
    for _ in range(5):
        mask = rng.random(geometry.shape) < 0.02
        mask[4, 4, 4] = True
        rows = measure_case(segmentation_of(geometry, mask), LabelScheme.make({"a": 1}), case="a")
        corners = geometry.to_world((np.argwhere(mask)[:, None] + steps).reshape(-1, 3))
        for axis, name in enumerate("xyz"):
            assert pick(rows, f"box_{name}_min_mm", "a").value == pytest.approx(corners[:, axis].min())
            assert pick(rows, f"box_{name}_max_mm", "a").value == pytest.approx(corners[:, axis].max())


def test_closed_forms_on_an_oblique_anisotropic_grid():
    # A voxel belongs to the tube where its centre does: along and across it is known to a voxel's diagonal.
    geometry = oblique_geometry((60, 60, 40), (0.8, 0.9, 1.5), (20, -15, 30))
    middle, bound = centre_of(geometry), 2 * half_diagonal_mm(geometry)
    along = np.array([14.0, 0, 0])
    mask = tube(geometry, middle - along, middle + along, 7)
    rows = measure_case(segmentation_of(geometry, mask), LabelScheme.make({"a": 1}), case="a")
    assert pick(rows, "volume_ml", "a").value == pytest.approx(tube_volume_ml(28, 7), rel=0.02)
    assert pick(rows, "volume_mesh_ml", "a").value == pytest.approx(tube_volume_ml(28, 7), rel=0.02)
    # Steps of voxels add surface where it cuts across the grid, here less than a quarter: IBSI's mesh is not smoothed.
    exact_mm2 = 2 * math.pi * 7 * 28 + 2 * math.pi * 49
    assert 1.0 < pick(rows, "surface_mm2", "a").value / exact_mm2 < 1.25
    assert pick(rows, "diameter_3d_mm", "a").value == pytest.approx(math.hypot(28, 14), abs=bound)
    elongation = math.sqrt((49 / 4) / (28**2 / 12))
    assert pick(rows, "elongation", "a").value == pytest.approx(elongation, rel=0.03)
    assert pick(rows, "flatness", "a").value == pytest.approx(elongation, rel=0.03)
    for name, place, half in zip("xyz", middle, (14, 7, 7), strict=True):
        assert pick(rows, f"centroid_{name}_mm", "a").value == pytest.approx(place, abs=0.2)
        assert pick(rows, f"box_{name}_min_mm", "a").value == pytest.approx(place - half, abs=bound)
        assert pick(rows, f"box_{name}_max_mm", "a").value == pytest.approx(place + half, abs=bound)


def test_diameters_to_draw_are_those_of_the_rows(segmentation, rows):
    found = find_axial_diameters(segmentation, LABELS)
    assert list(found) == [row.lesion_id for row in rows if row.instance and row.quantity == "volume_ml"]
    for lesion_id, diameter in found.items():
        (row,) = [row for row in rows if (row.lesion_id, row.quantity) == (lesion_id, "diameter_axial_mm")]
        assert diameter.length_mm == row.value
    only = segmentation_of(GEOMETRY, ball(GEOMETRY, *SPOTS[1]))
    alone = longest_axial_diameter(only.array == 1, GEOMETRY)
    assert np.allclose(found["tumour-2"].ends_index, alone.ends_index)
