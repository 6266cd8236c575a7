"""Intervals from drawing patients again cover as often as they say, and hold whatever the order of the cases."""

import numpy as np
import pytest
from scipy import stats

from medseg.core.patients import LEAST_PATIENTS, RESAMPLES, bound_mean, draw_patients


def test_as_many_patients_are_drawn_as_there_are() -> None:
    times = draw_patients(7)
    assert times.shape == (RESAMPLES, 7)
    assert set(times.sum(axis=1)) == {7.0}
    assert times.mean() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="read-only"):
        times[0, 0] = 1


def test_one_case_each_is_as_wide_as_student_s() -> None:
    values = np.random.default_rng(1).normal(size=12)
    low, high = bound_mean((str(n), float(value)) for n, value in enumerate(values))
    expected = stats.t.interval(0.95, 11, loc=values.mean(), scale=stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=0.1 * (expected[1] - expected[0]))


@pytest.mark.parametrize(("patients", "scans"), [(6, 1), (10, 4), (40, 2)])
def test_it_covers(patients: int, scans: int) -> None:
    rng = np.random.default_rng(patients)
    covered = 0
    for _ in range(400):
        means = rng.normal(size=patients)
        counts = rng.integers(1, scans + 1, patients)
        values = [(str(p), float(means[p] + rng.normal(0, 0.3))) for p in range(patients) for _ in range(counts[p])]
        low, high = bound_mean(values)
        assert low is not None
        assert high is not None
        covered += low <= 0 <= high
    assert covered >= 0.91 * 400


def test_order_does_not_matter_and_few_patients_have_none() -> None:
    values = [(str(n % 6), n / 10) for n in range(30)]
    assert bound_mean(values) == bound_mean(values[::-1])
    few = [(str(n % (LEAST_PATIENTS - 1)), n / 10) for n in range(30)]
    assert bound_mean(few) == bound_mean([]) == (None, None)


def test_it_stays_within_what_there_is() -> None:
    low, high = bound_mean((str(n), value) for n, value in enumerate([1.0] * 9 + [0.9]))
    assert 0.9 < (low or 0) <= (high or 2) <= 1.0
