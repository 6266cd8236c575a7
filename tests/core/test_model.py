"""model.json: what was written is read again, and models without the newer keys stay readable."""

import json
from pathlib import Path

import pytest

from medseg.core.channel_rules import ChannelRule
from medseg.core.errors import FormatError
from medseg.core.labels import LabelScheme
from medseg.core.model import Familiar, FamiliarChannel, LabelErrors, Member, ModelRecord, Span, VolumeErrors
from tests.core.examples import make_errors

LABELS = LabelScheme.make({"organ": 1})
RANGE = Span(low=0.5, high=2.0)
FAMILIAR = Familiar(
    spacing_mm=(RANGE, RANGE, None),
    size_voxels=(RANGE, RANGE, Span(low=1, high=1)),
    size_mm=(RANGE, RANGE, None),
    channels=(
        FamiliarChannel(foreground=RANGE, extremes=RANGE),
        FamiliarChannel(foreground=RANGE, extremes=RANGE, level=RANGE, width=RANGE),
    ),
    orientations=("LPS", "RAS"),
    mirrored_axes=(0, 2),
)


def make_record(familiar: Familiar | None, errors: VolumeErrors | None = None) -> ModelRecord:
    return ModelRecord(
        labels=LABELS,
        channels=("CT", "PET"),
        members=(Member(configuration="3d_fullres", folds=(0, "all")),),
        mirror_axes=(0, 1),
        familiar=familiar,
        volume_errors=errors,
    )


@pytest.mark.parametrize("familiar", [None, FAMILIAR])
def test_to_json_and_back(tmp_path: Path, familiar: Familiar | None) -> None:
    record = make_record(familiar)
    record.write(tmp_path / "model.json")
    back = ModelRecord.read(tmp_path / "model.json")
    assert back.sha256 == record.hash_content()
    assert back.model_copy(update={"sha256": ""}) == record


def test_a_model_that_does_not_know_its_training_scans() -> None:
    content = json.loads(make_record(None).to_json())
    del content["familiar"]
    assert ModelRecord.parse(content).familiar is None


def test_numbers_that_are_none_are_refused() -> None:
    content = json.loads(make_record(FAMILIAR).to_json())
    content["familiar"]["spacing_mm"][0]["low"] = float("nan")
    content["familiar"]["further"] = 1
    with pytest.raises(FormatError, match=r"familiar\.spacing_mm.*familiar\.further"):
        ModelRecord.parse(content)


def test_errors_of_volumes_to_json_and_back(tmp_path: Path) -> None:
    errors = make_errors(LABELS, low=0.87)
    make_record(None, errors).write(tmp_path / "model.json")
    assert ModelRecord.read(tmp_path / "model.json").volume_errors == errors


def test_a_model_from_before_errors_were_learnt() -> None:
    content = json.loads(make_record(FAMILIAR).to_json())
    del content["volume_errors"]
    assert ModelRecord.parse(content).volume_errors is None


@pytest.mark.parametrize("change", [{"low": 0.95}, {"high": 2.0}, {"patients": 4000}])
def test_a_changed_number_is_seen(change: dict[str, float]) -> None:
    content = json.loads(make_record(None, make_errors(LABELS)).to_json())
    content["volume_errors"]["labels"][0]["strata"][1] |= change
    with pytest.raises(FormatError, match="volume_errors: the errors of volumes do not match their hash"):
        ModelRecord.parse(content)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"low": 1.2}, "the lower bound lies above the upper one"),
        ({"low": -0.1}, "greater than or equal to 0"),
        ({"high": float("inf")}, "finite"),
        ({"from_ml": 2.0}, "leave a gap"),
        ({"to_ml": 9.0}, "leave a gap"),
        ({"tails": "none"}, "both"),
        ({"further": 1}, "Extra"),
    ],
)
def test_impossible_errors_are_refused(change: dict[str, object], fault: str) -> None:
    content = json.loads(make_errors(LABELS).to_json())
    content["labels"][0]["strata"][1] |= change
    with pytest.raises(FormatError, match=fault):
        VolumeErrors.parse(content)


def test_errors_are_known_or_there_is_a_reason() -> None:
    for content in ({}, {"strata": make_errors(LABELS).labels[0].strata, "reason": "none"}):
        with pytest.raises(FormatError, match="either the errors are known"):
            LabelErrors.parse({"label": "organ", "values": (1,), **content})


@pytest.mark.parametrize("labels", [{"organ": 2}, {"liver": 1}, {"organ": 1, "tumour": 2}])
def test_errors_of_other_labels_are_refused(labels: dict[str, int]) -> None:
    content = json.loads(make_record(None).to_json())
    content["volume_errors"] = json.loads(make_errors(LabelScheme.make(labels)).to_json())
    with pytest.raises(FormatError, match="other labels than the model's"):
        ModelRecord.parse(content)


def test_errors_are_found_by_name_and_values() -> None:
    errors = make_errors(LabelScheme.make({"organ": 1, "whole": [1, 2]}, paint_order=(1, 2)))
    assert errors.find("whole", [1, 2]) == errors.labels[1]
    assert errors.find("whole", [1]) is None
    assert errors.find("liver", [1]) is None


RULES = (ChannelRule(channel="CT", modality="CT"), ChannelRule(channel="PET", modality="PT", as_suv=True))


def test_rules_of_the_channels_are_kept(tmp_path: Path) -> None:
    record = make_record(None).model_copy(update={"channel_rules": RULES})
    record.write(tmp_path / "model.json")
    assert ModelRecord.read(tmp_path / "model.json").channel_rules == RULES


def test_rules_of_other_channels_are_refused() -> None:
    content = json.loads(make_record(None).to_json()) | {"sha256": ""}
    content["channel_rules"] = [rule.model_dump() for rule in reversed(RULES)]
    with pytest.raises(FormatError, match="rules of the channels PET, CT, expected of CT, PET"):
        ModelRecord.parse(content)


def test_models_from_before_there_were_rules_keep_their_hash() -> None:
    content = json.loads(make_record(None).to_json())
    assert "channel_rules" not in content
    assert ModelRecord.parse(content).channel_rules == ()
