"""Errors of volumes are used where they were learnt for what is done, and there alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import ModelError
from medseg.core.manifest import hash_file
from medseg.core.model import ModelRecord, Rule, VolumeErrors
from medseg.core.plan import Plan
from medseg.core.records import read_json
from medseg.inference import Predictor, finish_model
from medseg.inference.folders import predict_cases
from medseg.inference.volume_errors import settle_errors
from medseg.io import find_inputs, write_volume
from medseg.measurement.folders import measure_folder
from tests.core.examples import make_errors
from tests.inference.examples import write_model
from tests.preprocessing.examples import CLASSES, make_scan

WEIGHTS = [f"weights/3d_fullres/fold_{fold}.safetensors" for fold in (0, 1)]
RULE = Rule(label="organ", keep_largest=True)


def write_knowing_model(folder: Path, *, rules: tuple[Rule, ...] = (), **changes: Any) -> VolumeErrors:
    """A model of two folds that knows its errors."""
    write_model(folder, folds=(0, 1), postprocessing=rules)
    weights = {name: hash_file(folder / name) for name in WEIGHTS}
    errors = make_errors(CLASSES, **{"weights": weights, "postprocessing": rules, **changes})
    record = ModelRecord.read(folder / "model.json").model_copy(update={"volume_errors": errors})
    finish_model(folder, Plan.read(folder / "plan.json"), record)
    return errors


def ask(folder: Path | list[Path], **options: Any) -> tuple[VolumeErrors | None, str]:
    predictor = Predictor.load(folder, device="cpu", **options)
    found = settle_errors(predictor.models, predictor.members, predictor.window.overlap, predictor.rules)
    assert predictor.volume_errors == found[0]
    return found


def test_the_model_used_as_it_was_validated_knows_its_errors(tmp_path: Path) -> None:
    errors = write_knowing_model(tmp_path, rules=(RULE,))
    assert ask(tmp_path) == (errors, "")
    assert ask(tmp_path, folds=[1, 0]) == (errors, "")
    assert ask(tmp_path, precision="bf16") == (errors, "")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"folds": [0]}, "folds 3d_fullres 0 were used; errors are known of 3d_fullres 0, 1"),
        ({"mirroring": False}, "mirrored copies"),
        ({"overlap": 0.25}, "an overlap of 0.5"),
    ],
)
def test_used_otherwise_it_does_not(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    write_knowing_model(tmp_path)
    errors, why = ask(tmp_path, **options)
    assert errors is None
    assert reason in why


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights": {WEIGHTS[0]: "0" * 64}}, "weights"),
        ({"weights": {"weights/gone.safetensors": "0" * 64}}, "weights"),
        ({"postprocessing": (RULE,)}, "postprocessing"),
        ({"configuration": "2d"}, "errors are known of 2d"),
        ({"folds": (0, 1, 2)}, "errors are known of 3d_fullres 0, 1, 2"),
    ],
)
def test_errors_of_something_else_are_not_used(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    write_knowing_model(tmp_path, **changes)
    errors, why = ask(tmp_path)
    assert errors is None
    assert reason in why


def test_several_models_and_ones_without_errors(tmp_path: Path) -> None:
    write_knowing_model(tmp_path / "a")
    write_model(tmp_path / "b")
    assert "several models" in ask([tmp_path / "a", tmp_path / "b"])[1]
    assert "does not know" in ask(tmp_path / "b")[1]


def test_a_model_with_a_changed_number_is_refused(tmp_path: Path) -> None:
    write_knowing_model(tmp_path)
    content = json.loads((tmp_path / "model.json").read_text("utf-8"))
    content["volume_errors"]["labels"][0]["strata"][0]["high"] = 1.01
    (tmp_path / "model.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(ModelError, match="do not match their hash"):
        Predictor.load(tmp_path, device="cpu")


def test_bars_outlive_the_model(tmp_path: Path) -> None:
    errors = write_knowing_model(tmp_path / "model")
    predictor = Predictor.load(tmp_path / "model", device="cpu")
    for seed, name in enumerate("ab"):
        write_volume(tmp_path / "scans" / f"{name}.nii.gz", make_scan(seed=seed)[0])
    found, output = find_inputs(tmp_path / "scans", 1), tmp_path / "out"
    predict_cases(predictor, found, output)
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    record = read_json(output / "run.json")
    assert VolumeErrors.parse(record["volume_errors"]["table"]) == errors
    assert {len(own) for own in record["member_volumes_ml"]["a"].values()} == {2}
    _, rows = measure_folder(output, tmp_path / "tables")
    bars = {(row.case, row.label): row for row in rows if row.quantity == "volume_ml" and row.instance == 0}
    assert set(bars) == {(case, label) for case in "ab" for label in CLASSES.names}
    for row in bars.values():
        known = errors.find(row.label, CLASSES.labels[row.label])
        assert known is not None
        if row.value:
            stratum = next(own for own in known.strata if own.holds(row.value))
            assert (row.low, row.high) == (row.value * stratum.low, row.value * stratum.high)
        else:
            assert (row.low, row.high) == (None, None)
    assert any(row.value for row in bars.values())
    spread = [row for row in rows if row.quantity == "member_sd_ml"]
    assert {(row.case, row.label) for row in spread} == set(bars)
    # What was done before keeps its spread when the command is run again.
    assert {outcome.status for outcome in predict_cases(predictor, found, output)} == {"skipped"}
    assert read_json(output / "run.json")["member_volumes_ml"] == record["member_volumes_ml"]


def test_bars_of_other_folds_are_not_given(tmp_path: Path) -> None:
    write_knowing_model(tmp_path / "model")
    write_volume(tmp_path / "scans" / "a.nii.gz", make_scan()[0])
    predictor = Predictor.load(tmp_path / "model", folds=[1], device="cpu")
    predict_cases(predictor, find_inputs(tmp_path / "scans", 1), tmp_path / "out")
    assert read_json(tmp_path / "out" / "run.json")["volume_errors"]["table"] is None
    _, rows = measure_folder(tmp_path / "out", tmp_path / "tables")
    assert all(row.low is None for row in rows)
    told = read_json(tmp_path / "tables" / "measurements.json")["volume_intervals"]["unknown"]
    assert "folds 3d_fullres 1 were used" in told["a"]
