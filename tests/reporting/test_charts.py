"""Charts place points where their values are."""

import pytest

from medseg.reporting.aggregates import aggregate_scores
from medseg.reporting.charts import chart_course, chart_dice, chart_training
from medseg.reporting.cohort import follow_volumes, gather_measurements
from tests.reporting.examples import make_content, make_score, measure

NAMES = ("liver", "tumour")


def test_points_lie_on_the_axis_by_their_value() -> None:
    scores = [make_score(f"c{n}-1", "liver", value) for n, value in enumerate((0.42, 0.6, 0.8, 1.0))]
    chart = chart_dice(scores, aggregate_scores(scores), NAMES, {"c0-1": "case-1"})
    assert chart is not None
    ticks = {text: x for x, text in chart.ticks}
    assert list(ticks) == ["0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]
    by_value = {point.text: point for point in chart.rows[0].points}
    assert by_value["c1-1: liver, Dice 0.600"].x == pytest.approx(ticks["0.6"], abs=0.1)
    assert by_value["c3-1: liver, Dice 1.000"].x == pytest.approx(ticks["1.0"], abs=0.1)
    assert by_value["c0-1: liver, Dice 0.420"].link == "case-1"
    box = chart.rows[0].box
    assert box is not None
    assert box[1] == pytest.approx(ticks["0.7"], abs=0.1)  # the median


def test_no_dice_no_chart() -> None:
    scores = [make_score("c-1", "liver", None, status="both_empty"), make_score("c-1", "liver", 1.0, "hd95")]
    assert chart_dice(scores, {}, NAMES, {}) is None


def test_volumes_start_at_zero() -> None:
    rows = gather_measurements([*measure("a-1", "liver", 50.0, day=0), *measure("a-2", "liver", 100.0, day=10)], NAMES)
    (course,) = follow_volumes(rows, NAMES)
    chart = chart_course(course, NAMES, {})
    assert chart is not None
    first, last = chart.lines[0].points
    ticks = {text: y for y, text in chart.y_ticks}
    assert last.y == pytest.approx(ticks["100"])
    assert first.y == pytest.approx((ticks["0"] + ticks["100"]) / 2, abs=0.1)
    assert [text for _, text in chart.x_ticks] == ["0", "10"]


def test_the_training_curve_skips_what_is_not_known() -> None:
    loss, dice = chart_training(make_content().training, NAMES)
    assert len(loss.lines[0].points) == 5
    assert [line.name for line in dice.lines] == ["liver", "tumour"]
    assert dice.lines[1].path == ""
    broken = [{"epoch": n, "loss": value, "dice": {}} for n, value in enumerate((1.0, float("nan"), 0.5, 0.4))]
    (only,) = chart_training(broken, NAMES)
    assert only.lines[0].path.count("M") == 2  # a gap where the loss was not a number
    assert chart_training([], NAMES) == []


def test_long_training_has_no_dots_and_one_epoch_has_one() -> None:
    records = [{"epoch": n, "loss": -0.5, "dice": {"liver": 0.5}} for n in range(1000)]
    assert [line.points for chart in chart_training(records, NAMES) for line in chart.lines] == [(), ()]
    assert len(chart_training(records[:1], NAMES)[0].lines[0].points) == 1
