"""Folds that somebody gives: held to the cases, and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import PlanError
from medseg.core.manifest import CaseOutcome
from medseg.core.records import read_json, write_json
from medseg.core.workspace import Workspace
from medseg.planning import plan_stands, read_folds, take_folds, write_plan
from medseg.planning.fold_files import parse_folds, were_given, write_folds
from medseg.planning.folds import split_patients
from tests.planning.fingerprints import make_fingerprint

OWN = {name: name for name in "abcdef"}
GIVEN = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a", "b"]}]


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    """A workspace with a fingerprint of six cases, a to f; e and f are scans of one patient."""
    made = make_fingerprint([(64, 64, 40)] * 6, [(1.0, 1.0, 2.0)] * 6)
    names = [{"case": name, "patient": "e" if name == "f" else name} for name in OWN]
    cases = tuple(case.model_copy(update=update) for case, update in zip(made.cases, names, strict=True))
    space = Workspace(tmp_path)
    made.model_copy(update={"cases": cases}).write(space.fingerprint)
    return space


def test_nnunets_file_is_taken_as_it_is(space: Workspace, tmp_path: Path) -> None:
    write_json(tmp_path / "splits_final.json", GIVEN)
    folds = take_folds(space, tmp_path / "splits_final.json", [])
    assert folds == [{"train": ["a", "b"], "validation": ["c"]}, {"train": ["c"], "validation": ["a", "b"]}]
    write_plan(space, preset="nnunet", folds=folds)
    assert read_json(space.folds) == read_folds(space) == folds


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"train": []}, "dict, expected a list of folds"),
        ([["a"]], "fold 0: list, expected train and validation"),
        ([{"train": ["a"]}], "fold 0: it has the keys train, expected train and validation"),
        ([{"train": ["a"], "val": ["b"], "validation": ["b"]}], "keys train, val, validation"),
        ([{"train": ["a"], "val": ["b"], "test": ["c"]}], "keys train, val, test"),
        ([{"train": "a", "val": ["b"]}], "not lists of case names"),
        ([{"train": ["a"], "val": [1]}], "not lists of case names"),
        ([*GIVEN, {"train": ["a", "x"], "val": ["y"]}], "fold 2: the data set has no case x, y"),
        ([{"train": list("ghijklm"), "val": ["a"]}], "no case g, h, i, j, k and 2 more"),
        ([{"train": ["a", "b"], "val": ["b"]}], "fold 0: b stands in it twice"),
        ([{"train": ["a", "a"], "val": ["b"]}], "a stands in it twice"),
        ([{"train": [], "val": ["b"]}], "it has no training case"),
        ([{"train": ["a"], "val": []}], "it has no validation case"),
    ],
)
def test_what_is_wrong_with_given_folds_is_said(content: Any, reason: str) -> None:
    with pytest.raises(PlanError, match=reason) as caught:
        parse_folds(content, OWN, file=Path("splits_final.json"))
    assert caught.value.code == "bad_folds"
    assert caught.value.file == "splits_final.json"


def test_an_empty_file_is_refused(space: Workspace, tmp_path: Path) -> None:
    write_json(tmp_path / "splits.json", [])
    with pytest.raises(PlanError, match="no fold in it"):
        take_folds(space, tmp_path / "splits.json", [])


def test_a_patient_is_divided_only_where_somebody_says_so(space: Workspace, tmp_path: Path) -> None:
    write_json(tmp_path / "splits.json", [{"train": ["a", "e"], "val": ["f"]}])
    with pytest.raises(PlanError, match="scans of patient e") as caught:
        take_folds(space, tmp_path / "splits.json", [])
    assert "--divide-patients" in (caught.value.remedy or "")
    folds = take_folds(space, tmp_path / "splits.json", [], divide_patients=True)
    write_plan(space, preset="nnunet", folds=folds)
    assert read_folds(space) == folds == [{"train": ["a", "e"], "validation": ["f"], "divides_patients": True}]


def test_cases_that_were_refused_are_left_out(space: Workspace, tmp_path: Path) -> None:
    write_json(tmp_path / "splits.json", [{"train": ["a", "broken"], "val": ["b"]}])
    with pytest.raises(PlanError, match="no case broken"):
        take_folds(space, tmp_path / "splits.json", [])
    folds = take_folds(space, tmp_path / "splits.json", [CaseOutcome("broken", "refused", "damaged")])
    assert folds == [{"train": ["a"], "validation": ["b"]}]


def test_folds_that_somebody_put_there_stay_and_the_planners_own_are_made_anew(space: Workspace) -> None:
    own = {name: "e" if name == "f" else name for name in OWN}
    write_plan(space, preset="nnunet")
    assert read_folds(space) == split_patients(own)
    assert not were_given(space)
    # As the planner made them when there were other cases, one of which is gone.
    write_folds(space, split_patients({**{name: own[name] for name in "abcd"}, "gone": "e"}), given=False)
    assert not plan_stands(space, "nnunet")
    write_plan(space, preset="nnunet")
    assert read_folds(space) == split_patients(own)
    write_json(space.folds, GIVEN)
    assert were_given(space)
    assert plan_stands(space, "nnunet")
    write_plan(space, preset="nnunet")
    assert [fold["validation"] for fold in read_folds(space)] == [["c"], ["a", "b"]]
    write_json(space.folds, [{"train": ["a"], "validation": ["gone"]}])
    with pytest.raises(PlanError, match="no case gone"):
        write_plan(space, preset="nnunet")


def test_without_folds_the_remedy_is_to_plan(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no folds yet"):
        read_folds(Workspace(tmp_path))
