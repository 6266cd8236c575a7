"""Challenges' rules: values worked out by hand, and for empty masks what each challenge says."""

import numpy as np
import pytest

from medseg.core.errors import PlanError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.evaluation import evaluate_case
from medseg.evaluation.rules import RULES, settle_regions

SPACING = (1.0, 2.0, 5.0)  # 10 mm3 a voxel
TUMOUR = LabelScheme.make({"tumour": 1})


def paint(*boxes, shape=(20, 20, 6), value=1):
    mask = np.zeros(shape, np.uint8)
    for i, j, k in boxes:
        mask[slice(*i), slice(*j), slice(*k)] = value
    return mask


def score(prediction, reference, rules, labels=TUMOUR, spacing=SPACING):
    prediction, reference = (
        Segmentation(array, Geometry.from_spacing(array.shape, spacing)) for array in (prediction, reference)
    )
    rows = evaluate_case(prediction, reference, labels, case="c", rules=rules)
    assert all(row.definition for row in rows)
    return {(row.label, row.metric): row.value for row in rows}


EMPTY = paint()
BOX = paint(((2, 6), (2, 6), (1, 3)))  # 32 voxels


def test_nnunet_by_hand():
    shifted = np.roll(BOX, 1, axis=0)
    found = {metric: value for (_, metric), value in score(shifted, BOX, "nnunet").items()}
    assert found == {
        "dice": 0.75,
        "iou": 0.6,
        "true_positive_voxels": 24,
        "false_positive_voxels": 8,
        "false_negative_voxels": 8,
        "true_negative_voxels": BOX.size - 40,
        "prediction_voxels": 32,
        "reference_voxels": 32,
    }


def test_nnunet_leaves_both_empty_out():
    found = score(EMPTY, EMPTY, "nnunet")
    assert found["tumour", "dice"] is found["tumour", "iou"] is None
    assert found["tumour", "true_negative_voxels"] == EMPTY.size
    for prediction, reference in ((EMPTY, BOX), (BOX, EMPTY)):
        found = score(prediction, reference, "nnunet")
        assert found["tumour", "dice"] == found["tumour", "iou"] == 0


def test_autopet_by_hand():
    # Two lesions of 4 voxels joined by an edge: one for 18 neighbours. The prediction touches it with one voxel.
    reference = paint(((0, 2), (0, 2), (0, 1)), ((2, 4), (2, 3), (1, 2)), ((10, 12), (10, 12), (2, 3)))
    reference[2:4, 1, 0] = 1
    assert reference.sum() == 4 + 2 + 2 + 4
    # The second predicted component shares a corner with the first, which touches: for 18 neighbours it is false.
    prediction = paint(((0, 1), (0, 1), (0, 1)), ((1, 2), (1, 2), (1, 2)), ((15, 17), (15, 17), (2, 4)))
    found = score(prediction, reference, "autopet")
    assert found["tumour", "dice"] == pytest.approx(2 * 1 / (12 + 10))
    assert found["tumour", "false_negative_volume_ml"] == pytest.approx(4 * 0.01)
    assert found["tumour", "false_positive_volume_ml"] == pytest.approx(9 * 0.01)


def test_autopet_scans_without_a_lesion_count_for_false_volume_alone():
    for prediction, false in ((BOX, 0.32), (EMPTY, 0.0)):
        found = score(prediction, EMPTY, "autopet")
        assert found["tumour", "dice"] is found["tumour", "false_negative_volume_ml"] is None
        assert found["tumour", "false_positive_volume_ml"] == pytest.approx(false)
    found = score(EMPTY, BOX, "autopet")
    assert (found["tumour", "dice"], found["tumour", "false_positive_volume_ml"]) == (0, 0)
    assert found["tumour", "false_negative_volume_ml"] == pytest.approx(0.32)


KIDNEYS = LabelScheme.make({"Kidney": 4, "tumour": 7, "cyst": 9})


def test_kits_scores_its_regions():
    reference = paint(((2, 10), (2, 6), (1, 5)), value=4)
    reference[2:6] = np.where(reference[2:6] > 0, 7, 0)
    reference[9] = np.where(reference[9] > 0, 9, 0)
    prediction = np.where(reference == 9, 7, reference).astype(np.uint8)  # a cyst taken for tumour
    found = score(prediction, reference, "kits", KIDNEYS)
    assert {label for label, _ in found} == {"kidney_and_mass", "mass", "tumor"}
    assert found["kidney_and_mass", "dice"] == found["kidney_and_mass", "nsd"] == found["mass", "dice"] == 1
    assert found["tumor", "dice"] == pytest.approx(2 * 64 / (64 + 80))
    assert 0 < found["tumor", "nsd"] < 1


def test_kits_tolerances():
    # A surface that lies 1.14 mm off is right for the tumour (1.150 mm), wrong for masses (1.133 mm).
    reference = paint(((2, 10), (0, 20), (0, 6)), value=7)
    prediction = np.roll(reference, 1, axis=0)
    found = score(prediction, reference, "kits", KIDNEYS, (1.14, 1.0, 1.0))
    assert found["tumor", "nsd"] == 1.0
    assert found["mass", "nsd"] < 1.0
    rows = evaluate_case(
        *(Segmentation(reference, Geometry.from_spacing(reference.shape, SPACING)),) * 2,
        KIDNEYS, case="c", rules="kits",
    )  # fmt: skip
    assert [row.definition for row in rows if row.label == "mass"] == ["kits23", "kits23 surfel tol=1.13288mm"]


def test_kits_empty_masks():
    both = score(EMPTY, EMPTY, "kits", KIDNEYS)
    assert set(both.values()) == {1.0}
    for prediction, reference in ((EMPTY, BOX), (BOX, EMPTY)):
        assert set(score(prediction, reference, "kits").values()) == {0.0}


def test_regions_are_made_of_named_parts_or_the_challenge_s_own_values():
    unnamed = LabelScheme.make({"label_1": 1, "label_2": 2, "label_3": 3})
    assert settle_regions(unnamed, RULES.get("kits")).labels["mass"] == (2, 3)
    assert settle_regions(unnamed, RULES.get("brats")).labels["tumor_core"] == (1, 3)
    assert settle_regions(LabelScheme.make({"label_1": 1}), RULES.get("kits")).names == ("label_1",)
    assert settle_regions(TUMOUR, RULES.get("brats")) == TUMOUR
    own = LabelScheme.make({"mass": [2, 3], "organ": 1})
    assert settle_regions(own, RULES.get("kits")).tolerance_mm == {"mass": 1.1328796488598762}
    ignoring = LabelScheme.make({"NCR": 1, "ED": 2, "ET": 4, "ignore": 9})
    settled = settle_regions(ignoring, RULES.get("brats"))
    assert (settled.labels["enhancing_tumor"], settled.ignore) == ((4,), 9)
    assert settle_regions(settled, RULES.get("brats")).labels == settled.labels


def test_metrics_and_rules_are_not_given_together():
    segmentation = Segmentation(BOX, Geometry.from_spacing(BOX.shape, SPACING))
    with pytest.raises(PlanError, match="metrics and rules"):
        evaluate_case(segmentation, segmentation, TUMOUR, case="c", metrics=["dice"], rules="kits")
    with pytest.raises(PlanError, match=r"unknown set of rules.*brats"):
        evaluate_case(segmentation, segmentation, TUMOUR, case="c", rules="brats1999")
    for name in RULES:
        assert len(RULES.get(name).source) > 40
