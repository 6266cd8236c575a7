"""From a folder of scans to a report: every promised file is there, they agree, and a second run writes the same."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg import pipeline
from medseg.core.dataset import read_dataset
from medseg.core.fingerprint import Fingerprint
from medseg.core.manifest import hash_file
from medseg.core.plan import Plan
from medseg.core.records import read_json
from medseg.core.results import Measurement, Score, read_rows, rows_as_json
from medseg.core.workspace import Workspace
from medseg.inference import open_model
from tests.end_to_end.scans import LABELS, TEST, TRAINING, write_data_set

# Slices train about ten times faster than volumes; test_steps.py goes through the same with volumes.
SETTINGS = {"epochs": 2, "folds": "0", "configurations": ["2d"], "device": "cpu"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def space(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("workspace")
    result = pipeline.run(data, folder, **SETTINGS)
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    assert str(folder / "report.html") in result.text
    return Workspace(folder)


def test_every_promised_file_is_there(space: Workspace) -> None:
    names = ["cases", "fingerprint", "plan", "folds", "choice", "scores", "summary", "measurements", "run"]
    expected = {space.root / f"{name}.json" for name in names}
    expected |= {space.root / "scores.csv", space.root / "measurements.csv", space.report}
    expected |= {space.model / "plan.json", space.model / "model.json"}
    expected.add(space.model / "weights" / "2d" / "fold_0.safetensors")
    expected |= {space.predictions / f"{case}.nii.gz" for case in TEST} | {space.predictions / "run.json"}
    expected.add(space.root / "prepared" / "run.json")
    fold = space.run("2d", 0)
    expected |= {fold / "run.json", fold / "log.jsonl", fold / "validation" / "scores.csv"}
    validated = read_json(space.folds)[0]["validation"]
    expected |= {fold / "validation" / f"{case}.nii.gz" for case in validated}
    for ending in (".b2nd", ".reference.b2nd", ".json"):
        expected |= {space.prepared("2d") / f"{case}{ending}" for case in TRAINING}
    expected.add(space.prepared("2d") / "index.json")
    assert {path for path in expected if not path.is_file()} == set()
    assert list(fold.glob("events.*"))
    assert (fold / "checkpoints" / "00002" / "state.json").is_file()


def test_nothing_half_written_is_left(space: Workspace) -> None:
    assert [path for path in space.root.rglob("*") if path.name.startswith(".tmp")] == []
    assert [path for path in space.root.rglob("*") if path.is_file() and path.stat().st_size == 0] == []


def test_fingerprint_plan_and_folds_agree(space: Workspace) -> None:
    found, plan = Fingerprint.read(space.fingerprint), Plan.read(space.plan)
    assert {case.case: (case.patient, case.day) for case in found.cases} == TRAINING
    assert (plan.channels, plan.labels) == (found.channels, found.labels)
    assert (plan.preset, plan.channels, plan.labels.names) == ("cpu", ("CT",), ("organ", "tumour"))
    seen = []
    for fold in read_json(space.folds):
        assert sorted(fold["train"] + fold["validation"]) == sorted(TRAINING)
        patients = [{TRAINING[case][0] for case in fold[part]} for part in ("train", "validation")]
        assert patients[0].isdisjoint(patients[1])
        seen += fold["validation"]
    assert sorted(seen) == sorted(TRAINING)


def test_prepared_cases_are_indexed(space: Workspace) -> None:
    assert read_json(space.prepared("2d") / "index.json")["cases"] == sorted(TRAINING)


def test_log_tells_of_each_epoch(space: Workspace) -> None:
    lines = [json.loads(line) for line in (space.run("2d", 0) / "log.jsonl").read_text("utf-8").splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert (
        lines[-1]["steps"]
        == lines[-1]["total_steps"]
        == 2 * Plan.read(space.plan).configuration("2d").training.iterations_per_epoch
    )
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert set(lines[-1]["patch_dice"]) == {"organ", "tumour"}


def test_model_says_what_it_is_and_its_hashes_hold(space: Workspace) -> None:
    record = read_json(space.model / "model.json")
    files = {path.relative_to(space.model).as_posix() for path in space.model.rglob("*") if path.is_file()}
    assert set(record["files"]) == files - {"model.json"}
    assert all(hash_file(space.model / name) == digest for name, digest in record["files"].items())
    alone = {"configuration": "2d", "folds": [0], "previous": None, "previous_folds": []}
    assert record["members"] == [alone]
    assert record["labels"]["labels"] == {"organ": [1], "tumour": [2]}
    assert read_json(space.choice)["chosen"]["configuration"] == "2d"
    assert float(record["card"]["validation_dice"]) == pytest.approx(
        read_json(space.choice)["chosen"]["mean_dice"], abs=5e-5
    )


def test_masks_lie_on_the_scans_own_grids(space: Workspace, data: Path) -> None:
    for case in TEST:
        scan = nib.load(data / "imagesTs" / f"{case}_0000.nii.gz")
        mask = nib.load(space.predictions / f"{case}.nii.gz")
        assert mask.shape == scan.shape
        assert np.array_equal(mask.affine, scan.affine)
        assert mask.get_data_dtype() == np.uint8
        values = set(np.unique(np.asarray(mask.dataobj)).tolist())
        assert 1 in values
        assert values <= set(LABELS.values())


def test_run_records_tell_of_each_case(space: Workspace) -> None:
    whole, predicted = read_json(space.root / "run.json"), read_json(space.predictions / "run.json")
    assert {case["case"] for case in whole["cases"]} == {*TRAINING, *TEST}
    assert {case["case"] for case in predicted["cases"]} == set(TEST)
    for case in (*whole["cases"], *predicted["cases"]):
        assert (case["status"], case["reason"], case["remedy"]) == ("done", "", "")
        assert all(Path(path).is_file() for path in case["inputs"])
    for case in predicted["cases"]:
        assert case["outputs"] == {f"{case['case']}.nii.gz": hash_file(space.predictions / f"{case['case']}.nii.gz")}
    assert (
        whole["model"] == predicted["model"] == open_model(space.model).digest == hash_file(space.model / "model.json")
    )
    assert whole["labels"] == LABELS
    assert (whole["command"], predicted["command"]) == ("run", "predict")


def test_scores_stand_for_each_test_case_and_label(space: Workspace) -> None:
    rows = read_rows(space.root / "scores.csv", Score)
    assert {(row.case, row.patient, row.day) for row in rows} == {(case, *who) for case, who in TEST.items()}
    for case in TEST:
        for label in ("organ", "tumour"):
            metrics = {row.metric for row in rows if (row.case, row.label, row.instance) == (case, label, 0)}
            assert {"dice", "iou", "hd95", "assd", "nsd", "volume_similarity"} <= metrics
    dice = [row.value for row in rows if (row.metric, row.label, row.instance) == ("dice", "organ", 0)]
    assert min(value or 0 for value in dice) > 0.8  # it learned; how well is not tested on made-up scans
    assert read_json(space.root / "scores.json")["scores"] == rows_as_json(rows)


def test_scores_are_those_of_the_masks(space: Workspace, data: Path) -> None:
    rows = read_rows(space.root / "scores.csv", Score)
    for case in TEST:
        predicted = np.asarray(nib.load(space.predictions / f"{case}.nii.gz").dataobj)
        reference = np.asarray(nib.load(data / "labelsTs" / f"{case}.nii.gz").dataobj)
        for value, label in ((1, "organ"), (2, "tumour")):
            a, b = predicted == value, reference == value
            (dice,) = [r.value for r in rows if (r.case, r.label, r.metric, r.instance) == (case, label, "dice", 0)]
            assert dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_measurements_are_those_of_the_masks(space: Workspace) -> None:
    rows = read_rows(space.root / "measurements.csv", Measurement)
    assert {(row.case, row.patient, row.day) for row in rows} == {(case, *who) for case, who in TEST.items()}
    for case in TEST:
        mask = nib.load(space.predictions / f"{case}.nii.gz")
        voxel_ml = abs(np.linalg.det(mask.affine[:3, :3])) / 1000
        for value, label in ((1, "organ"), (2, "tumour")):
            (volume,) = [
                row.value
                for row in rows
                if (row.case, row.label, row.quantity, row.instance) == (case, label, "volume_ml", 0)
            ]
            assert volume == pytest.approx((np.asarray(mask.dataobj) == value).sum() * voxel_ml, rel=1e-6)
    assert read_json(space.root / "measurements.json")["measurements"] == rows_as_json(rows)


def test_so_few_patients_teach_no_error_bars_and_everyone_is_told_why(space: Workspace) -> None:
    reasons = {
        entry["label"]: entry["reason"] for entry in read_json(space.model / "model.json")["volume_errors"]["labels"]
    }
    assert set(reasons) == {"organ", "tumour"}
    assert all("at least 20 are needed" in reason for reason in reasons.values())
    assert any(reasons["organ"] in note for note in read_json(space.root / "run.json")["notes"])
    told = read_json(space.root / "measurements.json")["volume_intervals"]
    assert {told["unknown"][f"{case} organ"] for case in TEST} == {reasons["organ"]}
    rows = read_rows(space.root / "measurements.csv", Measurement)
    assert all(row.low is None and row.high is None for row in rows)


class Links(HTMLParser):
    """Whatever a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "data", "poster", "srcset") and not (value or "").startswith(("data:", "#")):
                self.outside.append(f"{tag} {name}={value}")


