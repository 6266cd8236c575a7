"""A whole training with damaged cases: it goes on, names them, and says so in its outcomes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.core.errors import DatasetError, PlanError
from medseg.core.manifest import exit_code, read_run
from medseg.core.workspace import Workspace
from medseg.io import read_segmentation, write_segmentation
from medseg.preprocessing import open_prepared, write_index
from medseg.training import EpochRecord, load_checkpoint, run_order
from medseg.training.runs import run_fold
from tests.preprocessing.examples import CLASSES
from tests.training.patches.workspaces import make_workspace

NAME = "3d_fullres"


def ruin(space: Workspace, file: str) -> Path:
    path = space.prepared(NAME) / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def ruin_after(space: Workspace, file: str, epoch: int) -> Any:
    """A callback that damages a file when an epoch has ended."""

    def callback(record: EpochRecord) -> None:
        if record.epoch == epoch:
            ruin(space, file)

    return callback


@pytest.fixture(autouse=True)
def from_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is held in memory, where no damage could reach it."""
    monkeypatch.setattr("medseg.training.patches.memory_cases.read_free_bytes", lambda: 0)


@pytest.mark.parametrize("file", ["s1.b2nd", "s1.reference.b2nd"])
def test_a_file_damaged_in_the_middle_of_training(tmp_path: Path, file: str) -> None:
    space, dataset = make_workspace(tmp_path, epochs=4)
    outcomes, scores = run_fold(space, dataset, NAME, 0, device="cpu", callbacks=[ruin_after(space, file, 1)])
    assert [(o.case, o.status, o.code) for o in outcomes] == [("s3", "done", ""), ("s1", "refused", "damaged")]
    assert exit_code(outcomes) == 3
    assert {score.case for score in scores} == {"s3"}
    folder = space.run(NAME, 0)
    assert [case["case"] for case in read_run(folder)["cases"]] == ["s3", "s1"]
    alarms = [alarm for line in (folder / "log.jsonl").read_text().splitlines() for alarm in json.loads(line)["alarms"]]
    assert [alarm for alarm in alarms if "s1" in alarm] == [f"left out: {outcomes[1].line()}"]
    assert outcomes[1].inputs == (str(space.prepared(NAME) / file),)
    assert outcomes[1].remedy


def test_going_on_keeps_the_quarantine_and_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medseg.training.trainer.CHECKPOINT_SECONDS", 0.0)
    results = []
    for stops in (False, True):
        space, dataset = make_workspace(tmp_path / str(stops), epochs=4)
        ruin(space, "s1.b2nd")

        def stop(record: EpochRecord, stops: bool = stops) -> None:
            if stops and record.epoch == 2:
                raise KeyboardInterrupt

        try:
            outcomes, _ = run_fold(space, dataset, NAME, 0, device="cpu", callbacks=[stop])
        except KeyboardInterrupt:
            checkpoint = load_checkpoint(space.run(NAME, 0) / "checkpoints")
            assert checkpoint is not None
            assert [fact["case"] for fact in checkpoint.facts["quarantine"]] == ["s1"]
            outcomes, _ = run_fold(space, dataset, NAME, 0, device="cpu")
        found = load_checkpoint(space.run(NAME, 0) / "checkpoints")
        assert found is not None
        results.append(({name: tensor.numpy() for name, tensor in found.tensors.items()}, [o.case for o in outcomes]))
    assert results[0][1] == results[1][1] == ["s3", "s1"]
    assert results[0][0].keys() == results[1][0].keys()
    assert all(np.array_equal(tensor, results[1][0][name]) for name, tensor in results[0][0].items())


@pytest.mark.parametrize("file", ["s1.json", "s1.locations.b2nd", "s3.json"])
def test_a_case_that_cannot_be_opened(tmp_path: Path, file: str) -> None:
    space, dataset = make_workspace(tmp_path)
    path = ruin(space, file)
    outcomes, _ = run_fold(space, dataset, NAME, 0, device="cpu")
    (bad,) = [outcome for outcome in outcomes if outcome.status == "refused"]
    assert bad.case == file[:2]
    assert bad.inputs == (str(path),)


def test_a_damaged_validation_case_is_named_once(tmp_path: Path) -> None:
    space, dataset = make_workspace(tmp_path)
    ruin(space, "s3.b2nd")
    outcomes, scores = run_fold(space, dataset, NAME, 0, device="cpu")
    assert [(o.case, o.status) for o in outcomes] == [("s3", "refused")]
    assert scores == []
    assert json.loads((space.run(NAME, 0) / "log.jsonl").read_text().splitlines()[-1])["patch_dice"] == {}


def test_with_every_case_damaged_nothing_is_trained(tmp_path: Path) -> None:
    space, dataset = make_workspace(tmp_path)
    for number in range(3):
        ruin(space, f"s{number}.b2nd")
    with pytest.raises(DatasetError, match="none of its 3 cases can be read") as caught:
        run_fold(space, dataset, NAME, 0, device="cpu")
    assert caught.value.code == "no_cases"


def test_a_fold_none_of_whose_cases_could_be_prepared_is_refused(tmp_path: Path) -> None:
    space, dataset = make_workspace(tmp_path)
    write_index(space.prepared(NAME), ["s0", "s1", "s2"])
    with pytest.raises(PlanError, match="no training case"):
        run_fold(space, dataset, NAME, 1, device="cpu")


def test_one_case_is_enough_for_any_batch(tmp_path: Path) -> None:
    space, dataset = make_workspace(tmp_path, count=2, batch_size=5)
    outcomes, scores = run_fold(space, dataset, NAME, 0, device="cpu")
    assert [outcome.status for outcome in outcomes] == ["done"]
    assert scores


def test_cases_without_a_label_and_labels_without_a_case_are_said_once(tmp_path: Path) -> None:
    from medseg.core.plan import Plan
    from medseg.preprocessing.cases import prepare_cases

    space, dataset = make_workspace(tmp_path)
    for case in dataset.cases[:3]:
        mask = read_segmentation(case.mask, labels=CLASSES)  # type: ignore[arg-type]
        array = np.where(mask.array == 3, 0, mask.array)  # no tumour anywhere
        array = np.zeros_like(array) if case.name == "s1" else array
        write_segmentation(case.mask.path, type(mask)(array.astype(np.uint8), mask.geometry))  # type: ignore[union-attr]
    plan = Plan.read(space.plan)
    prepare_cases(dataset, plan, plan.configuration(NAME), space.prepared(NAME))
    outcomes, _ = run_fold(space, dataset, NAME, 0, device="cpu")
    assert [outcome.status for outcome in outcomes] == ["done"]
    lines = (space.run(NAME, 0) / "log.jsonl").read_text().splitlines()
    alarms = [alarm for line in lines for alarm in json.loads(line)["alarms"]]
    assert sum("'tumour' is in no training case" in alarm for alarm in alarms) == 1
    assert sum("1 of 3 training cases hold no label and serve as background: s1" in alarm for alarm in alarms) == 1


def test_a_budget_does_not_count_on_cases_that_cannot_be_opened(tmp_path: Path) -> None:
    space, _ = make_workspace(tmp_path)
    ruin(space, "s1.json")
    assert run_order._list_shapes(space.prepared(NAME), ["s0", "s1", "s2"]) == [
        open_prepared(space.prepared(NAME), case).shape for case in ("s0", "s2")
    ]
