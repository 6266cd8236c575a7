"""Which method is first, and whether it stays so: against scipy's ranks and Kendall's tau."""

import numpy as np
import pytest
from scipy import stats

from medseg.core.patients import draw_patients
from medseg.evaluation.comparison.ranks import rank_methods


def test_a_method_that_is_always_better_is_always_first() -> None:
    values = np.random.default_rng(0).random((10, 1)) + np.array([[2.0, 1.0, 3.0]])
    found = rank_methods(values)
    assert found.places.tolist() == [2, 1, 3]
    assert found.first.tolist() == [0.0, 1.0, 0.0]
    assert found.low.tolist() == found.high.tolist() == [2, 1, 3]
    assert found.kendall_tau == pytest.approx(1.0)


def test_against_scipy() -> None:
    values = np.round(np.random.default_rng(1).random((9, 4)), 1)  # with ties
    found = rank_methods(values)
    within = stats.rankdata(values, axis=1)
    assert found.means == pytest.approx(within.mean(axis=0))
    taus, firsts = [], []
    for times in draw_patients(9):
        drawn = np.repeat(within, times.astype(int), axis=0).mean(axis=0).round(9)
        tau = stats.kendalltau(found.means, drawn).statistic
        taus.append(0.0 if np.isnan(tau) else tau)
        leading = drawn == drawn.min()
        firsts.append(leading / leading.sum())
    assert found.kendall_tau == pytest.approx(np.mean(taus))
    assert found.first == pytest.approx(np.mean(firsts, axis=0))


def test_infinite_values_rank_last_and_alike() -> None:
    values = np.array([[1.0, np.inf], [np.inf, np.inf], [2.0, 1.0], [1.0, np.inf], [1.0, 3.0], [2.0, 3.0]])
    found = rank_methods(values)
    assert found.means.tolist() == pytest.approx([7.5 / 6, 10.5 / 6])
    assert found.places.tolist() == [1, 2]


def test_the_same_method_twice() -> None:
    found = rank_methods(np.repeat(np.random.default_rng(2).random((8, 1)), 2, axis=1))
    assert found.places.tolist() == [1, 1]
    assert found.first.tolist() == [0.5, 0.5]
    assert found.kendall_tau is None
