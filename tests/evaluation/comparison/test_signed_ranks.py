"""Wilcoxon's test, the Hodges-Lehmann shift and Holm's correction against scipy, all signs, and published examples."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from medseg.evaluation.comparison import correct_holm, estimate_shift, find_chance
from medseg.evaluation.comparison.signed_ranks import MOST_COUNTED

# Hollander, Wolfe and Chicken 2014, table 3.1: Hamilton depression scale factor IV of nine patients, two visits.
FIRST = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
SECOND = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def test_the_depression_scale() -> None:
    differences = SECOND - FIRST
    assert find_chance(differences) == pytest.approx(2 * 0.01953125)  # T+ = 5, one-sided 0.0195 (there 0.020)
    shift = estimate_shift(differences)
    assert shift.estimate == pytest.approx(-0.46)
    assert (shift.low, shift.high) == pytest.approx((-0.786, -0.010))


@pytest.mark.parametrize("count", [6, 11, 37, MOST_COUNTED, MOST_COUNTED + 1, 200])
def test_without_ties_it_is_scipy_s(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.2, 1.0, count)
    method = "exact" if count <= MOST_COUNTED else "asymptotic"
    assert find_chance(differences) == pytest.approx(stats.wilcoxon(differences, method=method).pvalue)


@pytest.mark.parametrize("seed", range(8))
def test_ties_and_zeros_are_counted_over_all_signs(seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-3, 4, 9).astype(float)
    ranks = stats.rankdata(np.abs(differences)) * (differences != 0)
    found = ranks[differences > 0].sum()
    middle = ranks.sum() / 2
    sums = np.array([np.dot(signs, ranks) for signs in product((0, 1), repeat=9)])
    expected = np.mean(np.abs(sums - middle) >= abs(found - middle) - 1e-9)
    assert find_chance(differences) == pytest.approx(expected)


def test_many_ties_and_zeros_are_scipy_s() -> None:
    differences = np.random.default_rng(0).integers(-4, 6, 150).astype(float)
    expected = stats.wilcoxon(differences, zero_method="pratt", correction=False, method="asymptotic").pvalue
    assert find_chance(differences) == pytest.approx(expected)


def test_infinite_differences_rank_last() -> None:
    finite = np.array([0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7])
    large = np.array([0.1, -0.2, 0.3, 0.4, -0.5, math.inf, math.inf])
    replaced = np.array([0.1, -0.2, 0.3, 0.4, -0.5, 9.0, 9.0])
    assert find_chance(large) == find_chance(replaced)
    assert estimate_shift(large).estimate == estimate_shift(replaced).estimate
    assert estimate_shift(large).high == math.inf
    assert math.isfinite(estimate_shift(finite).high)
    most = np.array([0.1, 0.2, *[-math.inf] * 6])
    shift = estimate_shift(most)
    assert (shift.estimate, shift.low, shift.high) == (None, -math.inf, -math.inf)
    both = estimate_shift(np.array([math.inf, -math.inf, 0.1, 0.2, 0.3, 0.4]))
    assert both.estimate is not None
    assert 0 <= both.estimate <= 0.4
    assert (both.low, both.high) == (-math.inf, math.inf)


def test_no_difference_at_all() -> None:
    nothing = np.zeros(8)
    assert find_chance(nothing) == 1.0
    shift = estimate_shift(nothing)
    assert (shift.estimate, shift.low, shift.high) == (0.0, 0.0, 0.0)


def test_the_shift_is_the_median_of_pairwise_means() -> None:
    differences = np.random.default_rng(4).normal(size=25)
    means = [(a + b) / 2 for n, a in enumerate(differences) for b in differences[n:]]
    assert estimate_shift(differences).estimate == pytest.approx(np.median(means))


@pytest.mark.parametrize(("count", "ties"), [(6, False), (12, True), (30, False), (80, True)])
def test_intervals_cover_and_false_findings_stay_few(count: int, ties: bool) -> None:
    rng = np.random.default_rng(count)
    covered = false = 0
    rounds = 500
    for _ in range(rounds):
        differences = rng.normal(size=count)
        if ties:
            differences = np.round(2 * differences) / 2
        shift = estimate_shift(differences)
        covered += shift.low <= 0 <= shift.high
        false += find_chance(differences) <= 0.05
    assert covered >= 0.93 * rounds
    assert false <= 0.07 * rounds


def test_holm() -> None:
    # As R's p.adjust gives it.
    assert correct_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_holm([0.01, None, 0.04]) == [0.02, None, 0.04]
    assert correct_holm([0.9, 0.8]) == [1.0, 1.0]
    assert correct_holm([]) == []
