"""Summaries of scores: what is counted, what is left out, and that they fit into JSON."""

import json
import math

import numpy as np
import pytest

from medseg.core.results import Score
from medseg.evaluation import summarise_scores


def row(case, metric, value, *, label="liver", patient="", status="ok", instance=0):
    return Score(case, patient or case, None, None, label, instance, metric, "voxel", value, "", status)


def test_statistics_of_plain_values():
    values = [0.1, 0.5, 0.6, 0.9, 0.4]
    summary = summarise_scores([row(f"c{n}", "dice", value) for n, value in enumerate(values)])
    dice = summary["labels"]["liver"]["dice"]
    assert (summary["cases"], summary["patients"], dice["n"]) == (5, 5, 5)
    assert dice["mean"] == dice["finite_mean"] == summary["mean_foreground_dice"] == pytest.approx(np.mean(values))
    for name, part in (("q25", 25), ("median", 50), ("q75", 75)):
        assert dice[name] == pytest.approx(np.percentile(values, part))
    assert 0.1 < dice["low"] < dice["mean"] < dice["high"] < 0.9


def test_unknown_values_are_left_out_and_infinite_ones_said():
    rows = [row("a", "hd95", 2.0), row("b", "hd95", 4.0), row("c", "hd95", math.inf, status="prediction_empty")]
    summary = summarise_scores([*rows, row("d", "hd95", None, status="both_empty")])
    json.dumps(summary, allow_nan=False)
    hd95 = summary["labels"]["liver"]["hd95"]
    assert hd95["statuses"] == {"both_empty": 1, "ok": 2, "prediction_empty": 1}
    assert (hd95["n"], hd95["mean"], hd95["median"], hd95["q75"]) == (3, "inf", 4.0, "inf")
    assert (hd95["finite_n"], hd95["finite_mean"]) == (2, 3.0)
    assert "left out" in summary["treatment"]
    assert summary["mean_foreground_dice"] is None


def test_all_infinite_and_all_unknown():
    rows = [row(case, "hd", math.inf) for case in "abc"] + [row("a", "dice", None, status="both_empty")]
    metrics = summarise_scores(rows)["labels"]["liver"]
    assert metrics["hd"]["median"] == metrics["hd"]["q25"] == "inf"
    assert metrics["hd"]["finite_mean"] is metrics["hd"]["low"] is None
    assert metrics["dice"]["mean"] is metrics["dice"]["median"] is None


def test_patients_are_the_units_of_the_interval():
    rng = np.random.default_rng(0)
    means = rng.uniform(0.3, 0.9, 12)
    rows = [row(f"{p}-{n}", "dice", float(mean), patient=str(p)) for p, mean in enumerate(means) for n in range(20)]
    clustered = summarise_scores(rows)["labels"]["liver"]["dice"]
    single = summarise_scores(rows[::20])["labels"]["liver"]["dice"]
    assert clustered["mean"] == pytest.approx(single["mean"])
    assert (clustered["low"], clustered["high"]) == pytest.approx((single["low"], single["high"]))
    half_width = 2.201 * means.std(ddof=1) / np.sqrt(12)  # Student's, 11 degrees of freedom
    assert (single["high"] - single["low"]) / 2 == pytest.approx(half_width, rel=0.1)
    assert summarise_scores(rows[::-1]) == summarise_scores(rows) | {"labels": {"liver": {"dice": clustered}}}
    assert summarise_scores(rows[: 4 * 20])["labels"]["liver"]["dice"]["low"] is None


def test_labels_count_alike_in_the_foreground_and_lesions_not():
    rows = [row("a", "dice", 0.9), row("b", "dice", 0.7), row("a", "dice", 0.4, label="tumour")]
    summary = summarise_scores([*rows, row("a", "dice", 0.0, label="tumour", instance=1)])
    assert summary["mean_foreground_dice"] == pytest.approx((0.8 + 0.4) / 2)
    assert summarise_scores([])["labels"] == {}
