"""Error bars of volumes hold what they promise, for errors of any shape, and are silent where too little is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medseg.core.model import LabelErrors
from medseg.measurement.conformal import VolumePair, bound_scores, learn_errors


def make_pairs(errors, predicted_ml=30.0, patients=None):
    """A case per error, the log of true over predicted volume."""
    names = [f"p{n}" for n in range(len(errors))] if patients is None else patients
    sizes = np.broadcast_to(predicted_ml, len(errors))
    return [
        VolumePair(name, float(size), float(size * np.exp(error)))
        for name, size, error in zip(names, sizes, errors, strict=True)
    ]


def learn(pairs) -> LabelErrors:
    return learn_errors("tumour", (1,), pairs)


@pytest.mark.parametrize(("count", "level", "rank"), [(19, 0.95, 19), (39, 0.95, 38), (39, 0.975, 39), (100, 0.9, 91)])
def test_bound_is_the_order_statistic_of_split_conformal_prediction(count, level, rank):
    scores = np.random.default_rng(count).permutation(count).astype(float)
    assert bound_scores(scores, [str(n) for n in range(count)], level) == rank - 1
    assert rank == math.ceil(round((count + 1) * level, 9))


@pytest.mark.parametrize(("count", "level"), [(18, 0.95), (38, 0.975), (0, 0.5)])
def test_too_few_patients_have_no_bound(count, level):
    assert bound_scores(np.arange(count, dtype=float), [str(n) for n in range(count)], level) is None


def test_a_patient_s_further_cases_add_nothing():
    scores = np.random.default_rng(0).normal(size=40)
    patients = [f"p{n}" for n in range(40)]
    alone = bound_scores(scores, patients, 0.9)
    assert bound_scores(np.repeat(scores, 3), [name for name in patients for _ in range(3)], 0.9) == alone
    often = np.r_[scores, np.full(500, scores[0])]  # one patient with five hundred scans more, all alike
    assert bound_scores(often, [*patients, *["p0"] * 500], 0.9) == alone


@pytest.mark.parametrize(("count", "tails", "missed"), [(30, "together", 1 / 31), (100, "both", 2 * 2 / 101)])
@pytest.mark.parametrize("shape", ["normal", "skewed", "heavy"])
def test_coverage_is_the_nominal_one_for_errors_of_any_shape(count, tails, missed, shape):
    # Of exchangeable errors a new one is equally likely to take any rank among the known ones.
    generator = np.random.default_rng(7)

    def draw(size):
        drawn = {
            "normal": lambda: generator.normal(0.1, 0.2, size),
            "skewed": lambda: generator.gamma(1.5, 0.2, size),
            "heavy": lambda: 0.1 * generator.standard_t(2, size),
        }
        return drawn[shape]()

    held = []
    for _ in range(600):
        (stratum,) = learn(make_pairs(draw(count))).strata
        assert stratum.tails == tails
        true = np.exp(draw(50))
        held.append(np.mean((stratum.low <= true) & (true <= stratum.high)))
    assert np.mean(held) == pytest.approx(1 - missed, abs=4 * np.std(held) / math.sqrt(len(held)) + 1e-3)
    assert 1 - missed >= 0.95


def test_coverage_counts_patients_not_scans():
    # Those who come often err little: counted by scan, the bound would be far too tight for a new patient.
    generator = np.random.default_rng(3)

    def draw_patient():
        often = generator.random() < 0.4
        return generator.normal(0, 0.02 if often else 0.4, 25 if often else 1)

    held, by_scan = [], []
    for _ in range(400):
        known = [draw_patient() for _ in range(60)]
        errors = np.concatenate(known)
        patients = [f"p{n}" for n, own in enumerate(known) for _ in own]
        (stratum,) = learn(make_pairs(errors, patients=patients)).strata
        (tight,) = learn(make_pairs(errors)).strata
        true = [np.exp(draw_patient()[0]) for _ in range(20)]
        held += [stratum.low <= value <= stratum.high for value in true]
        by_scan += [tight.low <= value <= tight.high for value in true]
    assert np.mean(held) > 0.945
    assert np.mean(by_scan) < 0.85


def test_a_bias_moves_the_bounds_and_few_patients_widen_them():
    errors = np.random.default_rng(1).normal(0.5, 0.01, 100)  # the model draws too little, by 40 %
    (many,) = learn(make_pairs(errors)).strata
    assert 1.5 < many.low < many.high < 1.8
    (few,) = learn(make_pairs(errors[:30])).strata
    assert few.high == pytest.approx(1 / few.low)
    assert few.high == pytest.approx(math.exp(errors[:30].max()))


def test_small_volumes_have_errors_of_their_own_where_patients_suffice():
    generator = np.random.default_rng(2)
    sizes = np.r_[generator.uniform(0.2, 0.9, 50), generator.uniform(1, 9, 30), generator.uniform(20, 90, 60)]
    spread = np.r_[np.full(50, 0.6), np.full(30, 0.2), np.full(60, 0.05)]
    learnt = learn(make_pairs(generator.normal(0, spread), sizes))
    assert [(s.from_ml, s.to_ml, s.patients) for s in learnt.strata] == [(None, 1.0, 50), (1.0, None, 90)]
    widths = [stratum.high / stratum.low for stratum in learnt.strata]
    assert widths[0] > 2 * widths[1]
    assert (learnt.smallest_ml, learnt.largest_ml) == (sizes.min(), sizes.max())
    few_small = learn(make_pairs(generator.normal(0, 0.1, 60), np.r_[np.full(10, 0.5), np.full(50, 5.0)]))
    assert [(s.from_ml, s.to_ml, s.patients) for s in few_small.strata] == [(None, None, 60)]


def test_coverage_holds_in_every_stratum():
    # Without strata the small ones would be held far too seldom.
    generator = np.random.default_rng(5)

    def draw(count):
        sizes = 10 ** generator.uniform(-1, 1, count)
        return sizes, generator.normal(0, np.where(sizes < 1, 0.5, 0.05))

    held = {True: [], False: []}
    for _ in range(150):
        sizes, errors = draw(160)
        learnt = learn(make_pairs(errors, sizes))
        assert len(learnt.strata) == 2
        for size, error in zip(*draw(60), strict=True):
            stratum = next(own for own in learnt.strata if own.holds(size))
            held[bool(size < 1)].append(stratum.low <= math.exp(error) <= stratum.high)
    for own in held.values():
        assert 0.94 < np.mean(own) < 0.98


@pytest.mark.parametrize("scans", [1, 4])
def test_fewer_than_twenty_patients_say_nothing(scans):
    patients = [f"p{n}" for n in range(19) for _ in range(scans)]
    learnt = learn(make_pairs(np.zeros(len(patients)), patients=patients))
    assert learnt.strata == ()
    assert learnt.reason == "19 patients with tumour in a mask predicted out of fold, at least 20 are needed"
    assert learn_errors("tumour", (1,), [], why_none="no fold").reason == "no fold"


def test_empty_masks_and_wholly_false_ones():
    errors = np.random.default_rng(4).normal(0, 0.1, 100)
    pairs = make_pairs(errors)
    empty = [VolumePair("x", 0.0, 3.0), VolumePair("y", 0.0, 0.0)]
    learnt = learn(pairs + empty)
    assert learnt.missed == 1
    assert learnt.strata == learn(pairs).strata
    # One prediction of nothing true in a hundred lies beyond the bound; one in thirteen pulls it down to 0.
    assert learn([*pairs[1:], VolumePair("z", 3.0, 0.0)]).strata[0].low > 0
    false = [VolumePair(f"z{n}", 3.0, 0.0) for n in range(8)]
    (stratum,) = learn(pairs + false).strata
    assert (stratum.low, stratum.tails) == (0.0, "both")
    (stratum,) = learn(pairs[:22] + false[:4]).strata
    assert (stratum.low, stratum.tails) == (0.0, "upper")
    assert stratum.high == pytest.approx(math.exp(sorted(errors[:22])[-1]))
