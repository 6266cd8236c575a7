"""Normalisation schemes in closed form."""

import numpy as np
import pytest
from scipy import ndimage

from medseg.core.plan import NormalisationPlan
from medseg.preprocessing.normalise import Scaling, apply_scalings, choose_scalings, fill_holes


def test_schemes() -> None:
    array = np.random.default_rng(0).integers(0, 256, size=(5, 6, 7, 8)).astype(np.int16)
    plans = (
        NormalisationPlan(scheme="ct", mean=100.0, sd=40.0, low=30.0, high=180.0),
        NormalisationPlan(scheme="zscore"),
        NormalisationPlan(scheme="rescale_to_01"),
        NormalisationPlan(scheme="rgb_to_01"),
        NormalisationPlan(scheme="none"),
    )
    result = apply_scalings(array, choose_scalings(array, plans, None))
    plain = array.astype(float)
    expected = [
        (np.clip(plain[0], 30, 180) - 100) / 40,
        (plain[1] - plain[1].mean()) / plain[1].std(),
        (plain[2] - plain[2].min()) / np.ptp(plain[2]),
        plain[3] / 255,
        plain[4],
    ]
    assert result.dtype == np.float32
    assert np.allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scheme", ["zscore", "rescale_to_01", "ct"])
def test_a_constant_image_stays_finite(scheme: str) -> None:
    array = np.full((1, 3, 3, 3), 7.0, np.float32)
    plan = NormalisationPlan(scheme=scheme, mean=7.0, sd=0.0, low=0.0, high=10.0)
    assert np.all(apply_scalings(array, choose_scalings(array, (plan,), None)) == 0.0)


def test_outside_reads_as_zero_and_the_input_is_left_alone() -> None:
    stored = np.array([5, 9, 9, 7], np.uint8).reshape(1, 1, 1, 4)
    result = apply_scalings(stored, (Scaling(subtract=5.0, divide=2.0, outside=9),))
    assert result.ravel().tolist() == [0.0, 0.0, 0.0, 1.0]
    assert stored.ravel().tolist() == [5, 9, 9, 7]


def test_fill_holes_equals_scipys() -> None:
    for seed in range(20):
        mask = np.random.default_rng(seed).random((9, 10, 8)) < 0.6
        assert np.array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))
