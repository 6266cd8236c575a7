"""Scores by lesion volume: in a case, in the summary over all lesions, and as requirements."""

import math

import numpy as np
import pytest

from medseg.core.errors import PlanError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.results import Score
from medseg.core.volume import Segmentation
from medseg.evaluation import evaluate_case, summarise_scores
from medseg.evaluation.requirements import check_requirements, judge_scores, parse_requirement, require_names
from medseg.evaluation.strata import STRATA, Stratum, parse_stratum, score_strata

LABELS = LabelScheme.make({"tumour": 1})
SPACING = (10.0, 10.0, 5.0)  # half a millilitre a voxel


def paint(*boxes):
    mask = np.zeros((30, 20, 8), np.uint8)
    for i, j, k in boxes:
        mask[slice(*i), slice(*j), slice(*k)] = 1
    return mask


def score(prediction, reference, case="a", patient=""):
    maps = [Segmentation(mask, Geometry.from_spacing(mask.shape, SPACING)) for mask in (prediction, reference)]
    return evaluate_case(*maps, LABELS, case=case, patient=patient)


SMALL, MIDDLE, LARGE = ((0, 1), (0, 1), (0, 1)), ((5, 7), (0, 1), (0, 1)), ((0, 4), (5, 10), (0, 4))  # 0.5, 1, 40 ml
TWIN = ((10, 11), (0, 1), (0, 1))


def test_a_case_by_stratum():
    found = score(
        paint(SMALL, ((0, 2), (5, 10), (0, 4)), ((20, 21), (0, 1), (0, 1))), paint(SMALL, TWIN, MIDDLE, LARGE)
    )
    rows = {row.metric: row for row in found if "[" in row.metric}
    assert {name: row.value for name, row in rows.items()} == {
        "lesion_recall[<1ml]": 0.5,
        "lesion_recall[1-10ml]": 0.0,  # 1 ml is no longer below 1 ml
        "lesion_recall[>=10ml]": 1.0,
        "lesion_precision[<1ml]": 0.5,
        "lesion_precision[>=10ml]": 1.0,
        "lesion_dice[<1ml]": 0.5,
        "lesion_dice[1-10ml]": 0.0,
        "lesion_dice[>=10ml]": pytest.approx(2 / 3),
    }
    assert {(row.instance, row.definition, row.status) for row in rows.values()} == {(0, "any_overlap conn=26", "ok")}


def test_lesions_of_all_cases_count_alike_in_the_summary():
    scores = [
        *score(paint(SMALL, TWIN), paint(SMALL, TWIN), "a"),
        *score(paint(LARGE), paint(SMALL, LARGE), "b"),
        *score(paint(), paint(SMALL), "c"),
        *score(paint(), paint(), "d"),
    ]
    metrics = summarise_scores(scores)["labels"]["tumour"]
    recall = metrics["lesion_recall[<1ml]"]
    assert (recall["n"], recall["mean"], recall["definition"]) == (4, 0.5, "any_overlap conn=26")
    assert recall["statuses"] == {"ok": 3, "prediction_empty": 1}
    assert recall["low"] is None  # three patients with small lesions tell no interval
    assert metrics["lesion_recall"]["mean"] == pytest.approx((1 + 0.5 + 0) / 3)  # over cases
    assert metrics["lesion_precision[>=10ml]"]["n"] == 1
    assert "lesion_recall[1-10ml]" not in metrics


def test_strata_are_read_and_written():
    for name in ("<1ml", "1-10ml", ">=10ml", "0.5-2ml"):
        assert parse_stratum(name).name == name
    assert tuple(parse_stratum(stratum.name) for stratum in STRATA) == STRATA
    assert parse_stratum("0-3ml") == Stratum(0, 3)
    for wrong in ("1ml", "<ml", "5-1ml", "2-2ml", "<0ml", "<1", "small", ""):
        with pytest.raises(PlanError, match="no range"):
            parse_stratum(wrong)
    assert score_strata([]) == []


def row(case, metric, value, label="tumour"):
    return Score(case, case, None, None, label, 0, metric, "voxel", value, "", "ok")


SCORES = [row("a", "dice", 0.9), row("b", "dice", 0.7), row("c", "dice", None), row("a", "hd95", math.inf)]


@pytest.mark.parametrize(
    ("text", "met", "line"),
    [
        ("tumour.dice>=0.8", True, "tumour.dice>=0.8: met, 0.8 over 2 cases"),
        ("tumour.dice > 0.8", False, "tumour.dice > 0.8: missed, 0.8 over 2 cases"),
        ("tumour.hd95<=5", False, "tumour.hd95<=5: missed, inf over 1 case"),
        ("tumour.iou<1", False, "tumour.iou<1: missed, no value over 0 cases"),
        ("tumour.lesion_recall[<1ml]>=0.8", False, "tumour.lesion_recall[<1ml]>=0.8: missed, no value over 0 lesions"),
    ],
)
def test_requirements_say_what_was_found(text, met, line):
    (verdict,) = judge_scores([parse_requirement(text)], SCORES)
    assert (verdict.met, verdict.line()) == (met, line)
    lines, content, missed = check_requirements([text], SCORES)
    assert (lines, missed, content["requirements"][0]["met"]) == ([line], not met, met)


def test_requirements_take_any_stratum():
    scores = score(paint(SMALL), paint(SMALL, TWIN, MIDDLE))
    for text, value, count in (
        ("tumour.lesion_recall[<0.6ml]>=0.5", 0.5, 2),
        ("tumour.lesion_recall[>=1ml]>=0.5", 0.0, 1),
        ("tumour.lesion_recall[0.5-5ml]>=0.5", 1 / 3, 3),
        ("tumour.lesion_precision[<1ml]>=0.5", 1.0, 1),
        ("tumour.lesion_recall>=0.5", 1 / 3, 1),
    ):
        (verdict,) = judge_scores([parse_requirement(text)], scores)
        assert (verdict.value, verdict.count) == (pytest.approx(value), count)


def test_labels_may_hold_dots_and_spaces():
    found = parse_requirement("left v. cava.lesion_dice[>=10ml] >= 1e-1")
    assert (found.label, found.metric, found.stratum, found.sign) == ("left v. cava", "lesion_dice", STRATA[2], ">=")
    assert found.limit == 0.1


def test_what_cannot_be_answered_is_refused():
    for wrong in ("tumour.dice", "dice>=0.5", "tumour.dice=>0.5", "tumour.dice>=high", "tumour.dice>=nan", ">=1"):
        with pytest.raises(PlanError, match="no requirement"):
            parse_requirement(wrong)
    with pytest.raises(PlanError, match="not scored by volume"):
        parse_requirement("tumour.dice[<1ml]>=0.5")
    with pytest.raises(PlanError, match="no range"):
        parse_requirement("tumour.lesion_recall[tiny]>=0.5")
    for text, reason in (("liver.dice>=1", "no label 'liver'"), ("tumour.dcie>=1", "no metric 'dcie'")):
        with pytest.raises(PlanError, match=reason):
            require_names([parse_requirement(text)], ["tumour"], ["dice"])
    require_names([parse_requirement("tumour.lesion_recall[<1ml]>=1")], ["tumour"], ["dice"])
