"""Calibration against values by hand and a plain loop over the voxels."""

import math

import numpy as np
import pytest

from medseg.core.errors import DatasetError
from medseg.evaluation import calibration
from medseg.evaluation.calibration import (
    bin_probabilities,
    measure_ace,
    measure_brier,
    measure_ece,
    measure_nll,
    pool_reliability,
    tabulate_reliability,
)


def test_by_hand():
    p = np.array([[[0.1, 0.1, 0.6, 0.9]]], np.float32)
    truth = np.array([[[0, 1, 1, 1]]])
    found = bin_probabilities(p, truth, bins=2)  # below a half: mean 0.1, observed 1/2; above: 0.75 against 1
    assert measure_ece(found) == pytest.approx(0.5 * 0.4 + 0.5 * 0.25)
    assert measure_ace(found) == pytest.approx((0.4 + 0.25) / 2)
    assert measure_brier(found) == pytest.approx((0.01 + 0.81 + 0.16 + 0.01) / 4)
    assert measure_nll(found) == pytest.approx(-(math.log(0.9) + math.log(0.1) + math.log(0.6) + math.log(0.9)) / 4)


def test_ace_counts_every_filled_bin_alike():
    p = np.concatenate([np.zeros(98), [0.5, 0.5]])[None]
    truth = np.concatenate([np.zeros(98), [1, 1]])[None]
    found = bin_probabilities(p, truth, bins=10)
    assert measure_ece(found) == pytest.approx(0.02 * 0.5)
    assert measure_ace(found) == pytest.approx(0.25)


def test_agrees_with_a_plain_loop_in_slabs_and_with_voxels_left_out(monkeypatch):
    monkeypatch.setattr(calibration, "SLAB_VOXELS", 40)
    rng = np.random.default_rng(0)
    p = rng.random((9, 5, 4)).astype(np.float32)
    p[0, 0, :2] = 0, 1
    truth, counted = rng.random(p.shape) < p**2, rng.random(p.shape) < 0.8
    found = bin_probabilities(p, truth, counted=counted)
    bins = [[] for _ in range(15)]
    for value, y in zip(p[counted].tolist(), truth[counted].tolist(), strict=True):
        bins[min(int(value * 15), 14)].append((value, y))
    total = int(counted.sum())
    gaps = [abs(sum(v for v, _ in b) - sum(y for _, y in b)) for b in bins if b]
    assert found.count == total
    assert measure_ece(found) == pytest.approx(sum(gaps) / total)
    assert measure_ace(found) == pytest.approx(
        np.mean([g / len(b) for g, b in zip(gaps, filter(None, bins), strict=True)])
    )
    values = [pair for b in bins for pair in b]
    assert measure_brier(found) == pytest.approx(np.mean([(v - y) ** 2 for v, y in values]))
    losses = [-math.log(max(v if y else 1 - v, 1e-7)) for v, y in values]
    assert measure_nll(found) == pytest.approx(np.mean(losses))
    for row, b in zip(tabulate_reliability(found), bins, strict=True):
        assert row.voxels == len(b)
        assert row.mean_probability == pytest.approx(np.mean([v for v, _ in b]))
        assert row.observed == pytest.approx(np.mean([y for _, y in b]))


def test_a_calibrated_prediction_has_no_error():
    rng = np.random.default_rng(2)
    p = rng.random((200, 200, 5))
    found = bin_probabilities(p, rng.random(p.shape) < p)
    assert measure_ece(found) < 0.005
    assert measure_brier(found) == pytest.approx(1 / 6, abs=0.002)  # the mean of p (1 - p) for p from 0 to 1
    assert measure_nll(found) == pytest.approx(0.5, abs=0.005)  # the mean entropy, nats


def test_scans_add_up():
    rng = np.random.default_rng(3)
    p, truth = rng.random((6, 4, 4)), rng.random((6, 4, 4)) < 0.3
    whole = bin_probabilities(p, truth)
    parts = pool_reliability([bin_probabilities(p[:2], truth[:2]), bin_probabilities(p[2:], truth[2:])])
    for measure in (measure_ece, measure_ace, measure_brier, measure_nll):
        assert measure(parts) == pytest.approx(measure(whole))


def test_nothing_to_count_and_no_probabilities():
    p = np.full((2, 2, 2), 0.5)
    nothing = bin_probabilities(p, p > 1, counted=p > 1)
    assert [m(nothing) for m in (measure_ece, measure_ace, measure_brier, measure_nll)] == [None] * 4
    assert tabulate_reliability(nothing)[0].observed is None
    sure = bin_probabilities(np.zeros((1, 1, 1)), np.ones((1, 1, 1)))
    assert measure_nll(sure) == pytest.approx(-math.log(1e-7))
    assert bin_probabilities(np.full((1, 1, 1), 1.0000002), np.ones((1, 1, 1))).voxels[-1] == 1
    for wrong in (1.5, -0.2, math.nan):
        with pytest.raises(DatasetError, match="no probabilities"):
            bin_probabilities(np.full((1, 1, 1), wrong), np.ones((1, 1, 1)))
