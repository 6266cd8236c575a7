"""model.json: what was written is read again, and models without the newer keys stay readable."""

import json
from pathlib import Path

import pytest

from medseg.core.errors import FormatError
from medseg.core.labels import LabelScheme
from medseg.core.model import Familiar, FamiliarChannel, Member, ModelRecord, Span

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


def make_record(familiar: Familiar | None) -> ModelRecord:
    return ModelRecord(
        labels=LabelScheme.make({"organ": 1}),
        channels=("CT", "PET"),
        members=(Member(configuration="3d_fullres", folds=(0, "all")),),
        mirror_axes=(0, 1),
        familiar=familiar,
    )


@pytest.mark.parametrize("familiar", [None, FAMILIAR])
def test_to_json_and_back(tmp_path: Path, familiar: Familiar | None) -> None:
    record = make_record(familiar)
    record.write(tmp_path / "model.json")
    assert ModelRecord.read(tmp_path / "model.json") == record


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
