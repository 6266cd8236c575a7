"""Numbers as people read them, and tables in the terminal."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.evaluation import summarise_scores
from medseg.reporting import format_score_table, format_volume_table
from medseg.reporting.aggregates import aggregate_scores
from medseg.reporting.quantities import format_change, format_interval, format_number, format_value
from tests.reporting.examples import make_content, make_measurement, measure


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1500.254, "ml", "1500.25"),
        (0.0, "ml", "0.00"),
        (0.001, "ml", "<0.01"),
        (-0.001, "ml", "0.00"),
        (43.25, "mm", "43.2"),
        (0.95123, "", "0.951"),
        (3.0, "count", "3"),
        (1234567.0, "voxels", "1\u202f234\u202f567"),
        (-2.5, "%", "−2.5"),
        (math.inf, "mm", "∞"),
        (math.nan, "mm", "–"),
        (None, "mm", "–"),
    ],
)
def test_numbers_are_short(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9))
def test_numbers_read_back_within_their_rounding(value: float) -> None:
    text = format_number(value, "ml").replace("\u202f", "").replace("−", "-")
    if text.startswith("<"):
        assert 0 < value < 0.01
    else:
        assert float(text) == pytest.approx(value, abs=0.005001)


def test_changes_have_a_sign() -> None:
    assert [format_change(v, "ml") for v in (1.0, -1.0, 0.0, None)] == ["+1.00", "−1.00", "0.00", "–"]


def test_own_aggregates_agree_with_the_evaluation() -> None:
    scores = list(make_content().scores)
    theirs = json.loads(json.dumps(summarise_scores(scores)["labels"]).replace('"inf"', "Infinity"))
    ours = aggregate_scores(scores)["labels"]
    assert ours.keys() == theirs.keys()
    for label, metrics in ours.items():
        for metric, entry in metrics.items():
            for key in entry.keys() - {"low", "high"}:
                assert entry[key] == theirs[label][metric][key], (label, metric, key)
            for key in ("low", "high"):  # another draw of the same resampling
                assert entry[key] == pytest.approx(theirs[label][metric][key], abs=0.02)


def test_score_table_is_aligned() -> None:
    scores = list(make_content().scores)
    lines = format_score_table(scores).splitlines()
    assert lines[0].split() == ["label", "cases", "Dice", "HD95", "mm"]
    assert lines[2].split()[:3] == ["liver", "3", "0.950"]
    assert lines[3].split() == ["tumour", "2", "0.355", "2.25*"]
    assert lines[4].startswith("* without infinite")
    assert len({len(line) for line in lines[:4]}) == 1


def test_volume_table_is_aligned() -> None:
    lines = format_volume_table(make_content().measurements).splitlines()
    assert lines[0].split() == ["case", "day", "label", "volume", "ml", "lesions", "axial", "mm", "border"]
    assert lines[2].split() == ["p1-1", "0", "liver", "1500.25", "1", "31.2", "x", "20.0", "no"]
    assert lines[5].split() == ["p1-2", "30", "tumour", "0.00", "0", "–", "no"]
    assert len({len(line) for line in lines}) == 1


def test_names_cannot_steer_the_terminal_and_wide_ones_stay_aligned() -> None:
    text = format_volume_table([*measure("evil\x1b[2J\n", "肝臓", 1.0), *measure("b-1", "liver", 2.0)])
    assert "\x1b" not in text
    assert len(text.splitlines()) == 4
    wide, narrow = text.splitlines()[3], text.splitlines()[2]
    assert len(narrow) - len(wide) == 2  # two characters that take two columns each


def test_tables_without_rows_say_so() -> None:
    assert format_score_table([]) == "No scores."
    assert format_volume_table([]) == "No measurements."


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "text"),
    [
        (34.23, 31.02, 37.41, "ml", "34.2 (31.0 to 37.4)"),
        (1.517, 1.354, 1.712, "ml", "1.52 (1.35 to 1.71)"),
        (1500.254, 1203.1, 1811.9, "ml", "1500 (1203 to 1812)"),
        (0.02, 0.0, 0.05, "ml", "0.02 (0.00 to 0.05)"),
        (20000.0, 15000.4, 25000.4, "ml", "20\u202f000 (15\u202f000 to 25\u202f000)"),
        (3.0, 3.0, 3.0, "ml", "3.00 (3.00 to 3.00)"),
        (3.0, 4.0, 5.5, "ml", "3.0 (4.0 to 5.5)"),  # a model that always draws too little
        (3.0, None, None, "ml", "3.00"),
        (3.0, None, 4.0, "ml", "3.00"),
        (None, None, None, "ml", "–"),
    ],
)
def test_error_bars_have_no_more_digits_than_mean_something(
    value: float | None, low: float | None, high: float | None, unit: str, text: str
) -> None:
    assert format_interval(value, low, high, unit) == text


def test_volume_table_shows_error_bars() -> None:
    rows = [make_measurement("a-1", "organ", "volume_ml", 34.23, low=31.02, high=37.41)]
    rows += [make_measurement("b-1", "organ", "volume_ml", 34.23)]
    lines = format_volume_table(rows).splitlines()
    assert "34.2 (31.0 to 37.4)" in lines[2]
    assert "34.23" in lines[3]
