"""Folders with probabilities, rules and requirements, from files to tables and exit codes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.errors import PlanError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.evaluation.folders import evaluate_folders
from medseg.evaluation.probabilities import PROBABILITY_METRICS, evaluate_probabilities
from medseg.io import write_segmentation, write_volume

GRID = Geometry.from_spacing((12, 12, 6), (2.0, 2.0, 2.0))
LABELS = LabelScheme.make({"tumour": 1})


def paint(*boxes: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(GRID.shape, np.uint8)
    for i, j in boxes:
        mask[i : i + 2, j : j + 2, 1:3] = 1
    return mask


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two cases with two lesions; of the second case's one is missed, with a probability of 0.3."""
    for case, level in (("a", 0.9), ("b", 0.3)):
        probability = 0.8 * paint((0, 0)) + level * paint((6, 6)).astype(np.float32)
        write_segmentation(tmp_path / "r" / f"{case}.nii.gz", Segmentation(paint((0, 0), (6, 6)), GRID))
        mask = Segmentation((probability >= 0.5).astype(np.uint8), GRID)
        write_segmentation(tmp_path / "p" / f"{case}.nii.gz", mask)
        path = tmp_path / "p" / "probabilities" / case / "tumour.nii.gz"
        write_volume(path, Volume(probability.astype(np.float32)[None], GRID, ("tumour",)))
    return tmp_path / "p", tmp_path / "r"


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_probabilities_from_files_to_tables(folders: tuple[Path, Path], tmp_path: Path) -> None:
    outcomes, scores = evaluate_folders(*folders, tmp_path / "o", labels=LABELS, probabilities=folders[0])
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    found = {(row.case, row.metric): row.value for row in scores if row.instance == 0}
    assert found["a", "ap50"] == found["a", "ap75"] == 1.0
    assert found["b", "ap50"] == 0.5
    voxels = np.prod(GRID.shape)
    assert found["a", "brier"] == pytest.approx(8 * (0.2**2 + 0.1**2) / voxels, rel=1e-5)
    assert found["b", "ece"] == pytest.approx(8 * (0.2 + 0.7) / voxels, rel=1e-5)
    pooled = json.loads((tmp_path / "o" / "summary.json").read_text())["probabilities"]["tumour"]
    assert (pooled["scans"], pooled["lesions"], pooled["voxels"]) == (2, 4, 2 * voxels)
    assert pooled["ap50"] == pytest.approx(0.75)
    assert pooled["froc"]["mean_sensitivity"] == 1.0  # the missed one is a candidate
    bins = read_table(tmp_path / "o" / "reliability.csv")
    assert [(row["label"], row["voxels"]) for row in bins if row["observed"] == "1.0"] == [
        ("tumour", "8"), ("tumour", "16"), ("tumour", "8"),
    ]  # fmt: skip
    assert [row["mean_probability"] for row in bins if row["voxels"] == "0"] == [""] * 11
    curve = [(float(row["threshold"]), float(row["sensitivity"])) for row in read_table(tmp_path / "o" / "froc.csv")]
    assert curve == [(pytest.approx(0.9), 0.25), (pytest.approx(0.8), 0.75), (pytest.approx(0.3), 1.0)]


def test_a_case_without_probabilities_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (folders[0] / "probabilities" / "b" / "tumour.nii.gz").unlink()
    outcomes, scores = evaluate_folders(*folders, tmp_path / "o", labels=LABELS, probabilities=folders[0])
    assert [(outcome.case, outcome.status, outcome.code) for outcome in outcomes] == [
        ("a", "done", ""), ("b", "refused", "no_probabilities"),
    ]  # fmt: skip
    assert {row.case for row in scores} == {"a"}


