"""Folders of scores: folds and seeds put together, provenance, and what is said where something does not fit."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from medseg.core.atomic import fault_hook
from medseg.core.errors import DatasetError, FormatError
from medseg.core.records import read_json
from medseg.core.results import Score, write_rows
from medseg.evaluation.comparison import compare_folders
from medseg.evaluation.comparison.reading import read_methods
from medseg.evaluation.folders import write_score_tables
from tests.evaluation.comparison.examples import make_score, make_scores

VALUES = np.random.default_rng(0).uniform(0.5, 0.9, 10)


def write_scores(folder: Path, scores: list[Score], **provenance: object) -> Path:
    """As ``medseg evaluate`` leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"definition": "surfel"}
    hashes = {row.case: {"prediction": "1", "reference": "2"} for row in scores}
    write_score_tables(folder, scores, {"model": "abc", "settings": settings, "inputs": hashes, **provenance})
    return folder


def test_tables_and_provenance(tmp_path: Path) -> None:
    first = write_scores(tmp_path / "old", make_scores(VALUES))
    second = write_scores(tmp_path / "new", make_scores(VALUES + 0.05), model="def")
    outcomes, content = compare_folders([first, second], tmp_path / "out", margins={"dice": 0.02})
    assert [outcome.status for outcome in outcomes] == ["done"] * 10
    assert read_json(tmp_path / "out" / "comparison.json") == content
    assert [folder["name"] for folder in content["folders"]] == ["old", "new"]
    assert [folder["model"] for folder in content["folders"]] == ["abc", "def"]
    assert content["folders"][0]["settings"] == {"definition": "surfel"}
    assert list(content["folders"][0]["scores"]) == ["scores.csv"]
    assert len(content["folders"][0]["scores"]["scores.csv"]) == 64
    assert content["notes"] == []
    with (tmp_path / "out" / "comparison.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    pair = content["comparisons"][0]
    assert list(row) == list(pair)
    assert (row["first"], row["second"], float(row["difference"])) == ("old", "new", pair["difference"])
    assert (row["verdict"], row["tests"], row["reason"]) == ("non-inferior", "1", "")


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [write_scores(tmp_path / name, make_scores(VALUES + n / 50)) for n, name in enumerate(("a", "b", "c"))]
    for output in ("x", "y"):
        compare_folders(folders, tmp_path / output)
    for name in ("comparison.csv", "comparison.json"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_a_case_of_one_method_is_named_and_left_out(tmp_path: Path) -> None:
    first = write_scores(tmp_path / "old", make_scores([*VALUES, 0.1]))
    second = write_scores(tmp_path / "new", make_scores(VALUES))
    outcomes, content = compare_folders([first, second], tmp_path / "out")
    (refused,) = [outcome for outcome in outcomes if outcome.status != "done"]
    assert (refused.case, refused.code, refused.inputs) == ("p10", "no_scores", (str(second),))
    assert "scores in old, none in new" in refused.reason
    assert content["cases"] == 10


@pytest.mark.parametrize("layout", ["fold_{}/validation", "fold_{}", "seed_{}/validation", "seed_7/fold_{}"])
def test_folds_and_seeds_are_put_together(tmp_path: Path, layout: str) -> None:
    whole = write_scores(tmp_path / "whole", make_scores(VALUES))
    for fold in range(5):
        part = [make_score(f"p{n}", value, fold=fold) for n, value in enumerate(VALUES) if n % 5 == fold]
        folder = tmp_path / "runs" / layout.format(fold)
        folder.mkdir(parents=True)
        write_rows(folder / "scores.csv", part, Score)
    (tmp_path / "runs" / "predictions").mkdir()
    _, content = compare_folders([whole, tmp_path / "runs"], tmp_path / "out")
    pair = content["comparisons"][0]
    assert (pair["patients"], pair["difference"], pair["p"]) == (10, 0.0, 1.0)
    assert len(content["folders"][1]["scores"]) == 5
    assert content["folders"][1]["model"] is None


def test_names_tell_the_folders_apart(tmp_path: Path) -> None:
    folders = [write_scores(tmp_path / name / "scores", make_scores(VALUES)) for name in ("unet", "vnet")]
    assert [method.name for method in read_methods(folders)] == ["unet/scores", "vnet/scores"]


def test_what_cannot_be_compared_is_refused_with_a_remedy(tmp_path: Path) -> None:
    sound = write_scores(tmp_path / "sound", make_scores(VALUES))
    parent = write_scores(tmp_path / "parent" / "unet", make_scores(VALUES)).parent
    empty = tmp_path / "empty"
    empty.mkdir()
    table = tmp_path / "no_rows"
    table.mkdir()
    write_rows(table / "scores.csv", [], Score)
    for folders, code, said in (
        ([sound], "one_method", "at least two"),
        ([sound, tmp_path / "sound" / ".." / "sound"], "same_folder", "twice"),
        ([sound, empty], "no_scores", "medseg evaluate"),
        ([sound, tmp_path / "absent"], "no_scores", "there is no such folder"),
        ([sound, parent], "no_scores", "one by one: unet"),
        ([sound, table], "no_scores", "no row"),
    ):
        with pytest.raises(DatasetError) as caught:
            compare_folders(folders, tmp_path / "out")
        assert (caught.value.code, said in str(caught.value)) == (code, True), str(caught.value)
    damaged = write_scores(tmp_path / "damaged", make_scores(VALUES))
    (damaged / "scores.csv").write_text("case,dice\na,0.5\n")
    with pytest.raises(FormatError, match=r"expected \['case'") as found:
        compare_folders([sound, damaged], tmp_path / "out")
    assert str(damaged) in str(found.value)
    assert not (tmp_path / "out").exists()


def test_a_twin_of_other_scores_is_not_believed(tmp_path: Path) -> None:
    first = write_scores(tmp_path / "old", make_scores(VALUES))
    second = write_scores(tmp_path / "new", make_scores(VALUES + 0.01))
    write_rows(second / "scores.csv", make_scores(VALUES + 0.02), Score)
    _, content = compare_folders([first, second], tmp_path / "out")
    assert content["folders"][1]["model"] is None
    (note,) = content["notes"]
    assert "new: scores.json does not hold the rows of scores.csv" in note
    (second / "scores.json").write_text("{")
    _, content = compare_folders([first, second], tmp_path / "out")
    assert "could not be read" in content["notes"][0]


def test_other_references_are_said(tmp_path: Path) -> None:
    scores = make_scores(VALUES)
    first = write_scores(tmp_path / "old", scores)
    other = {row.case: {"prediction": "1", "reference": "3" if row.case == "p4" else "2"} for row in scores}
    second = write_scores(tmp_path / "new", scores, inputs=other)
    _, content = compare_folders([first, second], tmp_path / "out")
    (note,) = content["notes"]
    assert "old and new were scored against different reference files of p4" in note


def test_infinite_bounds_stand_in_both_tables(tmp_path: Path) -> None:
    first = write_scores(tmp_path / "old", make_scores([2.0] * 8, "hd95", unit="mm"))
    second = write_scores(tmp_path / "new", make_scores([*[2.5] * 6, math.inf, math.inf], "hd95", unit="mm"))
    _, content = compare_folders([first, second], tmp_path / "out")
    assert content["comparisons"][0]["high"] == "inf"
    assert ",inf," in (tmp_path / "out" / "comparison.csv").read_text()


def test_nothing_is_half_written(tmp_path: Path) -> None:
    folders = [write_scores(tmp_path / name, make_scores(VALUES)) for name in ("a", "b")]

    def fail(step: str, path: Path) -> None:
        if step == "rename" and path.name == "comparison.csv":
            raise OSError(28, "No space left on device", str(path))

    with fault_hook(fail), pytest.raises(OSError, match="No space"):
        compare_folders(folders, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
