"""Limits of agreement against published examples, closed forms and simulations."""

import json
import math

import numpy as np
import pytest

from medseg.core.results import Score
from medseg.evaluation import summarise_scores
from medseg.evaluation.agreement import agree_volumes, measure_agreement

# Bland and Altman, Lancet 1986;327:307-310, table 1: peak flow (l/min) by Wright's and the mini meter, first readings.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def draw_with(mean: float, sd: float, count: int, seed: int = 0) -> np.ndarray:
    """Numbers of exactly that mean and standard deviation."""
    values = np.random.default_rng(seed).normal(size=count)
    return mean + sd * (values - values.mean()) / values.std(ddof=1)


def test_peak_flow_of_1986() -> None:
    found = measure_agreement(WRIGHT, MINI)
    assert (found["cases"], found["patients"]) == (17, 17)
    assert found["bias"]["value"] == pytest.approx(-2.1, abs=0.05)
    assert found["sd"] == pytest.approx(38.8, abs=0.05)
    assert (found["bias"]["low"], found["bias"]["high"]) == pytest.approx((-22.0, 17.8), abs=0.1)
    # The paper takes 2 for 1.96.
    assert (found["lower"]["value"], found["upper"]["value"]) == pytest.approx((-79.7, 75.5), abs=2)
    assert found["grows_with_size"] is False
    json.dumps(found, allow_nan=False)


def test_blood_pressure_of_1999() -> None:
    # Bland and Altman 1999, section 2.2: 85 differences with the mean -16.29 and the standard deviation 19.61 mmHg.
    differences = draw_with(-16.29, 19.61, 85)
    second = np.linspace(100, 200, 85)
    found = measure_agreement(second + differences, second)
    values = [found[name][key] for name in ("bias", "lower", "upper") for key in ("value", "low", "high")]
    assert values == pytest.approx([-16.29, -20.5, -12.1, -54.7, -61.9, -47.5, 22.1, 14.9, 29.4], abs=0.1)


def test_ratios_are_the_limits_of_logarithms() -> None:
    logs, second = draw_with(math.log(0.9), 0.1, 30), np.geomspace(0.1, 500, 30)
    found = measure_agreement(second * np.exp(logs), second)
    assert found["grows_with_size"] is True
    ratio = found["ratio"]
    assert (ratio["cases"], ratio["bias"]["value"]) == (30, pytest.approx(0.9))
    assert (ratio["lower"]["value"], ratio["upper"]["value"]) == pytest.approx(
        (0.9 * math.exp(-0.196), 0.9 * math.exp(0.196)), rel=1e-3
    )
    assert ratio["lower"]["low"] < ratio["lower"]["value"] < ratio["lower"]["high"] < ratio["bias"]["low"]


def test_missed_structures_count_in_the_difference_alone() -> None:
    found = measure_agreement([0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 3.0, 4.0])
    assert found["cases"] == 5
    assert found["bias"]["value"] == pytest.approx(-0.2)
    assert (found["ratio"]["cases"], found["ratio"]["bias"]["value"]) == (4, 1.0)


def test_scans_of_a_patient_are_not_more_patients() -> None:
    rng = np.random.default_rng(3)
    second = np.arange(1.0, 41.0)
    whose = [str(n // 4) for n in range(40)]
    between = np.repeat(rng.normal(0, 2, 10), 4)
    found = measure_agreement(second + between + rng.normal(0, 0.1, 40), second, whose)
    assert (found["cases"], found["patients"]) == (40, 10)
    half = (found["bias"]["high"] - found["bias"]["low"]) / 2
    assert half == pytest.approx(2.262 * np.std(between[::4], ddof=1) / math.sqrt(10), rel=0.05)
    assert found["sd"] == pytest.approx(np.std(between[::4], ddof=1), rel=0.05)
    assert found["icc_2_1"]["value"] > 0.9
    assert found["icc_2_1"]["low"] is found["ccc"]["high"] is None
    assert "several cases" in found["reason"]


@pytest.mark.parametrize("scans", [1, 3])
def test_limits_cover(scans: int) -> None:
    rng = np.random.default_rng(scans)
    patients, rounds, covered = 15, 400, np.zeros(2)
    truth = 1.959964 * math.hypot(1.0, 0.7)
    for _ in range(rounds):
        counts = rng.integers(1, scans + 1, patients)
        whose = np.repeat(np.arange(patients), counts)
        differences = rng.normal(size=patients)[whose] + rng.normal(0, 0.7, whose.size)
        second = rng.uniform(10, 20, whose.size)
        found = measure_agreement(second + differences, second, [str(p) for p in whose])
        covered += [
            found["bias"]["low"] <= 0 <= found["bias"]["high"],
            found["upper"]["low"] <= truth <= found["upper"]["high"],
        ]
    assert (covered / rounds >= 0.91).all()
    assert (covered / rounds <= 0.99).all()


def test_few_patients_and_no_variation_are_null_with_a_reason() -> None:
    for values in ([], [1.0], [1.0, 2.0, 3.0]):
        found = measure_agreement(values, values)
        assert found["bias"] is found["sd"] is found["icc_2_1"] is found["ccc"] is found["grows_with_size"] is None
        assert f"{len(values)} patients" in found["reason"]
        json.dumps(found, allow_nan=False)
    same = measure_agreement([2.0] * 6, [2.0] * 6)
    assert same["bias"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert same["icc_2_1"] is same["ccc"] is same["grows_with_size"] is None
    perfect = measure_agreement([1.0, 2.0, 3.0, 5.0, 9.0], [1.0, 2.0, 3.0, 5.0, 9.0])
    assert perfect["icc_2_1"]["value"] == perfect["icc_3_1"]["value"] == perfect["ccc"]["value"] == 1.0
    json.dumps([same, perfect], allow_nan=False)


def test_ratios_that_differ_wildly_stay_numbers() -> None:
    first, second = [1e-3, 1e6, 1e-3, 1e6, 5.0], [1e6, 1e-3, 1e5, 1e-2, 5.0]
    found = measure_agreement(first, second, ["a", "b", "c", "d", "d"])
    json.dumps(found, allow_nan=False)
    assert found["ratio"]["upper"]["high"] > found["ratio"]["upper"]["value"] > 1e6


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="2 and 3 values"):
        measure_agreement([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="finite"):
        measure_agreement([1.0, math.inf], [1.0, 2.0])


def make_rows(label: str, volumes: list[tuple[float, float | None]]) -> list[Score]:
    return [
        Score(f"c{n}", f"c{n}", None, None, label, 0, f"{side}_volume_ml", "voxel", value, "ml", "ok")
        for n, pair in enumerate(volumes)
        for side, value in zip(("predicted", "reference"), pair, strict=True)
    ]


def test_volumes_of_the_table_stand_in_the_summary() -> None:
    liver = [(1000.0 + 50 * n, 1010.0 + 50 * n) for n in range(8)]
    rows = make_rows("liver", liver) + make_rows("tumour", [(1.0, None), *[(2.0 + n, 2.5 + n) for n in range(5)]])
    found = agree_volumes(rows)
    assert list(found) == ["liver", "tumour"]
    assert found["liver"] == measure_agreement(*zip(*liver, strict=True))
    assert found["liver"]["bias"]["value"] == pytest.approx(-10)
    assert found["tumour"]["cases"] == 5
    summary = summarise_scores(rows)
    assert summary["agreement"]["labels"] == found
    assert "Bland" in summary["agreement"]["treatment"]
    assert "agreement" not in summarise_scores([])
