"""What became of each case: its line, run.json, the exit code."""

import hashlib
import json
from pathlib import Path

import pytest

import medseg
from medseg.core.dataset import MaskSource
from medseg.core.errors import FormatError
from medseg.core.manifest import (
    CaseOutcome,
    CaseStatus,
    exit_code,
    hash_file,
    hash_mask,
    outcome_of_error,
    read_run,
    unite_outcomes,
    write_run,
    write_table_run,
)


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([], 0),
        (["done"], 0),
        (["done", "skipped"], 0),
        (["skipped", "skipped"], 0),
        (["done", "refused"], 3),
        (["done", "failed", "failed"], 3),
        (["skipped", "refused"], 3),
        (["refused"], 2),
        (["refused", "failed"], 2),
    ],
)
def test_exit_code(statuses: list[CaseStatus], code: int) -> None:
    assert exit_code(CaseOutcome(str(index), status) for index, status in enumerate(statuses)) == code


def test_our_error_refuses_the_case() -> None:
    error = FormatError(
        "not a\nNIfTI file", code="not_nifti", case="p01", file="a/p01.nii.gz", remedy="Export it again"
    )
    outcome = outcome_of_error(error, "other")
    assert outcome == CaseOutcome(
        "p01", "refused", "not_nifti", ("a/p01.nii.gz",), "not a NIfTI file", "Export it again", {}
    )
    assert outcome.line() == "p01, a/p01.nii.gz, not_nifti, not a NIfTI file, Export it again"


def test_a_case_is_named_where_the_error_does_not() -> None:
    assert outcome_of_error(FormatError("empty file"), "p02").case == "p02"


def test_any_other_error_fails_the_case() -> None:
    outcome = outcome_of_error(ZeroDivisionError("division\nby zero"), "p03")
    assert (outcome.status, outcome.code) == ("failed", "unexpected")
    assert outcome.line() == "p03, unexpected, ZeroDivisionError: division by zero"


def test_a_file_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "scan").read_bytes()
    outcome = outcome_of_error(caught.value, "p04")
    assert (outcome.status, outcome.code, outcome.inputs) == ("failed", "missing_file", (str(tmp_path / "scan"),))
    assert outcome.reason == "No such file or directory"
    full = outcome_of_error(OSError(28, "No space left on device", "x"), "p05")
    assert (full.code, full.reason) == ("file", "No space left on device")


def test_a_case_of_several_steps_is_told_once_with_what_they_doubt() -> None:
    doubt = CaseOutcome("a", "done", "mirrored_mask", ("a.nii",), "it looks mirrored", "Look at it", {"one": "1"})
    bad = CaseOutcome("b", "refused", "truncated", ("b.nii",), "cut short", "Copy it")
    steps = [doubt, CaseOutcome("b", "done"), CaseOutcome("a", "done", outputs={"two": "2"}), bad, bad]
    whole = CaseOutcome(
        "a", "done", "mirrored_mask", ("a.nii",), "it looks mirrored", "Look at it", {"one": "1", "two": "2"}
    )
    assert unite_outcomes(steps) == [whole, bad]


def test_tables_do_not_replace_what_predict_noted(tmp_path: Path) -> None:
    write_table_run(tmp_path, "measure", [], started="1")
    assert read_run(tmp_path)["command"] == "measure"
    write_table_run(tmp_path, "evaluate", [], started="2")
    assert read_run(tmp_path)["command"] == "evaluate"
    write_run(tmp_path, "predict", [], started="3")
    write_table_run(tmp_path, "measure", [], started="4")
    assert (read_run(tmp_path)["command"], read_run(tmp_path)["started"]) == ("predict", "3")


@pytest.mark.parametrize("content", [None, "", "[]", "{", "3"])
def test_a_missing_or_damaged_run_json_reads_as_nothing(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    assert read_run(tmp_path) == {}


def test_hash_of_a_mask(tmp_path: Path) -> None:
    for name in ("liver", "tumour"):
        (tmp_path / name).write_text(name)
    assert hash_mask(MaskSource(tmp_path / "liver")) == hash_file(tmp_path / "liver")
    parts = tuple((name, tmp_path / name) for name in ("liver", "tumour"))
    assert hash_mask(MaskSource(tmp_path, parts)) == {name: hash_file(path) for name, path in parts}


def test_run_json(tmp_path: Path) -> None:
    outcomes = [CaseOutcome("a", "done", outputs={"a.nii.gz": "00"}), CaseOutcome("b", "refused", "missing_mask")]
    write_run(tmp_path, "predict", outcomes, started="2026-01-01T00:00:00Z", model="m", labels={"liver": 1})
    content = json.loads((tmp_path / "run.json").read_text("utf-8"))
    assert list(content) == ["version", "command", "started", "cases", "model", "labels"]
    assert content["version"] == medseg.__version__
    assert content["cases"][0]["outputs"] == {"a.nii.gz": "00"}
    assert content["cases"][1] == {
        "case": "b",
        "status": "refused",
        "code": "missing_mask",
        "inputs": [],
        "reason": "",
        "remedy": "",
        "outputs": {},
    }


def test_hash_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert hash_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()
