"""Codes of labels: from ``dataset.json`` through a workspace into a model; records without them stay as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medseg.core.dataset import read_dataset, write_dataset
from medseg.core.errors import FormatError
from medseg.core.label_codes import LabelCodes, keep_codes
from medseg.core.labels import LabelScheme
from medseg.core.model import Member, ModelRecord
from medseg.core.records import read_json
from medseg.io import open_dataset
from tests.io.trees import make_two_folders, save_json

CODES = {"x": LabelCodes(type=("10200004", "SCT", "Liver"), side=("7771000", "SCT", "Left"))}


def make_dataset(folder: Path, codes: Any) -> Path:
    root = make_two_folders(folder)
    save_json(root / "dataset.json", labels={"x": 1}, codes=codes)
    return root


def make_record(**content: Any) -> ModelRecord:
    members = (Member(configuration="3d_fullres", folds=(0,)),)
    return ModelRecord(labels=LabelScheme.make({"x": 1}), channels=("CT",), members=members, mirror_axes=(), **content)


def test_codes_stay_with_the_data_set(tmp_path: Path) -> None:
    dataset = open_dataset(make_dataset(tmp_path, {"x": {"type": "Liver", "side": "Left"}}))
    assert dataset.codes == CODES
    write_dataset(tmp_path / "cases.json", dataset)
    assert read_dataset(tmp_path / "cases.json").codes == CODES


def test_bad_codes_are_named_as_the_data_set_is_opened(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, {"y": {"type": "Liver"}})
    with pytest.raises(FormatError, match="codes of 'y', the labels are x") as caught:
        open_dataset(root)
    assert caught.value.file == str(root / "dataset.json")
    assert caught.value.code == "bad_codes"


def test_codes_stay_with_the_model(tmp_path: Path) -> None:
    make_record(codes=CODES).write(tmp_path / "model.json")
    assert ModelRecord.read(tmp_path / "model.json").codes == CODES
    assert keep_codes(CODES, ["x", "y"]) == CODES
    assert keep_codes(CODES, ["y"]) == {}
    with pytest.raises(ValueError, match="codes of x, the labels are y"):
        ModelRecord.model_validate(make_record(codes=CODES).model_dump() | {"labels": {"labels": {"y": [1]}}})


def test_a_record_without_codes_is_what_it_was(tmp_path: Path) -> None:
    make_record().write(tmp_path / "model.json")
    assert "codes" not in read_json(tmp_path / "model.json")
    assert make_record().hash_content() != make_record(codes=CODES).hash_content()
