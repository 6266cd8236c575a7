"""Volumes from probabilities: balls in closed form, and what counts as border by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.core.errors import DatasetError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.measurement import measure_case, partial_volume
from medseg.measurement.partial_volume import measure_partial_volumes
from medseg.shapes.components import find_components
from tests.phantoms import ball_volume_ml, oblique_geometry, partial_volume_ball

LABELS = LabelScheme.make({"tumour": 1})
WHOLE = (slice(0, 7), slice(0, 6), slice(0, 5))


def count_by_hand(components, count, probability):
    """Voxel by voxel: 1 deep inside, the probability at the border, shared among the lesions that touch it."""
    ringed = np.pad(components, 1)
    volumes = np.zeros(count)
    for place in np.ndindex(*components.shape):
        around = ringed[tuple(slice(n, n + 3) for n in place)]
        own = components[place]
        inner = np.pad(components, 1, mode="edge")[tuple(slice(n, n + 3) for n in place)]
        if own:
            volumes[own - 1] += 1 if (inner > 0).all() else probability[place]
            continue
        touched = np.unique(around[around > 0])
        for lesion in touched:
            volumes[lesion - 1] += probability[place] / len(touched)
    return volumes


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_layers_on_either_side_count_by_probability(seed, density):
    rng = np.random.default_rng(seed)
    mask = rng.random((7, 6, 5)) < density
    probability = rng.random(mask.shape)
    components, count = find_components(mask)
    found = measure_partial_volumes(components, count, WHOLE, probability)
    assert found == pytest.approx(count_by_hand(components, count, probability))


def test_chunks_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    components, count = find_components(rng.random((7, 6, 5)) < 0.06)
    probability = rng.random(components.shape)
    whole = measure_partial_volumes(components, count, WHOLE, probability)
    assert count > 2
    monkeypatch.setattr(partial_volume, "_CHUNK_VOXELS", 7)
    assert measure_partial_volumes(components, count, WHOLE, probability) == pytest.approx(whole)


def test_box_within_the_scan():
    probability = np.random.default_rng(0).random((20, 20, 20))
    components = np.ones((3, 2, 4), np.int32)
    box = (slice(5, 8), slice(0, 2), slice(16, 20))
    # At the scan's edge (j = 0, k = 19) there is no border: voxels there are inner ones where all others are.
    expected = probability[4:9, :3, 15:].sum() - probability[6, 0, 17:].sum() + 3
    assert measure_partial_volumes(components, 1, box, probability) == pytest.approx(expected)


@pytest.mark.parametrize(("radius_mm", "spacing_mm"), [(6, (1, 1, 1)), (9, (0.8, 1.1, 2.5)), (4, (1.5, 1.5, 1.5))])
def test_balls_whose_probabilities_are_shares_of_voxels(radius_mm, spacing_mm):
    geometry = oblique_geometry((40, 36, 24), spacing_mm)
    exact, partial, counted = ball_volume_ml(radius_mm), [], []
    for shift in itertools.product((0.1, 0.6), repeat=3):
        centre = geometry.to_world((np.asarray(geometry.shape) - 1) / 2 + shift)
        share = partial_volume_ball(geometry, centre, radius_mm)
        mask = Segmentation((share >= 0.5).astype(np.uint8), geometry)
        rows = {row.quantity: row.value for row in measure_case(mask, LABELS, probabilities={"tumour": share}, case="a")
                if row.instance == 1}  # fmt: skip
        partial.append(rows["volume_partial_ml"] / exact - 1)
        counted.append(rows["volume_ml"] / exact - 1)
    # The shares themselves are known to 1/125 of a voxel.
    assert np.abs(partial).max() < 0.01
    assert np.abs(partial).mean() < np.abs(counted).mean() / 2


def test_label_is_the_sum_of_its_lesions_and_small_probabilities_far_away_do_not_count():
    geometry = Geometry.from_spacing((30, 20, 20), (1, 1, 2))
    array = np.zeros(geometry.shape, np.uint8)
    array[4:9, 5:10, 5:10] = array[12:15, 5:10, 5:10] = 1
    probability = np.where(array, 0.9, 0.01)
    rows = measure_case(Segmentation(array, geometry), LABELS, probabilities={"tumour": probability}, case="a")
    volumes = [row.value for row in rows if row.quantity == "volume_partial_ml"]
    assert volumes[0] == pytest.approx(sum(volumes[1:]))
    # 5 x 5 x 5 voxels, 27 of them inside, 7 x 7 x 7 with the layer around.
    assert volumes[1] == pytest.approx((27 + 98 * 0.9 + 218 * 0.01) * 0.002)


def test_empty_label_has_no_volume_and_without_probabilities_there_is_no_row():
    geometry = Geometry.from_spacing((5, 5, 5), (1, 1, 1))
    empty = Segmentation(np.zeros(geometry.shape, np.uint8), geometry)
    rows = measure_case(empty, LABELS, probabilities={"tumour": np.zeros(geometry.shape)}, case="a")
    (row,) = [row for row in rows if row.quantity == "volume_partial_ml"]
    assert (row.value, row.status) == (0, "ok")
    assert all(row.quantity != "volume_partial_ml" for row in measure_case(empty, LABELS, case="a"))


@pytest.mark.parametrize("value", [1.5, -0.2, np.nan])
def test_values_that_are_no_probabilities_are_refused(value):
    geometry = oblique_geometry((12, 12, 12), (1, 1, 1))
    mask = np.zeros(geometry.shape, np.uint8)
    mask[4:8, 4:8, 4:8] = 1
    probability = np.where(mask, value, 0.0)
    with pytest.raises(DatasetError, match="no probabilities") as refused:
        measure_case(Segmentation(mask, geometry), LABELS, probabilities={"tumour": probability}, case="a")
    assert refused.value.case == "a"


def test_probabilities_of_another_scan_or_label_are_refused():
    geometry = Geometry.from_spacing((5, 5, 5), (1, 1, 1))
    mask = Segmentation(np.zeros(geometry.shape, np.uint8), geometry)
    with pytest.raises(DatasetError, match="shape"):
        measure_case(mask, LABELS, probabilities={"tumour": np.zeros((5, 5, 4))}, case="a")
    with pytest.raises(DatasetError, match="'tumour'"):
        measure_case(mask, LABELS, probabilities={"organ": np.zeros((5, 5, 5))}, case="a")
