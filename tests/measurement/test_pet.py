"""Peaks against adding up every sphere by hand, spread against all pairs, and the rows that PET gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Volume
from medseg.measurement import measure_case, pet
from medseg.measurement.pet import PEAK_RADIUS_MM, find_suv_peak, measure_spread
from tests.phantoms import ball, centre_of, oblique_geometry, segmentation_of

LABELS = LabelScheme.make({"tumour": 1})
WHOLE = (slice(None),) * 3


def find_by_hand(image, mask, geometry):
    places = np.argwhere(np.isfinite(image))
    world, values = geometry.to_world(places), image[tuple(places.T)].astype(np.float64)
    means = []
    for centre in geometry.to_world(np.argwhere(mask)):
        near = ((world - centre) ** 2).sum(axis=1) <= PEAK_RADIUS_MM**2 + 1e-6
        means.append(values[near].mean())
    return max(means)


def crop(mask):
    box = tuple(slice(int(n.min()), int(n.max()) + 1) for n in np.nonzero(mask))
    return box, np.ascontiguousarray(mask[box])


def test_sphere_holds_one_millilitre():
    assert 4 / 3 * np.pi * PEAK_RADIUS_MM**3 == pytest.approx(1000)


@given(st.integers(0, 2**32 - 1), st.sampled_from([(1.5, 2.0, 3.3), (4.0, 4.0, 3.0), (9.0, 9.0, 9.0), (7.0, 1.2, 2.0)]))
def test_peak_is_that_of_all_spheres(seed, spacing_mm):
    rng = np.random.default_rng(seed)
    geometry = oblique_geometry((9, 8, 7), spacing_mm)
    image = rng.gamma(2, 2, geometry.shape).astype(np.float32)
    mask = rng.random(geometry.shape) < 0.1
    mask[4, 4, rng.integers(7)] = True
    assert find_suv_peak(image, *crop(mask), geometry) == pytest.approx(find_by_hand(image, mask, geometry))


def test_chunks_and_unknown_voxels(monkeypatch):
    geometry = oblique_geometry((20, 12, 10), (2, 2, 3))
    image = np.random.default_rng(1).gamma(2, 2, geometry.shape)
    mask = ball(geometry, centre_of(geometry), 12)
    image[3, 4, 5] = np.nan
    whole = find_suv_peak(image, *crop(mask), geometry)
    assert whole == pytest.approx(find_by_hand(image, mask, geometry))
    monkeypatch.setattr(pet, "_CHUNK_VOXELS", 100)
    assert find_suv_peak(image, *crop(mask), geometry) == pytest.approx(whole, rel=1e-12)


def test_peak_of_a_ball_in_a_cold_scan():
    # A hot ball larger than the sphere has its own uptake as its peak; a smaller one shares the sphere with the cold.
    geometry = Geometry.from_spacing((41, 41, 41), (0.5, 0.5, 0.5))
    centre = centre_of(geometry)
    for radius_mm, share in ((9, 1.0), (3, (3 / PEAK_RADIUS_MM) ** 3)):
        mask = ball(geometry, centre, radius_mm)
        image = np.where(mask, 8.0, 0.0)
        # 3 %: voxels counted by their centres, in balls of 900 voxels and more.
        assert find_suv_peak(image, *crop(mask), geometry) == pytest.approx(8 * share, rel=0.03)


def test_empty_mask_has_no_peak():
    geometry = Geometry.from_spacing((4, 4, 4), (1, 1, 1))
    assert find_suv_peak(np.ones((4, 4, 4)), WHOLE, np.zeros((0, 4, 4), bool), geometry) is None


def test_spread_is_that_of_all_pairs():
    centroids = list(np.random.default_rng(0).normal(0, 100, (7, 3)))
    assert measure_spread(centroids) == pytest.approx(pdist(centroids).max())
    assert measure_spread(centroids[:1]) is None
    assert measure_spread([]) is None


@pytest.fixture(scope="module")
def patient():
    geometry = oblique_geometry((50, 40, 20), (3, 3, 4))
    centre = centre_of(geometry)
    side = np.array([30, 0, 0])
    first, second = ball(geometry, centre + side, 12), ball(geometry, centre - side, 9)
    image = np.ones(geometry.shape, np.float32)
    image[first], image[second] = 6, 10
    return geometry, first, second, image, centre


def rows_of(patient, channel="PET", factor=1.0):
    geometry, first, second, image, _ = patient
    volume = Volume((factor * image)[None], geometry, (channel,))
    rows = measure_case(segmentation_of(geometry, first | second), LABELS, volume=volume, case="a")
    return {(row.instance, row.quantity): row for row in rows}


def test_uptake_of_each_lesion_and_of_the_patient(patient):
    geometry, first, second, _, _ = patient
    rows = rows_of(patient)
    volumes = [mask.sum() * geometry.voxel_volume_ml for mask in (first, second)]
    for number, (uptake, volume) in enumerate(zip((6, 10), volumes, strict=True), start=1):
        for quantity in ("suv_max", "suv_peak", "suv_mean"):
            assert rows[number, quantity].value == pytest.approx(uptake)
            assert rows[number, quantity].unit == "SUV"
            assert rows[number, quantity].definition.startswith("PET, taken as SUV by its name; ")
        assert rows[number, "tlg"].value == pytest.approx(uptake * volume)
        assert (number, "tmtv_ml") not in rows
    assert rows[0, "suv_max"].value == rows[0, "suv_peak"].value == 10
    assert rows[0, "suv_mean"].value == pytest.approx((6 * volumes[0] + 10 * volumes[1]) / sum(volumes))
    assert rows[0, "tmtv_ml"].value == pytest.approx(sum(volumes))
    assert rows[0, "tlg_total"].value == pytest.approx(rows[1, "tlg"].value + rows[2, "tlg"].value)
    # The balls' centres lie 60 mm apart; their voxels' centroids within a fraction of a voxel of them.
    assert rows[0, "dmax_mm"].value == pytest.approx(60, abs=0.5)


def test_uptake_of_unknown_unit_is_not_called_suv(patient):
    rows = rows_of(patient, factor=5000.0)
    for instance, quantity in ((0, "suv_max"), (1, "suv_peak"), (1, "suv_mean"), (1, "tlg"), (0, "tlg_total")):
        assert (rows[instance, quantity].value, rows[instance, quantity].status) == (None, "not_defined")
        assert "not SUV" in rows[instance, quantity].definition
    assert rows[0, "tmtv_ml"].value > 0
    assert rows[1, "max_intensity"].value == pytest.approx(30000)
    assert rows[1, "max_intensity"].unit == ""


def test_other_channels_have_no_uptake(patient):
    quantities = {quantity for _, quantity in rows_of(patient, "MR")}
    assert not quantities & {"suv_max", "suv_peak", "suv_mean", "tlg", "tmtv_ml", "tlg_total", "dmax_mm"}


def test_a_patient_without_tumour(patient):
    geometry, _, _, image, _ = patient
    volume = Volume(image[None], geometry, ("PET",))
    rows = measure_case(segmentation_of(geometry), LABELS, volume=volume, case="a")
    found = {row.quantity: (row.value, row.status) for row in rows}
    assert found["tmtv_ml"] == found["tlg_total"] == (0, "ok")
    for quantity in ("suv_max", "suv_peak", "suv_mean", "tlg", "dmax_mm"):
        assert found[quantity] == (None, "not_defined")