def test_report_is_one_page_that_needs_nothing_else(space: Workspace) -> None:
    page = space.report.read_text("utf-8")
    links = Links()
    links.feed(page)
    assert links.outside == []
    assert re.findall(r"@import|url\((?!['\"]?data:)", page) == []
    for words in (*TEST, "organ", "tumour", open_model(space.model).digest[:12]):
        assert words in page


def test_a_second_run_writes_the_same(space: Workspace, data: Path, tmp_path: Path) -> None:
    pipeline.run(data, tmp_path, **SETTINGS)
    names = ["plan.json", "folds.json", "fingerprint.json", "choice.json", "model/model.json", "report.html"]
    names += ["scores.csv", "scores.json", "summary.json", "measurements.csv", "measurements.json"]
    names += [f"predictions/{case}.nii.gz" for case in TEST] + ["runs/2d/fold_0/validation/scores.csv"]
    assert {name: hash_file(tmp_path / name) for name in names} == {
        name: hash_file(space.root / name) for name in names
    }


def test_the_same_run_again_trains_nothing_anew(space: Workspace, data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in space.prepared("2d").iterdir() if path.name != "index.json"}
    checkpoint = space.run("2d", 0) / "checkpoints" / "00002" / "state.safetensors"
    made = checkpoint.stat().st_mtime_ns
    digest = hash_file(space.model / "model.json")
    result = pipeline.run(data, space.root, **SETTINGS)
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert checkpoint.stat().st_mtime_ns == made
    assert hash_file(space.model / "model.json") == digest


def test_the_workspace_knows_its_files(space: Workspace, data: Path) -> None:
    dataset = read_dataset(space.cases)
    assert [case.name for case in dataset.cases] == sorted(TRAINING)
    assert {case.name for case in dataset.test_cases} == set(TEST)
    assert all(case.mask is not None and case.mask.path.is_relative_to(data) for case in dataset.test_cases)
