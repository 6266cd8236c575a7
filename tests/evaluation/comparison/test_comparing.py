"""Comparisons of whole tables: what is paired with what, what is left out, and what is concluded."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from medseg.core.errors import DatasetError, PlanError
from medseg.evaluation import METRICS, compare_scores
from medseg.evaluation.comparison import estimate_shift, find_chance
from medseg.evaluation.comparison.directions import find_direction, list_directions
from medseg.evaluation.probabilities import PROBABILITY_METRICS
from medseg.evaluation.rules import RULES
from tests.evaluation.comparison.examples import make_score, make_scores

RNG = np.random.default_rng(0)
OLD = RNG.uniform(0.6, 0.9, 12)
NEW = OLD + RNG.uniform(0.0, 0.05, 12)


def compare(first, second, **options):
    """The comparison of two methods, and its one pair."""
    content = compare_scores({"old": first, "new": second}, **options)
    json.dumps(content, allow_nan=False)
    (pair,) = content["comparisons"]
    return content, pair


def test_one_value_a_patient() -> None:
    content, pair = compare(make_scores(OLD), make_scores(NEW))
    assert (content["methods"], content["cases"], content["patients"], content["notes"]) == (["old", "new"], 12, 12, [])
    assert (pair["first"], pair["second"], pair["unit_compared"]) == ("old", "new", "patient")
    assert (pair["patients"], pair["count"], pair["left_out"], pair["left_out_both"]) == (12, 12, 0, 0)
    assert (pair["mean_first"], pair["mean_second"]) == pytest.approx((OLD.mean(), NEW.mean()))
    shift = estimate_shift(NEW - OLD)
    assert (pair["difference"], pair["low"], pair["high"]) == (shift.estimate, shift.low, shift.high)
    assert pair["p"] == pair["p_holm"] == pytest.approx(stats.wilcoxon(NEW - OLD, method="exact").pvalue)
    assert (pair["family"], pair["tests"], pair["verdict"], pair["reason"]) == ("dice", 1, "", "")
    (ranks,) = content["ranks"]
    assert ranks["methods"]["new"]["place"] == 1
    assert ranks["methods"]["new"]["first_share"] > 0.99
    assert content["values"][0]["patients"]["p3"] == [OLD[3], NEW[3]]


def test_swapping_the_methods_swaps_the_sign() -> None:
    _, forth = compare(make_scores(OLD), make_scores(NEW))
    back = compare_scores({"new": make_scores(NEW), "old": make_scores(OLD)})["comparisons"][0]
    assert (back["difference"], back["low"], back["high"]) == pytest.approx(
        (-forth["difference"], -forth["high"], -forth["low"])
    )
    assert back["p"] == forth["p"]


def test_scans_of_a_patient_and_other_seeds_are_averaged() -> None:
    # Three scans of each patient, out of fold; the new method with two seeds.
    shift = {"a": 0.1, "b": 0.0, "c": -0.1}
    first = [make_score(f"p{n}-{s}", v + d, fold=n % 5) for n, v in enumerate(OLD) for s, d in shift.items()]
    second = [
        make_score(f"p{n}-{s}", v + d + seed, fold=(n + 1) % 5)
        for seed in (-0.02, 0.02)
        for n, v in enumerate(NEW)
        for s, d in shift.items()
    ]
    content, pair = compare(first, second)
    _, plain = compare(make_scores(OLD), make_scores(NEW))
    assert (content["cases"], content["patients"], pair["patients"], pair["count"]) == (36, 12, 12, 36)
    for key in ("mean_first", "mean_second", "difference", "low", "high", "p"):
        assert pair[key] == pytest.approx(plain[key])


def test_unknown_values_are_left_out_and_counted() -> None:
    first, second = make_scores([*OLD, None, None, 0.5]), make_scores([*NEW, None, 0.7, math.nan])
    _, pair = compare(first, second)
    _, plain = compare(make_scores(OLD), make_scores(NEW))
    assert (pair["patients"], pair["left_out"], pair["left_out_both"]) == (12, 2, 1)
    assert (pair["difference"], pair["p"]) == (plain["difference"], plain["p"])


def test_infinite_distances() -> None:
    first = make_scores([*(10 * OLD), math.inf, math.inf], "hd95", unit="mm", definition="surfel")
    second = make_scores([*(10 * NEW), math.inf, 3.0], "hd95", unit="mm", definition="surfel")
    content, pair = compare(first, second, margins={"hd95": 1.0})
    differences = np.array([*(10 * (NEW - OLD)), 0.0, -math.inf])
    assert pair["p"] == find_chance(differences)
    assert (pair["infinite_first"], pair["infinite_second"]) == (2, 1)
    assert pair["mean_first"] == pytest.approx(10 * OLD.mean())
    assert pair["low"] == "-inf" or pair["low"] == pytest.approx(estimate_shift(differences).low)
    assert (pair["better"], pair["verdict"]) == ("lower", "non-inferior")
    assert content["ranks"][0]["methods"]["old"]["place"] == 1
    _, most = compare(
        make_scores([1.0] * 8, "hd95"), make_scores([math.inf] * 7 + [1.0], "hd95"), margins={"hd95": 5.0}
    )
    assert (most["difference"], most["high"], most["verdict"]) == (None, "inf", "not shown")
    assert "infinite" in most["reason"]
    assert most["p"] < 0.05


def test_too_few_patients_are_null_with_a_reason() -> None:
    content, pair = compare(make_scores(OLD[:5]), make_scores(NEW[:5]), margins={"dice": 0.5})
    assert pair["mean_first"] == pytest.approx(OLD[:5].mean())
    assert pair["difference"] is pair["low"] is pair["p"] is pair["p_holm"] is None
    assert (pair["tests"], pair["verdict"], pair["reason"]) == (0, "not shown", "5 patients, at least 6 are needed")
    assert content["ranks"][0]["methods"] is None
    assert content["ranks"][0]["reason"] == pair["reason"]


def test_a_family_is_a_metric_over_labels_and_pairs() -> None:
    def method(shift: float):
        return [
            row
            for label, metric, part in (("liver", "dice", 1.0), ("tumour", "dice", 0.4), ("liver", "iou", 0.8))
            for row in make_scores(OLD + part * shift * RNG.uniform(0.2, 1, 12), metric, label=label)
        ]

    content = compare_scores({"a": method(0.0), "b": method(0.05), "c": method(-0.02)})
    dice = [pair for pair in content["comparisons"] if pair["metric"] == "dice"]
    assert {pair["tests"] for pair in dice} == {6}
    least = min(dice, key=lambda pair: pair["p"])
    assert least["p_holm"] == pytest.approx(min(1.0, 6 * least["p"]))
    assert {pair["tests"] for pair in content["comparisons"] if pair["metric"] == "iou"} == {3}
    assert [(pair["first"], pair["second"]) for pair in dice[:3]] == [("a", "b"), ("a", "c"), ("b", "c")]


@pytest.mark.parametrize(
    ("metric", "change", "margin", "verdict"),
    [
        ("dice", -0.005, 0.02, "non-inferior"),
        ("dice", -0.03, 0.02, "not shown"),
        ("dice", 0.03, 0.02, "non-inferior"),
        ("hd95", 0.5, 1.0, "non-inferior"),
        ("hd95", 1.5, 1.0, "not shown"),
        ("hd95", -1.5, 1.0, "non-inferior"),
    ],
)
def test_not_inferior_by_more_than_a_margin(metric: str, change: float, margin: float, verdict: str) -> None:
    noise = 0.1 * abs(change) * RNG.normal(size=12)
    _, pair = compare(make_scores(OLD, metric), make_scores(OLD + change + noise, metric), margins={metric: margin})
    assert (pair["margin"], pair["verdict"]) == (margin, verdict)


def test_margins_that_mean_nothing_are_refused() -> None:
    methods = {"old": make_scores(OLD, "own_score"), "new": make_scores(NEW, "own_score")}
    with pytest.raises(PlanError, match="'hd95', which is not compared") as caught:
        compare_scores(methods, margins={"hd95": 1})
    assert "own_score" in str(caught.value)
    with pytest.raises(PlanError, match="whether high or low is better"):
        compare_scores(methods, margins={"own_score": 1})
    for wrong in (0, -1, math.nan, math.inf):
        with pytest.raises(PlanError, match="above 0"):
            compare_scores(methods, margins={"own_score": wrong}, better={"own_score": "lower"})
    _, pair = compare(*methods.values(), margins={"own_score": 1}, better={"own_score": "lower"})
    assert (pair["better"], pair["verdict"]) == ("lower", "non-inferior")


def test_a_metric_whose_better_side_is_unknown_is_tested_but_not_ranked() -> None:
    content, pair = compare(make_scores(OLD, "own"), make_scores(NEW, "own"))
    assert (pair["better"], pair["p"] < 0.01) == ("unknown", True)
    assert content["ranks"][0]["methods"] is None


def test_mixed_definitions_are_refused_by_both_names() -> None:
    first = make_scores(OLD, "hd95", definition="surfel")
    with pytest.raises(DatasetError, match="'surfel' in old, 'voxel' in new") as caught:
        compare_scores({"old": first, "new": make_scores(NEW, "hd95")})
    assert caught.value.code == "mixed_definitions"
    assert "--definition" in str(caught.value)
    both = [*first, *make_scores(NEW, "hd95", definition="pooled")]
    with pytest.raises(DatasetError, match="'surfel' in old, 'pooled' in old"):
        compare_scores({"old": both, "new": first})
    with pytest.raises(DatasetError, match="'voxel mm' in new"):
        compare_scores({"old": make_scores(OLD), "new": make_scores(OLD, unit="mm")})


def test_what_only_some_have_is_named() -> None:
    first = [*make_scores(OLD), *make_scores(OLD, "iou"), *make_scores(OLD, label="tumour")]
    second = [*make_scores(NEW), *make_scores(NEW, "nsd"), *make_scores(NEW, "predicted_volume_ml")]
    content = compare_scores({"old": first, "new": second})
    assert [(pair["label"], pair["metric"]) for pair in content["comparisons"]] == [("liver", "dice")]
    assert sorted(content["notes"]) == [
        "iou of 'liver': only in old; not compared",
        "label 'tumour': only in old; not compared",
        "nsd of 'liver': only in new; not compared",
    ]


def test_only_common_cases_count() -> None:
    content, pair = compare(make_scores([*OLD, 0.0]), make_scores(NEW))
    assert content["cases"] == pair["count"] == 12
    with pytest.raises(DatasetError, match="'p0' in old, 'x' in new"):
        compare_scores({"old": make_scores(OLD), "new": [make_score("x", 0.5)]})
    with pytest.raises(DatasetError, match="at least two"):
        compare_scores({"old": make_scores(OLD)})


def test_patients_of_one_method_hold_for_all() -> None:
    first = [make_score(f"p{n // 2}-{n % 2}", value) for n, value in enumerate(OLD)]
    unaware = [make_score(row.case, value, patient=row.case) for row, value in zip(first, NEW, strict=True)]
    content, pair = compare(first, unaware)
    assert (content["patients"], pair["patients"]) == (6, 6)
    wrong = [make_score(row.case, value, patient="somebody") for row, value in zip(first, NEW, strict=True)]
    with pytest.raises(DatasetError, match="'p0' and, in new, 'somebody'") as caught:
        compare_scores({"old": first, "new": wrong})
    assert caught.value.case == "p0-0"


def make_lesions(found: np.ndarray, volumes: np.ndarray, **more):
    """Lesions of 8 patients, three each, with their volumes, and predicted ones with an own number each."""
    rows = []
    for n in range(8):
        for number in range(3):
            place = {"instance": number + 1, "label": "tumour", "definition": "any_overlap conn=26", **more}
            rows.append(make_score(f"p{n}", float(found[n, number]), "lesion_found", **place))
            rows.append(make_score(f"p{n}", 0.5 * found[n, number], "dice", **place))
            place |= {"definition": "voxel conn=26", "unit": "ml"}
            rows.append(make_score(f"p{n}", volumes[n, number], "lesion_volume_ml", **place))
    return rows


def test_lesions_are_compared_with_patients_as_units() -> None:
    rng = np.random.default_rng(3)
    volumes = np.tile([0.5, 2.0, 20.0], (8, 1))
    old = (rng.random((8, 3)) < [0.3, 0.6, 0.9]).astype(float)
    new = np.maximum(old, (rng.random((8, 3)) < 0.5).astype(float))
    content = compare_scores({"old": make_lesions(old, volumes), "new": make_lesions(new, volumes)})
    pairs = {pair["metric"]: pair for pair in content["comparisons"]}
    strata = [f"{metric}[{s}ml]" for metric in ("lesion_recall", "lesion_dice") for s in ("<1", "1-10", ">=10")]
    assert sorted(pairs) == sorted(["lesion_found", "lesion_dice", *strata])
    found = pairs["lesion_found"]
    assert (found["unit_compared"], found["patients"], found["count"]) == ("lesion", 8, 24)
    assert (found["mean_first"], found["mean_second"]) == pytest.approx((old.mean(), new.mean()))
    assert found["difference"] == pytest.approx(new.mean() - old.mean())
    assert found["low"] <= found["difference"] <= found["high"]
    small = pairs["lesion_recall[<1ml]"]
    assert (small["count"], small["mean_second"]) == (8, pytest.approx(new[:, 0].mean()))
    assert {pair["better"] for pair in pairs.values()} == {"higher"}
    assert {pair["tests"] for pair in pairs.values() if pair["family"] == "lesion_dice"} == {4}  # with its strata
    seeds = compare_scores({"old": make_lesions(old, volumes) * 2, "new": make_lesions(new, volumes)})
    assert seeds["comparisons"] == content["comparisons"]


def test_every_metric_of_the_tables_has_a_better_side() -> None:
    names = [*METRICS, *(m.name for m in PROBABILITY_METRICS), *(m.name for n in RULES for m in RULES.get(n).metrics)]
    directions = list_directions({})
    assert {find_direction(name, directions) for name in names} == {"higher", "lower", "neither"}
    for name in names:
        ends = ("hd", "hd95", "assd", "masd", "ece", "ace", "brier", "nll", "lesionwise_hd95")
        lower = name in ends or name.startswith(("false_",))
        sizes = ("volume_ml", "prediction_voxels", "reference_voxels", "true_negative_voxels")
        expected = "lower" if lower else "neither" if name.endswith(sizes) else "higher"
        assert find_direction(name, directions) == expected, name
    assert find_direction("lesion_recall[<1ml]", directions) == "higher"
    volumes = make_scores(OLD, "predicted_volume_ml", unit="ml")
    assert compare_scores({"a": volumes, "b": volumes})["comparisons"] == []
