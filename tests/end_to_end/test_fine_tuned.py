"""A model is fine-tuned on another data set with other labels: one command, and step by step."""

import json
from pathlib import Path
from typing import Any

import pytest

from medseg import pipeline
from medseg.core.errors import ModelError, PlanError
from medseg.core.plan import Plan
from medseg.core.workspace import Workspace
from medseg.inference import open_model
from medseg.training.fine_tuning.transfer import StartRecord
from tests.end_to_end.scans import write_data_set

SETTINGS: dict[str, Any] = {"folds": "0", "configurations": ["2d"], "device": "cpu", "epochs": 1}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a model of organ and tumour."""
    folder = tmp_path_factory.mktemp("source")
    pipeline.run(write_data_set(folder / "data"), folder / "W", **SETTINGS, settings={"iterations_per_epoch": "3"})
    return Workspace(folder / "W")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same scans, whose labels have other names but for one."""
    folder = write_data_set(tmp_path_factory.mktemp("other"))
    content = json.loads((folder / "dataset.json").read_text("utf-8"))
    content["labels"] = {"background": 0, "organ": 1, "cyst": 2}
    (folder / "dataset.json").write_text(json.dumps(content), "utf-8")
    return folder


def test_one_command_plans_like_the_model_and_begins_from_it(source: Workspace, other: Path, tmp_path: Path) -> None:
    settings = {"iterations_per_epoch": "2", "learning_rate": "0.0001"}
    result = pipeline.run(other, tmp_path, **SETTINGS, settings=settings, start_from=source.root)
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    space, model = Workspace(tmp_path), open_model(source.model)
    plan, theirs = Plan.read(space.plan), model.plan.configuration("2d")
    ours = plan.configuration("2d")
    assert (ours.network, ours.spacing_mm, ours.patch_size) == (theirs.network, theirs.spacing_mm, theirs.patch_size)
    assert plan.preset == f"like-{model.digest[:16]}"
    record = StartRecord.read(space.run("2d", 0) / "start.json")
    assert record.labels == {"background": "background", "organ": "organ", "cyst": "new, 0 at first"}
    assert record.share == 1.0
    made = open_model(space.model)
    assert made.record.labels.names == ("organ", "cyst")
    assert made.record.provenance["started_from"].startswith(model.digest)


def test_step_by_step(source: Workspace, other: Path, tmp_path: Path) -> None:
    result = pipeline.plan(other, tmp_path, like=source.model, explain=True)
    assert "fine-tuning a model of" in result.text
    assert list(result.content["configurations"]) == ["2d"]  # what the model has a network of
    pipeline.preprocess(tmp_path)
    settings = {"iterations_per_epoch": "2"}
    for _ in range(2):  # the second time nothing is left to do
        pipeline.train(
            tmp_path, configuration="2d", fold=0, epochs=1, device="cpu", settings=settings, start_from=source.model
        )
    with pytest.raises(PlanError, match="other start_from"):
        pipeline.train(tmp_path, configuration="2d", fold=0, epochs=1, device="cpu", settings=settings)


def test_what_cannot_be_begun_from_is_told_before_scans_are_read(other: Path, tmp_path: Path) -> None:
    for call in (
        lambda: pipeline.run(other, tmp_path / "W", start_from=tmp_path / "nothing"),
        lambda: pipeline.plan(other, tmp_path / "W", like=tmp_path / "nothing"),
    ):
        with pytest.raises(ModelError, match=r"no model\.json"):
            call()
    with pytest.raises(PlanError, match="from the model"):
        pipeline.plan(other, tmp_path / "W", like=tmp_path, preset="cpu")
    assert not (tmp_path / "W" / "fingerprint.json").exists()
