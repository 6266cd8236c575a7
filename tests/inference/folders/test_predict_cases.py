"""Masks of many scans: nothing is done twice, and one bad scan stops nobody."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.core.atomic import fault_hook
from medseg.core.dataset import Dataset
from medseg.core.errors import DatasetError, ResourceError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, exit_code, hash_file
from medseg.core.volume import Volume
from medseg.inference import Predictor
from medseg.inference.folders import predict_cases
from medseg.io import find_inputs, read_image, write_volume
from medseg.io.probabilities import name_files
from tests.inference.examples import write_model
from tests.preprocessing.examples import CLASSES, make_scan

NAMES = ["a", "b", "c"]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for seed, name in enumerate(NAMES):
        write_volume(tmp_path / "scans" / f"{name}.nii.gz", make_scan(seed=seed)[0])
    return tmp_path / "scans"


def predict(predictor: Predictor, scans: Path, output: Path, **options: Any) -> dict[str, CaseOutcome]:
    outcomes = predict_cases(predictor, find_inputs(scans, 1), output, **options)
    content = json.loads((output / "run.json").read_text("utf-8"))
    assert [case["case"] for case in content["cases"]] == [outcome.case for outcome in outcomes]
    assert [case["status"] for case in content["cases"]] == [outcome.status for outcome in outcomes]
    return {outcome.case: outcome for outcome in outcomes}


def statuses(outcomes: dict[str, CaseOutcome]) -> dict[str, str]:
    return {name: outcome.status for name, outcome in outcomes.items()}


def test_every_scan_gets_its_mask(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    outcomes = predict(predictor, scans, tmp_path / "out")
    assert statuses(outcomes) == dict.fromkeys(NAMES, "done")
    assert exit_code(outcomes.values()) == 0
    for name in NAMES:
        scan, mask = read_image(scans / f"{name}.nii.gz"), read_image(tmp_path / "out" / f"{name}.nii.gz")
        assert mask.geometry.same_grid(scan.geometry)
        assert np.array_equal(mask.array[0], predictor.predict(scan).segmentation.array)
        assert outcomes[name].outputs == {f"{name}.nii.gz": hash_file(tmp_path / "out" / f"{name}.nii.gz")}
        assert outcomes[name].inputs == (str(scans / f"{name}.nii.gz"),)


def test_run_json_explains_the_masks(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    predict(predictor, scans, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))
    assert content["command"] == "predict"
    assert content["model"] == predictor.model.digest
    assert content["labels"] == {"background": 0, "organ": 1, "tumour": 3, "ignore": 255}
    assert content["settings"]["folds"] == "0"
    assert type(CLASSES).make(content["labels"]) == CLASSES


def test_finished_scans_are_not_done_again(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    first = predict(predictor, scans, output)
    times = {name: (output / f"{name}.nii.gz").stat().st_mtime_ns for name in NAMES}
    for _ in range(2):
        again = predict(predictor, scans, output)
        assert statuses(again) == dict.fromkeys(NAMES, "skipped")
        assert {name: outcome.outputs for name, outcome in again.items()} == {n: o.outputs for n, o in first.items()}
        assert exit_code(again.values()) == 0
    assert times == {name: (output / f"{name}.nii.gz").stat().st_mtime_ns for name in NAMES}
    (output / "a.nii.gz").write_bytes(b"changed")
    (output / "b.nii.gz").unlink()
    assert statuses(predict(predictor, scans, output)) == {"a": "done", "b": "done", "c": "skipped"}
    write_volume(scans / "c.nii.gz", make_scan(seed=9)[0])
    assert statuses(predict(predictor, scans, output)) == {"a": "skipped", "b": "skipped", "c": "done"}


def test_other_settings_begin_anew(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    predict(predictor, scans, output)
    done = dict.fromkeys(NAMES, "done")
    assert statuses(predict(predictor, scans, output, save_probabilities=True)) == done
    assert statuses(predict(predictor, scans, output, file_format="mha")) == done
    assert (output / "a.mha").is_file()
    other = Predictor.load(predictor.model.folder, device="cpu", mirroring=True)
    assert statuses(predict(other, scans, output, file_format="mha")) == done


def test_a_stopped_run_goes_on_after_its_last_scan(
    predictor: Predictor, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, predicted = tmp_path / "out", []
    whole = Predictor.segment

    def stop_at_third(self: Predictor, *args: Any, **options: Any) -> Any:
        predicted.append(args)
        if len(predicted) == 3:
            raise KeyboardInterrupt
        return whole(self, *args, **options)

    monkeypatch.setattr(Predictor, "segment", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        predict(predictor, scans, output)
    assert statuses(predict(predictor, scans, output)) == {"a": "skipped", "b": "skipped", "c": "done"}


def test_a_damaged_record_is_no_record(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    predict(predictor, scans, output)
    for content in ("{", "[]", '{"settings": 1}'):
        (output / "run.json").write_text(content, "utf-8")
        assert statuses(predict(predictor, scans, output)) == dict.fromkeys(NAMES, "done")


def test_a_bad_scan_stops_nobody(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    (scans / "b.nii.gz").write_bytes(b"no scan")
    outcomes = predict(predictor, scans, tmp_path / "out")
    assert statuses(outcomes) == {"a": "done", "b": "refused", "c": "done"}
    assert outcomes["b"].reason
    assert outcomes["b"].outputs == {}
    assert not (tmp_path / "out" / "b.nii.gz").exists()
    assert exit_code(outcomes.values()) == 3
    write_volume(scans / "b.nii.gz", make_scan(seed=1)[0])
    assert statuses(predict(predictor, scans, tmp_path / "out")) == {"a": "skipped", "b": "done", "c": "skipped"}


def test_where_nothing_can_be_read_nothing_started(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (scans / f"{name}.nii.gz").write_bytes(b"no scan")
    outcomes = predict(predictor, scans, tmp_path / "out")
    assert set(statuses(outcomes).values()) == {"refused"}
    assert exit_code(outcomes.values()) == 2


def test_problems_of_the_folder_are_outcomes(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    found = find_inputs(scans, 1)
    problem = DatasetError("channel 0001 is missing", code="missing_channel", case="d")
    dataset = Dataset(found.root, found.name, found.layout, found.cases, problems=(problem,))
    outcomes = predict_cases(predictor, dataset, tmp_path / "out")
    assert [outcome.status for outcome in outcomes] == ["done", "done", "done", "refused"]
    assert outcomes[-1].code == "missing_channel"


def test_probabilities_are_written_per_channel(scans: Path, tmp_path: Path) -> None:
    labels = type(CLASSES).make({"organ": 1, "../tumour": 2})
    write_model(tmp_path / "model", folds=(0,), labels=labels)
    predictor = Predictor.load(tmp_path / "model", device="cpu", mirroring=False)
    outcomes = predict(predictor, scans, tmp_path / "out", save_probabilities=True)
    names = [f"probabilities/a/{name}.nii.gz" for name in ("background", "organ", "_tumour")]
    assert set(outcomes["a"].outputs) == {"a.nii.gz", *names}
    total = sum(read_image(tmp_path / "out" / name).array for name in names)
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    inside = [path.resolve().is_relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")]
    assert all(inside)
    assert not list(tmp_path.glob("tumour*"))


def test_channels_whose_names_become_alike_keep_a_file_each() -> None:
    labels = LabelScheme.make({"left lung": 1, "left/lung": 2, "Left_Lung": 3, "left_lung_2": 4, "...": 5})
    assert name_files(labels) == ("background", "left_lung", "left_lung_2", "Left_Lung_3", "left_lung_2_2", "_")


def test_probabilities_have_the_masks_format(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    outcomes = predict(predictor, scans, tmp_path / "out", save_probabilities=True, file_format="nrrd")
    assert {Path(name).suffix for name in outcomes["a"].outputs} == {".nrrd"}
    total = sum(read_image(tmp_path / "out" / name).array for name in outcomes["a"].outputs if "/" in name)
    np.testing.assert_allclose(total, 1.0, atol=1e-5)


def test_formats(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    for file_format, ending in (("mha", ".mha"), ("nrrd", ".nrrd")):
        predict(predictor, scans, tmp_path / file_format, file_format=file_format)
        mask = read_image(tmp_path / file_format / f"a{ending}")
        assert mask.geometry.same_grid(read_image(scans / "a.nii.gz").geometry)
    with pytest.raises(DatasetError, match="unknown format 'doc'"):
        predict(predictor, scans, tmp_path / "doc", file_format="doc")


def test_pictures_give_pictures(tmp_path: Path) -> None:
    write_model(tmp_path / "model", folds=(0,), dimensions=2)
    predictor = Predictor.load(tmp_path / "model", device="cpu")
    volume, _ = make_scan(shape=(20, 24, 1), spacing_mm=(0.5, 0.5, 1.0), kind=np.uint8)
    array = np.abs(np.random.default_rng(0).normal(size=(1, 20, 24, 1)) * 50).astype(np.uint8)
    write_volume(tmp_path / "scans" / "a.png", Volume(array, volume.geometry, ("c0",)))
    predict(predictor, tmp_path / "scans", tmp_path / "out", spacing_mm=(0.5, 0.5))
    assert read_image(tmp_path / "out" / "a.png", spacing_mm=(0.5, 0.5)).array.shape == (1, 20, 24, 1)


@pytest.mark.parametrize("broken", range(4))
def test_a_full_disk_leaves_no_half_written_mask(
    predictor: Predictor, scans: Path, tmp_path: Path, broken: int
) -> None:
    count = 0

    def fail(step: str, path: Path) -> None:
        nonlocal count
        count += 1
        if count == broken + 1:
            raise OSError(28, "No space left on device")

    with fault_hook(fail), pytest.raises(ResourceError, match="No space left") as caught:
        predict(predictor, scans, tmp_path / "out")
    assert caught.value.code == "disk_full"  # no other scan is begun: one line for all
    masks = {path.name for path in (tmp_path / "out").iterdir()} - {"run.json"}
    assert masks <= {f"{name}.nii.gz" for name in NAMES}
    for name in masks:
        read_image(tmp_path / "out" / name)
    assert set(statuses(predict(predictor, scans, tmp_path / "out")).values()) <= {"done", "skipped"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"run.json", *(f"{name}.nii.gz" for name in NAMES)}
