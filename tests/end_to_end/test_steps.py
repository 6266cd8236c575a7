"""The steps one by one on volumes: what is done is not done again, and a training that was stopped goes on exactly."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from medseg import Predictor, pipeline, read_segmentation
from medseg.core.errors import PlanError
from medseg.core.fingerprint import Fingerprint
from medseg.core.manifest import hash_file, read_run
from medseg.core.plan import Plan
from medseg.core.records import read_json, write_json
from medseg.core.workspace import Workspace
from medseg.planning import plan_stands
from medseg.training import trainer
from medseg.training.checkpoint import load_checkpoint
from medseg.training.monitor import EpochRecord
from tests.end_to_end.scans import TEST, TRAINING, write_data_set, write_scan

NAME = "3d_fullres"
# A patch an eighth the size of the plan's, and few of them: seconds instead of minutes.
SMALL = {"patch_size": "8,16,16", "batch_size": "2", "iterations_per_epoch": "4"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def prepared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = Workspace(tmp_path_factory.mktemp("workspace"))
    pipeline.plan(data, space.root, preset="cpu")
    result = pipeline.preprocess(space.root, configurations=[NAME])
    assert [outcome.status for outcome in result.outcomes] == ["done"] * len(TRAINING)
    return space


@pytest.fixture(scope="module")
def trained(prepared: Workspace) -> Workspace:
    result = pipeline.train(prepared.root, configuration=NAME, fold=0, epochs=3, device="cpu", settings=SMALL)
    validated = read_json(prepared.folds)[0]["validation"]
    assert [(outcome.case, outcome.status) for outcome in result.outcomes] == [(case, "done") for case in validated]
    pipeline.choose(prepared.root)
    return prepared


def copy_of(space: Workspace, folder: Path) -> Workspace:
    shutil.copytree(space.root, folder, ignore=shutil.ignore_patterns("runs", "model"))
    return Workspace(folder)


def test_preparing_again_skips_everything(prepared: Workspace) -> None:
    before = {path: path.stat().st_mtime_ns for path in prepared.prepared(NAME).glob("scan_*")}
    again = pipeline.preprocess(prepared.root, configurations=[NAME])
    assert [outcome.status for outcome in again.outcomes] == ["skipped"] * len(TRAINING)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_preparing_again_redoes_only_what_changed(prepared: Workspace, data: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data, tmp_path / "data"))
    space = Workspace(tmp_path / "workspace")
    pipeline.plan(root, space.root, preset="cpu")
    pipeline.preprocess(space.root, configurations=[NAME])
    write_scan(root / "imagesTr" / "scan_3_0000.nii.gz", root / "labelsTr" / "scan_3.nii.gz", 13)
    again = pipeline.preprocess(space.root, configurations=[NAME])
    assert {o.case for o in again.outcomes if o.status == "done"} == {"scan_3"}
    assert {o.case for o in again.outcomes if o.status == "skipped"} == set(TRAINING) - {"scan_3"}


def test_preparing_follows_a_data_set_that_moved(data: Path, tmp_path: Path) -> None:
    root, space = Path(shutil.copytree(data, tmp_path / "data")), Workspace(tmp_path / "workspace")
    pipeline.plan(root, space.root, preset="cpu")
    root.rename(tmp_path / "elsewhere")
    lost = pipeline.preprocess(space.root, configurations=[NAME])
    assert {outcome.status for outcome in lost.outcomes} <= {"failed", "refused"}
    found = pipeline.preprocess(space.root, dataset=tmp_path / "elsewhere", configurations=[NAME])
    assert [outcome.status for outcome in found.outcomes] == ["done"] * len(TRAINING)
    again = pipeline.preprocess(space.root, configurations=[NAME])
    assert [outcome.status for outcome in again.outcomes] == ["skipped"] * len(TRAINING)


def test_a_plan_that_somebody_edited_stands(data: Path, tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    pipeline.plan(data, space.root, preset="cpu")
    assert plan_stands(space, "cpu")
    assert not plan_stands(space, "nnunet")
    made = Plan.read(space.plan)
    made.model_copy(update={"target": "what I want"}).write(space.plan)
    assert plan_stands(space, "cpu")
    found = Fingerprint.read(space.fingerprint)
    found.model_copy(update={"cases": found.cases[1:]}).write(space.fingerprint)
    assert not plan_stands(space, "cpu")


@pytest.mark.parametrize("folds", ["first", "0;1", "-1", "0,x"])
def test_folds_that_mean_nothing_are_refused_before_any_scan_is_read(tmp_path: Path, folds: str) -> None:
    with pytest.raises(PlanError, match="folds") as caught:
        pipeline.run(tmp_path / "no data set here", tmp_path / "workspace", folds=folds)
    assert caught.value.code == "unknown_fold"
    assert not (tmp_path / "workspace").exists()


def test_the_model_predicts_with_the_network_that_was_trained(trained: Workspace) -> None:
    configuration = Plan.read(trained.model / "plan.json").configuration(NAME)
    assert configuration.patch_size == (8, 16, 16)
    assert Plan.read(trained.plan).configuration(NAME).patch_size != configuration.patch_size


class StoppedError(BaseException):
    """What stands for a power cut."""


def test_a_stopped_training_goes_on_exactly(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A checkpoint is written once a minute; here after every epoch, as in a training with long ones.
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    space = copy_of(trained, tmp_path / "workspace")

    def stop(record: EpochRecord) -> None:
        if record.epoch == 2:
            raise StoppedError

    options = {"configuration": NAME, "fold": 0, "epochs": 3, "device": "cpu", "settings": SMALL}
    with pytest.raises(StoppedError):
        pipeline.train(space.root, callbacks=[stop], **options)
    kept = load_checkpoint(space.run(NAME, 0) / "checkpoints")
    assert kept is not None
    assert kept.facts["epoch"] == 2
    pipeline.train(space.root, **options)
    files = ["checkpoints/00003/state.safetensors", "validation/scores.csv"]
    files += [f"validation/{case}.nii.gz" for case in read_json(space.folds)[0]["validation"]]
    assert {name: hash_file(space.run(NAME, 0) / name) for name in files} == {
        name: hash_file(trained.run(NAME, 0) / name) for name in files
    }


def test_a_run_with_other_settings_is_not_taken_up(trained: Workspace) -> None:
    with pytest.raises(PlanError, match=r"training\.learning_rate") as caught:
        pipeline.train(
            trained.root, configuration=NAME, fold=0, epochs=3, device="cpu", settings={**SMALL, "learning_rate": "0.1"}
        )
    assert caught.value.code == "incompatible_run"
    assert "--restart" in (caught.value.remedy or "")


def test_predicting_again_skips_finished_cases(trained: Workspace, data: Path, tmp_path: Path) -> None:
    first = pipeline.predict(data / "imagesTs", tmp_path, model=trained.model, device="cpu")
    assert {outcome.case: outcome.status for outcome in first.outcomes} == dict.fromkeys(TEST, "done")
    made = {case: (tmp_path / f"{case}.nii.gz").stat().st_mtime_ns for case in TEST}
    second = pipeline.predict(data / "imagesTs", tmp_path, model=trained.model, device="cpu")
    assert {outcome.case: outcome.status for outcome in second.outcomes} == dict.fromkeys(TEST, "skipped")
    assert {case: (tmp_path / f"{case}.nii.gz").stat().st_mtime_ns for case in TEST} == made


def test_predicting_again_redoes_a_changed_mask_and_other_settings(
    trained: Workspace, data: Path, tmp_path: Path
) -> None:
    pipeline.predict(data / "imagesTs", tmp_path, model=trained.model, device="cpu")
    before = hash_file(tmp_path / "scan_9.nii.gz")
    (tmp_path / "scan_9.nii.gz").write_bytes(b"cut short")
    again = pipeline.predict(data / "imagesTs", tmp_path, model=trained.model, device="cpu")
    assert {outcome.case: outcome.status for outcome in again.outcomes} == {"scan_9": "done", "scan_10": "skipped"}
    assert hash_file(tmp_path / "scan_9.nii.gz") == before
    other = pipeline.predict(data / "imagesTs", tmp_path, model=trained.model, device="cpu", mirroring=False)
    assert {outcome.status for outcome in other.outcomes} == {"done"}


def test_another_format_and_probabilities_are_written_though_the_case_was_finished(
    trained: Workspace, data: Path, tmp_path: Path
) -> None:
    scan = data / "imagesTs" / "scan_9_0000.nii.gz"
    pipeline.predict(scan, tmp_path, model=trained.model, device="cpu")
    again = pipeline.predict(
        scan, tmp_path, model=trained.model, device="cpu", file_format="mha", save_probabilities=True
    )
    assert [outcome.status for outcome in again.outcomes] == ["done"]
    (name,) = [path.name for path in tmp_path.glob("*.mha")]
    masks = [read_segmentation(path) for path in (tmp_path / name, (tmp_path / name).with_suffix(".nii.gz"))]
    assert np.array_equal(masks[0].array, masks[1].array)
    files = sorted((tmp_path / "probabilities" / "scan_9").iterdir())
    assert {path.suffix for path in files} == {".mha"}  # in the masks' format
    shares = np.stack([SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)) for path in files])
    assert shares.sum(0) == pytest.approx(1, abs=1e-5)


def test_a_predictor_in_memory_gives_the_same_masks(trained: Workspace, data: Path, tmp_path: Path) -> None:
    pipeline.predict(data / "imagesTs", tmp_path, model=trained.model, device="cpu")
    predictor = Predictor.load(trained.model, device="cpu")
    for case in TEST:
        mask = predictor.predict(data / "imagesTs" / f"{case}_0000.nii.gz").segmentation
        assert np.array_equal(mask.array, np.asarray(nib.load(tmp_path / f"{case}.nii.gz").dataobj))


def test_evaluate_measure_and_report_follow_a_prediction(trained: Workspace, data: Path, tmp_path: Path) -> None:
    masks, tables = tmp_path / "masks", tmp_path / "tables"
    pipeline.predict(data / "imagesTs", masks, model=trained.model, device="cpu")
    scored = pipeline.evaluate(masks, data / "labelsTs", tables)
    measured = pipeline.measure(masks, tables, images=data / "imagesTs")
    for result in (scored, measured):
        assert {outcome.case: outcome.status for outcome in result.outcomes} == dict.fromkeys(TEST, "done")
    assert "tumour" in scored.text
    drawn = pipeline.report(masks, images=data / "imagesTs", references=data / "labelsTs")
    assert {outcome.case for outcome in drawn.outcomes} == set(TEST)
    assert (masks / "report.html").is_file()
    pipeline.report(tables)
    assert "tumour" in (tables / "report.html").read_text("utf-8")
    digest = hash_file(trained.model / "model.json")
    assert {read_run(folder)["model"] for folder in (masks, tables)} == {digest}
    for name in ("scores.json", "measurements.json"):
        content = read_json(tables / name)
        assert content["model"] == digest
        assert set(content["inputs"]) == set(TEST)
        assert str(tmp_path) not in (tables / name).read_text("utf-8")


def test_tables_beside_the_masks_leave_the_prediction_s_record(trained: Workspace, data: Path, tmp_path: Path) -> None:
    pipeline.predict(data / "imagesTs", tmp_path, model=trained.model, device="cpu")
    pipeline.evaluate(tmp_path, data / "labelsTs", tmp_path)
    pipeline.measure(tmp_path, tmp_path)
    again = pipeline.predict(data / "imagesTs", tmp_path, model=trained.model, device="cpu")
    assert {outcome.case: outcome.status for outcome in again.outcomes} == dict.fromkeys(TEST, "skipped")


def test_nnunets_own_splits_are_taken(prepared: Workspace, tmp_path: Path) -> None:
    space = copy_of(prepared, tmp_path / "workspace")
    names = sorted(TRAINING)
    write_json(space.folds, [{"train": names[2:], "val": names[:2]}])
    result = pipeline.train(space.root, configuration=NAME, fold=0, epochs=1, device="cpu", settings=SMALL)
    assert {outcome.case for outcome in result.outcomes} == set(names[:2])
    assert "2 cases" in pipeline.choose(space.root).text or (space.model / "model.json").is_file()
