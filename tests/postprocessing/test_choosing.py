"""Rules are chosen where they raise Dice over the cases and lose no lesion; the tables agree with doing it for real."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.postprocessing import Rule, apply_rules, choose_rules, tabulate_case
from medseg.postprocessing.choosing import MINIMA_ML
from tests.phantoms import lesions, oblique_geometry, segmentation_of

TUMOUR = LabelScheme.make({"tumour": 1})
GEOMETRY = oblique_geometry((50, 44, 24), (1.0, 1.0, 2.0), (5, 8, 10), (0, 0, 0))


def draw(*balls):
    return segmentation_of(GEOMETRY, lesions(GEOMETRY, balls))


def mean_dice(pairs, rules=()):
    dice = []
    for prediction, reference in pairs:
        a, b = apply_rules(prediction, TUMOUR, rules).array == 1, reference.array == 1
        dice.append(2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else 1.0)
    return np.mean(dice)


def choose(pairs, labels=TUMOUR):
    return choose_rules(tabulate_case(prediction, reference, labels) for prediction, reference in pairs)


def test_false_specks_lead_to_a_minimum_size_and_the_evidence_is_what_applying_it_gives():
    speck = ((15, 0, 0), 2.2)
    pairs = [
        (draw(((0, 0, 0), 7), speck), draw(((0, 0, 0), 8))),
        (draw(((0, 0, 0), 7), ((-15, 5, 0), 6)), draw(((0, 0, 0), 6), ((-15, 5, 0), 6))),
        (draw(speck), draw()),
        (draw(), draw()),
    ]
    rules, (evidence,) = choose(pairs)
    assert rules == (Rule(label="tumour", minimum_ml=0.05),)
    assert evidence.chosen
    assert evidence.dice_before == pytest.approx(mean_dice(pairs), abs=1e-12)
    assert evidence.dice_after == pytest.approx(mean_dice(pairs, rules), abs=1e-12)
    assert (evidence.lesions, evidence.recall_before, evidence.recall_after) == (3, 1.0, 1.0)
    assert "below 0.05 ml" in evidence.reason


def test_large_false_parts_lead_to_the_largest_component():
    # The false part is larger than any minimum size that is tried: those end at 1 ml and the smallest lesion, 0.5 ml.
    small = (draw(((0, 0, 0), 5)),) * 2
    large = (draw(((0, 0, 0), 9), ((17, 0, 0), 6.8)), draw(((0, 0, 0), 9)))
    pairs = [small, large]
    rules, (evidence,) = choose(pairs)
    assert rules == (Rule(label="tumour", keep_largest=True),)
    assert evidence.dice_after == 1.0


def test_no_rule_that_loses_a_lesion():
    # Keeping the largest would raise the mean Dice of three cases, and lose the second lesion of the fourth.
    false = (draw(((0, 0, 0), 8), ((17, 0, 0), 6)), draw(((0, 0, 0), 8)))
    true = (draw(((0, 0, 0), 8), ((17, 0, 0), 6)), draw(((0, 0, 0), 8), ((17, 0, 0), 6)))
    rules, (evidence,) = choose([false, false, false, true])
    assert rules == ()
    assert not evidence.chosen
    assert evidence.dice_after == evidence.dice_before
    assert "without losing a lesion" in evidence.reason


def test_perfect_predictions_need_no_rule():
    pair = (draw(((0, 0, 0), 8), ((15, 0, 0), 3)),) * 2
    assert choose([pair])[0] == ()


def test_no_cases_no_rules():
    assert choose_rules([]) == ((), [])


def test_ignored_voxels_count_neither_as_hit_nor_as_error():
    labels = LabelScheme.make({"tumour": 1, "ignore": 2})
    reference, prediction = np.zeros((2, 8, 8, 8), np.uint8)
    reference[:4] = 1
    reference[6:] = 2
    prediction[2:] = 1
    prediction[5] = 0
    geometry = Geometry.from_spacing((8, 8, 8), (1, 1, 1))
    table = tabulate_case(Segmentation(prediction, geometry), Segmentation(reference, geometry), labels)["tumour"]
    assert table.sizes_ml.tolist() == pytest.approx([3 * 64e-3, 2 * 64e-3])
    assert table.voxels.tolist() == [3 * 64, 0]
    assert table.hits.tolist() == [2 * 64, 0]
    assert table.reference_voxels == 4 * 64
    assert table.contacts.tolist() == [[0, 0]]


def test_every_label_and_region_is_judged():
    labels = LabelScheme.make({"whole": (1, 2), "core": 2})
    outer, inner = lesions(GEOMETRY, [((0, 0, 0), 9)]), lesions(GEOMETRY, [((0, 0, 0), 5)])
    speck = lesions(GEOMETRY, [((0, 7, 0), 1.2)])
    reference = segmentation_of(GEOMETRY, outer, inner)
    prediction = segmentation_of(GEOMETRY, outer, inner | speck)
    rules, evidence = choose([(prediction, reference)], labels)
    assert [entry.label for entry in evidence] == ["whole", "core"]
    assert [entry.chosen for entry in evidence] == [False, True]
    assert np.array_equal(apply_rules(prediction, labels, rules).array, reference.array)


def test_other_grids_are_refused():
    other = Segmentation(np.zeros((3, 3, 3), np.uint8), Geometry.from_spacing((3, 3, 3), (1, 1, 1)))
    with pytest.raises(GeometryError, match="3x3x3"):
        tabulate_case(draw(), other, TUMOUR)


def test_ladder_grows():
    assert list(MINIMA_ML) == sorted(MINIMA_ML)
