"""Tables of scores and measurements come back as they were written, and nothing else is read."""

import csv
import json
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.core.errors import FormatError
from medseg.core.results import Measurement, Score, format_csv, read_rows, rows_as_json, write_rows

SCORE = Score("a", "p", 3, 0, "liver", 0, "dice", "voxel", 0.5, "1", "ok")

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)
numbers = st.none() | st.floats(allow_nan=False)
statuses = st.sampled_from(["ok", "both_empty", "prediction_empty", "reference_empty", "not_defined", "failed"])
days = st.none() | st.integers(-10_000, 10_000)
scores = st.builds(Score, texts, texts, days, days, texts, st.integers(0, 999), texts, texts, numbers, texts, statuses)
measurements = st.builds(
    *(Measurement, texts, texts, days, texts, st.integers(0, 999), texts, texts, texts),
    *(numbers, numbers, numbers, texts, statuses),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@given(rows=st.lists(scores, max_size=4))
def test_scores_round_trip(folder: Path, rows: list[Score]) -> None:
    write_rows(folder / "scores.csv", rows, Score)
    assert read_rows(folder / "scores.csv", Score) == rows


@given(rows=st.lists(measurements, max_size=4))
def test_measurements_round_trip(folder: Path, rows: list[Measurement]) -> None:
    write_rows(folder / "measurements.csv", rows, Measurement)
    assert read_rows(folder / "measurements.csv", Measurement) == rows


def test_the_columns_are_those_of_the_design() -> None:
    score = "case,patient,day,fold,label,instance,metric,definition,value,unit,status"
    measurement = "case,patient,day,label,instance,lesion_id,quantity,definition,value,low,high,unit,status"
    assert ",".join(field.name for field in fields(Score)) == score
    assert ",".join(field.name for field in fields(Measurement)) == measurement


def test_an_empty_table_has_its_header(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", [], Score)
    assert (tmp_path / "a.csv").read_text().startswith("case,patient,day,fold,")
    assert read_rows(tmp_path / "a.csv", Score) == []


def test_unknown_is_empty_and_infinite_is_inf() -> None:
    text = format_csv(["a", "b", "c", "d"], [[None, math.inf, 0.1, 0]])
    assert text == "a,b,c,d\n,inf,0.1,0\n"


def test_numpy_numbers_are_plain_numbers() -> None:
    assert format_csv(["a"], [[np.float64(0.25)], [np.float32(0.25)], [np.int64(3)]]) == "a\n0.25\n0.25\n3\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'x"])
def test_no_cell_is_a_formula(text: str) -> None:
    cell = next(csv.reader([format_csv(["a"], [[text]]).partition("\n")[2]]))[0]
    assert cell == "'" + text


def test_a_carriage_return_ends_no_row(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", [replace(SCORE, case="a\rb")], Score)
    assert read_rows(tmp_path / "a.csv", Score) == [replace(SCORE, case="a b")]


def test_the_json_twin_has_no_nan() -> None:
    rows = [SCORE, Score("a", "p", None, None, "liver", 0, "hd", "voxel", math.inf, "mm", "prediction_empty")]
    content = json.loads(json.dumps(rows_as_json(rows), allow_nan=False))
    assert content[0]["value"] == 0.5
    assert content[1]["value"] == "inf"
    assert content[1]["day"] is None


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("case,patient", "case,person", "expected"),
        ("0.5", "half", "line 2"),
        ("a,p,3,", "a,p,x,", "line 2"),
        (",ok", ",fine", "unknown status 'fine'"),
        (",ok", "", "too many or too few cells"),
        (",ok", ",ok,more", "too many or too few cells"),
        ("liver", "li\rver", "line 2"),
    ],
)
def test_another_table_is_refused(tmp_path: Path, before: str, after: str, reason: str) -> None:
    path = tmp_path / "scores.csv"
    write_rows(path, [SCORE], Score)
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(FormatError, match=reason) as caught:
        read_rows(path, Score)
    assert (caught.value.code, caught.value.file) == ("bad_table", str(path))


def test_scores_are_not_measurements(tmp_path: Path) -> None:
    write_rows(tmp_path / "scores.csv", [SCORE], Score)
    with pytest.raises(FormatError, match="expected"):
        read_rows(tmp_path / "scores.csv", Measurement)
