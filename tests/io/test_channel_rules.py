"""Rules by which series became channels: from ``dataset.json`` through a workspace, under the channels' new names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medseg.core.channel_rules import ChannelRule
from medseg.core.dataset import read_dataset, write_dataset
from medseg.core.errors import FormatError
from medseg.io import open_dataset
from tests.io.trees import make_two_folders, save_json, save_nifti

CT, PET = {"channel": "CT", "modality": "CT"}, {"channel": "PET", "modality": "PT", "as_suv": True}
RULES = tuple(ChannelRule.parse(rule) for rule in (CT, PET))


def make_dataset(folder: Path, rules: Any) -> Path:
    root = make_two_folders(folder)
    for case in ("a", "b"):
        (root / "images" / f"{case}.nii.gz").unlink()
        for channel in range(2):
            save_nifti(root / "images" / f"{case}_000{channel}.nii.gz")
    save_json(root / "dataset.json", channel_names={"0": "CT", "1": "PET"}, labels={"x": 1}, channel_rules=rules)
    return root


def test_rules_stay_with_the_data_set(tmp_path: Path) -> None:
    dataset = open_dataset(make_dataset(tmp_path, [CT, PET]))
    assert dataset.channel_rules == RULES
    write_dataset(tmp_path / "cases.json", dataset)
    assert read_dataset(tmp_path / "cases.json").channel_rules == RULES


def test_rules_follow_channels_that_are_chosen_or_renamed(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, [CT, PET])
    assert open_dataset(root, channels=["PET", "CT"]).channel_rules == RULES[::-1]
    renamed = open_dataset(root, channels=["low_dose", "uptake"]).channel_rules
    assert [(rule.channel, rule.modality, rule.as_suv) for rule in renamed] == [
        ("low_dose", "CT", False), ("uptake", "PT", True),
    ]  # fmt: skip


def test_a_workspace_from_before_there_were_rules(tmp_path: Path) -> None:
    dataset = open_dataset(make_two_folders(tmp_path))
    write_dataset(tmp_path / "cases.json", dataset)
    text = (tmp_path / "cases.json").read_text()
    (tmp_path / "cases.json").write_text(text.replace(',\n "channel_rules": []', ""))
    assert "channel_rules" not in (tmp_path / "cases.json").read_text()
    assert read_dataset(tmp_path / "cases.json").channel_rules == ()


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([PET, CT], "rules of the channels PET, CT, expected of CT, PET"),
        ([CT], "rules of the channels CT, expected of CT, PET"),
        ([CT, {**PET, "kernel": "B30"}], "kernel"),
        ({"CT": "PT"}, "expected a list"),
        ([CT, "PT"], "dictionary"),
    ],
)
def test_rules_that_do_not_fit_are_refused(tmp_path: Path, rules: Any, reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as caught:
        open_dataset(make_dataset(tmp_path, rules))
    assert caught.value.file