def test_ignored_voxels_and_empty_references() -> None:
    labels = LabelScheme.make({"tumour": 1, "ignore": 9})
    empty, mask = Segmentation(paint(), GRID), Segmentation(paint((6, 6)), GRID)
    ignoring = Segmentation(9 * paint((6, 6)), GRID)
    probability = {"tumour": 0.9 * paint((6, 6)).astype(np.float32)}
    rows, evidence = evaluate_probabilities(probability, mask, ignoring, labels, case="a")
    assert {row.metric: row.value for row in rows} == {
        "ece": 0, "ace": 0, "brier": 0, "nll": 0, "ap50": None, "ap75": None,
    }  # fmt: skip
    assert evidence["tumour"].reliability.count == np.prod(GRID.shape) - 8
    statuses = {row.metric: row.status for row in rows}
    assert (statuses["ece"], statuses["ap50"]) == ("ok", "both_empty")
    rows, _ = evaluate_probabilities(probability, mask, empty, labels, case="a")
    found = {row.metric: row for row in rows}
    assert found["brier"].value == pytest.approx(8 * 0.81 / np.prod(GRID.shape))
    assert (found["ap50"].value, found["ap50"].status) == (None, "reference_empty")
    assert [row.metric for row in rows] == [metric.name for metric in PROBABILITY_METRICS]


def run(*words: object) -> tuple[int, str]:
    ended = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    return ended.exit_code, ended.output


def test_a_missed_requirement_ends_with_4(folders: tuple[Path, Path], tmp_path: Path) -> None:
    common = (*folders, "--output", tmp_path / "o", "--labels", "tumour=1")
    reached = ("--require", "tumour.lesion_recall[<1ml]>=0.7", "--require", "tumour.dice>0.6")
    code, output = run(*common, *reached)
    assert code == 0
    assert "tumour.lesion_recall[<1ml]>=0.7: met, 0.75 over 4 lesions" in output
    code, output = run(*common, *reached, "--require", "tumour.lesion_recall[<1ml]>=0.8")
    assert code == 4
    assert "tumour.lesion_recall[<1ml]>=0.8: missed, 0.75 over 4 lesions" in output
    code, output = run(*common, "--require", "tumour.lesion_recall>0.9", "--json")
    content = json.loads(output)["requirements"]
    assert (code, content[0]["met"], content[0]["value"]) == (4, False, pytest.approx(0.75))
    # A missed requirement outweighs a refused case.
    (folders[0] / "c.nii.gz").write_bytes(b"")
    assert run(*common)[0] == 3
    assert run(*common, "--require", "tumour.dice>=1")[0] == 4


def test_wrong_words_are_refused_before_anything_is_scored(folders: tuple[Path, Path], tmp_path: Path) -> None:
    common = (*folders, "--output", tmp_path / "o", "--labels", "tumour=1")
    for words in (
        ("--require", "tumour.dice"), ("--require", "liver.dice>=1"), ("--require", "tumour.ece<=1"),
        ("--rules", "brats1999"), ("--matching", "nearest"), ("--probabilities", tmp_path / "nowhere"),
    ):  # fmt: skip
        assert run(*common, *words)[0] == 2
    assert not (tmp_path / "o").exists()
    with pytest.raises(PlanError, match="no metric 'hd95'"):
        evaluate_folders(*folders, tmp_path / "o", labels=LABELS, rules="kits", require=["tumour.hd95<=5"])


def test_rules_and_matching_stand_beside_the_scores(folders: tuple[Path, Path], tmp_path: Path) -> None:
    common = (*folders, "--output", tmp_path / "o", "--labels", "tumour=1")
    assert run(*common, "--rules", "autopet")[0] == 0
    content = json.loads((tmp_path / "o" / "scores.json").read_text())
    assert content["settings"]["rules"] == "autopet"
    assert {row["metric"] for row in content["scores"]} == {
        "dice", "false_positive_volume_ml", "false_negative_volume_ml",
    }  # fmt: skip
    assert run(*common, "--matching", "iou>=0.3 maximum conn=6")[0] == 0
    rows = read_table(tmp_path / "o" / "scores.csv")
    assert {row["definition"] for row in rows if row["metric"] == "lesion_f1"} == {"iou>=0.3 maximum conn=6"}
    assert {row["definition"] for row in rows if row["metric"] == "pq"} == {"iou>=0.5 conn=6"}
