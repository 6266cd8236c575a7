"""A cascade from scans to a report, in folds that somebody gave."""

from __future__ import annotations

import logging

import pytest

from medseg import pipeline
from medseg.core.plan import Plan
from medseg.core.records import read_json, write_json
from medseg.core.results import Score, read_rows
from medseg.core.workspace import Workspace
from medseg.inference import open_model
from tests.end_to_end.scans import TEST, TRAINING, write_data_set

LOW, CASCADE = "3d_lowres", "3d_cascade_fullres"
NAMES = sorted(TRAINING)
HALVES = [{"train": NAMES[4:], "val": NAMES[:4]}, {"train": NAMES[:4], "val": NAMES[4:]}]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose plan somebody gave a cascade, and folds of his own."""
    data = write_data_set(tmp_path_factory.mktemp("data"))
    space = Workspace(tmp_path_factory.mktemp("workspace"))
    write_json(space.folds, HALVES)
    plan = Plan.model_validate(pipeline.plan(data, space.root, preset="cpu").content)
    full = plan.configuration("3d_fullres")
    training = full.training.model_copy(update={"iterations_per_epoch": 2, "epochs": 1})
    full = full.model_copy(update={"patch_size": (8, 16, 16), "batch_size": 2, "training": training})
    low = full.model_copy(update={"name": LOW, "spacing_mm": (6.0, 4.0, 4.0)})
    cascade = full.model_copy(update={"name": CASCADE, "previous": LOW})
    plan.model_copy(update={"configurations": {found.name: found for found in (full, low, cascade)}}).write(space.plan)
    result = pipeline.run(data, space.root, configurations=[CASCADE], folds="0", device="cpu")
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    return space


def test_both_stages_become_the_model(space: Workspace) -> None:
    (member,) = open_model(space.model).record.members
    assert (member.configuration, member.folds) == (CASCADE, (0,))
    assert (member.previous, member.previous_folds) == (LOW, (0, 1))
    assert read_json(space.choice)["chosen"]["configuration"] == CASCADE


def test_the_test_cases_are_predicted_and_scored(space: Workspace) -> None:
    assert {path.name for path in space.predictions.glob("*.nii.gz")} == {f"{case}.nii.gz" for case in TEST}
    assert {row.case for row in read_rows(space.root / "scores.csv", Score)} == set(TEST)


def test_the_given_folds_decided(space: Workspace) -> None:
    assert [fold["validation"] for fold in read_json(space.folds)] == [NAMES[:4], NAMES[4:]]
    for name in (LOW, CASCADE):
        masks = {path.name for path in (space.run(name, 0) / "validation").glob("*.nii.gz")}
        assert masks == {f"{case}.nii.gz" for case in NAMES[:4]}


def test_another_fold_needs_no_first_stage(space: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        result = pipeline.train(space.root, configuration=CASCADE, fold=1, device="cpu")
    assert {outcome.case: outcome.status for outcome in result.outcomes} == dict.fromkeys(NAMES[4:], "done")
    assert "trained first" not in caplog.text
    pipeline.choose(space.root)
    assert read_json(space.choice)["candidates"][0]["configuration"] in (LOW, CASCADE)
