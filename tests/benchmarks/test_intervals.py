"""The benchmark of error bars counts each case once, against what the other folds know."""

import numpy as np
import pytest
from bench_intervals import Coverage, hold_out_each

from medseg.measurement.conformal import VolumePair


def make_folds(spread: float, *, shift: float = 0.0) -> dict[int, list[VolumePair]]:
    """Five folds of forty patients; the volumes of the last fold are off by ``shift`` too."""
    generator = np.random.default_rng(0)
    return {
        fold: [
            VolumePair(f"p{fold}-{n}", 5.0, float(5 * np.exp(error + shift * (fold == 4))))
            for n, error in enumerate(generator.normal(0, spread, 40))
        ]
        for fold in range(5)
    }


def test_exchangeable_folds_are_covered() -> None:
    found = hold_out_each("organ", (1,), make_folds(0.2))
    assert (found.asked, found.without) == (200, 0)
    assert 0.90 <= found.held / found.asked <= 0.99


def test_a_fold_unlike_the_others_is_not() -> None:
    found = hold_out_each("organ", (1,), make_folds(0.05, shift=1.0))
    assert found.held < 0.85 * found.asked


def test_empty_predictions_have_no_interval() -> None:
    folds = make_folds(0.1)
    folds[0][0] = VolumePair("x", 0.0, 4.0)
    assert hold_out_each("organ", (1,), folds).without == 1
    few = {fold: pairs[:4] for fold, pairs in folds.items()}
    assert hold_out_each("organ", (1,), few) == Coverage(0, 0, 20, ())


@pytest.mark.parametrize(("held", "words"), [(19, "19 of 20 95.0% (75.1% to 99.9%)"), (0, "0 of 20 0.0% (0.0% to")])
def test_the_count_is_told_with_its_uncertainty(held: int, words: str) -> None:
    assert Coverage(held, 20, 1, (1.2,) * 20).line().startswith(words)
