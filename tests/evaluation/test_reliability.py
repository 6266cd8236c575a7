"""Intraclass correlation and concordance against published tables and simulations."""

import numpy as np
import pytest

from medseg.evaluation.reliability import measure_ccc, measure_icc

# Shrout and Fleiss 1979, table 2: six targets, four judges.
JUDGES = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=np.float64
)


@pytest.mark.parametrize(
    ("kind", "value", "low", "high"),
    # Table 4 there; intervals of R's psych::ICC, which follows McGraw and Wong.
    [("1,1", 0.17, -0.133, 0.723), ("2,1", 0.29, 0.019, 0.761), ("3,1", 0.71, 0.342, 0.946)],
)
def test_the_table_of_shrout_and_fleiss(kind: str, value: float, low: float, high: float) -> None:
    found = measure_icc(JUDGES, kind)  # type: ignore[arg-type]
    assert found is not None
    assert found["value"] == pytest.approx(value, abs=0.005)
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=0.001)


def test_a_constant_difference_is_disagreement_but_not_inconsistency() -> None:
    first = np.array([1.0, 2.0, 4.0, 7.0, 11.0])
    values = np.stack([first, first + 3], axis=1)
    consistent, absolute = measure_icc(values, "3,1"), measure_icc(values, "2,1")
    assert consistent is not None
    assert absolute is not None
    assert consistent["value"] == consistent["low"] == consistent["high"] == 1.0
    # Of the variance between targets v and that between raters 4.5: v / (v + 4.5).
    spread = first.var(ddof=1)
    assert absolute["value"] == pytest.approx(spread / (spread + 4.5))
    assert absolute["low"] < absolute["value"] < absolute["high"] <= 1
    ccc = measure_ccc(first, first + 3)
    assert ccc["value"] == pytest.approx(2 * first.var() / (2 * first.var() + 9))


@pytest.mark.parametrize("kind", ["2,1", "3,1"])
def test_intervals_cover(kind: str) -> None:
    rng = np.random.default_rng(5)
    covered, rounds = 0, 300
    for _ in range(rounds):
        # Of the variance 0.6 between targets and 0.4 within; raters differ by nothing but chance.
        values = rng.normal(0, 0.6**0.5, (20, 1)) + rng.normal(0, 0.4**0.5, (20, 2))
        found = measure_icc(values, kind)  # type: ignore[arg-type]
        assert found is not None
        covered += found["low"] <= 0.6 <= found["high"]
    assert 0.91 * rounds <= covered <= 0.99 * rounds


def test_concordance_of_peak_flow() -> None:
    # Wright's and the mini meter of Bland and Altman 1986, as worked out in the documentation of R's epiR::epi.ccc.
    wright = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427.0])
    mini = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451.0])
    found = measure_ccc(wright, mini)
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.94, 0.85, 0.98), abs=0.005)


def test_concordance_covers() -> None:
    rng = np.random.default_rng(6)
    covered, rounds = 0, 300
    for _ in range(rounds):
        truth = rng.normal(size=30)
        first, second = truth, truth + 0.3 + rng.normal(0, 0.5, 30)
        found = measure_ccc(first, second)
        covered += found["low"] <= 2 / (1 + 1.25 + 0.09) <= found["high"]
    assert 0.91 * rounds <= covered <= 0.99 * rounds


def test_what_is_not_defined() -> None:
    assert measure_icc(np.ones((6, 2)), "2,1") is None
    assert measure_icc(JUDGES[:3], "2,1") is None
    assert measure_ccc(np.ones(6), np.ones(6)) is None
    unrelated = measure_ccc(np.array([1.0, 1, 1, 1, 2]), np.ones(5))
    assert (unrelated["value"], unrelated["low"]) == (0.0, None)
    found = measure_icc(JUDGES, "2,1", bounded=False)
    assert found is not None
    assert found["low"] is found["high"] is None


def test_few_different_values_are_numbers_or_not_defined() -> None:
    rng = np.random.default_rng(7)
    for count in range(4, 8):
        for _ in range(100):
            values = rng.integers(0, 3, (count, 2)) * rng.choice([0.018, 1.0, 1e5]) * 1.0
            for kind in ("1,1", "2,1", "3,1"):
                check(measure_icc(values, kind))  # type: ignore[arg-type]
            check(measure_ccc(values[:, 0], values[:, 1]))
    always_missed = np.tile([0.0, 0.018], (8, 1))
    assert measure_icc(always_missed, "3,1") is None
    assert measure_icc(always_missed, "2,1") == {"value": 0.0, "low": 0.0, "high": 0.0}


def check(found: dict[str, float | None] | None) -> None:
    if found is not None and found["low"] is not None:
        assert found["high"] is not None
        assert found["value"] is not None
        assert found["low"] <= found["value"] + 1e-9
        assert found["value"] <= found["high"] + 1e-9 <= 1 + 2e-9
