"""Lesions of several methods: intervals that count patients, and exact exchanges."""

from itertools import product

import numpy as np
import pytest

from medseg.evaluation.comparison.lesions import LesionSums, compare_lesions


def add_up(values: np.ndarray, whose: np.ndarray, patients: int) -> LesionSums:
    sums, counts = np.bincount(whose, values, patients), np.bincount(whose, minlength=patients).astype(float)
    return LesionSums(sums, counts)


def test_exchanges_are_all_gone_through() -> None:
    rng = np.random.default_rng(0)
    first = LesionSums(rng.integers(0, 4, 7).astype(float), rng.integers(4, 9, 7).astype(float))
    second = LesionSums(rng.integers(1, 5, 7).astype(float), rng.integers(4, 9, 7).astype(float))
    found = compare_lesions(first, second)
    assert found is not None
    sums, counts = np.stack([first.sums, second.sums]), np.stack([first.counts, second.counts])
    difference = sums[1].sum() / counts[1].sum() - sums[0].sum() / counts[0].sum()
    assert found.difference == pytest.approx(difference)
    at_least = 0
    for exchanged in product((0, 1), repeat=7):
        side = np.array(exchanged), 1 - np.array(exchanged)
        means = [sums[s, range(7)].sum() / counts[s, range(7)].sum() for s in side]
        at_least += abs(means[1] - means[0]) >= abs(difference) - 1e-12
    assert found.chance == pytest.approx(at_least / 2**7)


def test_many_lesions_of_few_patients_are_not_many_patients() -> None:
    rng = np.random.default_rng(1)
    # Every lesion of a patient is found by one method or the other: a hundred lesions say as much as one.
    better = rng.random(10) < 0.5
    few = compare_lesions(LesionSums(1.0 - better, np.ones(10)), LesionSums(1.0 * better, np.ones(10)))
    many = compare_lesions(
        LesionSums(100.0 * (1 - better), np.full(10, 100.0)), LesionSums(100.0 * better, np.full(10, 100.0))
    )
    assert few is not None
    assert many is not None
    assert (many.low, many.high, many.chance) == (few.low, few.high, few.chance)


@pytest.mark.parametrize("patients", [12, 30])
def test_it_covers_and_finds_nothing_where_there_is_nothing(patients: int) -> None:
    rng = np.random.default_rng(patients)
    covered = false = 0
    rounds = 300
    for _ in range(rounds):
        whose = np.repeat(np.arange(patients), rng.integers(1, 9, patients))
        hard = rng.beta(3, 2, patients)[whose]  # whether a lesion is found depends on the patient
        first, second = (add_up(1.0 * (rng.random(whose.size) < hard), whose, patients) for _ in range(2))
        found = compare_lesions(first, second)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
        false += found.chance <= 0.05
    assert covered >= 0.91 * rounds
    assert false <= 0.08 * rounds


def test_a_method_that_finds_nothing() -> None:
    ones, none = np.ones(8), np.zeros(8)
    assert compare_lesions(LesionSums(none, none), LesionSums(ones, ones)) is None
    rare = np.array([1.0, *[0.0] * 7])  # most resamplings miss the one patient with a predicted lesion
    found = compare_lesions(LesionSums(rare, rare), LesionSums(none, ones))
    assert found is not None
    assert found.difference == -1.0
    assert found.low is found.high is None
    assert 0 < found.chance <= 1


def test_thousands_of_patients() -> None:
    rng = np.random.default_rng(2)
    counts = np.full(2000, 3.0)
    first = LesionSums(rng.binomial(3, 0.5, 2000).astype(float), counts)
    second = LesionSums(rng.binomial(3, 0.56, 2000).astype(float), counts)
    found = compare_lesions(first, second)
    assert found is not None
    assert found.low is not None
    assert 0 < found.low < found.difference < (found.high or 0)
    assert found.chance == pytest.approx(1 / 10000)
