"""Cascades: the first stage's folds come first, and the second learns from masks of cases that they had not seen."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from medseg import pipeline
from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource, write_dataset
from medseg.core.errors import PlanError
from medseg.core.model import Member, ModelRecord
from medseg.core.plan import Plan
from medseg.core.records import read_json, write_json
from medseg.core.volume import Segmentation
from medseg.core.workspace import Workspace, read_plan
from medseg.inference import Predictor, finish_model, open_model
from medseg.io import read_image, read_segmentation, write_segmentation, write_volume
from medseg.preprocessing import open_prepared
from medseg.training.cascade import CascadeCase, add_previous, gather_previous, list_missing_folds
from medseg.training.patches.memory_cases import MemoryCase, hold_in_memory
from medseg.training.run_order import choose_jobs
from medseg.training.runs import run_fold
from medseg.training.splits import finished_folds
from medseg.training.stages import order_stages, train_stages
from tests.preprocessing.examples import CLASSES, make_scan
from tests.training.examples import make_configuration, make_plan

LOW, FULL = "3d_lowres", "3d_cascade_fullres"
NAMES = ["s0", "s1", "s2", "s3"]
OWNERS = {"s0": 0, "s1": 0, "s2": 1, "s3": 1}
FOLDS = [{"train": NAMES[2:], "validation": NAMES[:2]}, {"train": NAMES[:2], "validation": NAMES[2:]}]


def make_cascade_plan() -> Plan:
    first = make_configuration(iterations_per_epoch=2, epochs=1)
    first = first.model_copy(update={"name": LOW, "spacing_mm": (2.0, 2.0, 2.0)})
    second = make_configuration(iterations_per_epoch=2, epochs=1).model_copy(update={"name": FULL, "previous": LOW})
    full = second.model_copy(update={"name": "3d_fullres", "previous": None})
    found = {"3d_fullres": full, LOW: first, FULL: second}
    return make_plan(first).model_copy(update={"configurations": found})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Dataset]:
    """Four scans in two folds, prepared for both stages."""
    root = tmp_path_factory.mktemp("cascade")
    cases = []
    for number, name in enumerate(NAMES):
        volume, segmentation = make_scan(seed=number)
        image, mask = root / "images" / f"{name}.nii.gz", root / "masks" / f"{name}.nii.gz"
        write_volume(image, volume)
        write_segmentation(mask, segmentation)
        cases.append(Case(name, (ImageSource(image),), MaskSource(mask)))
    space = Workspace(root / "w")
    dataset = Dataset(root, "example", "made here", tuple(cases), ("c0",), CLASSES)
    write_dataset(space.cases, dataset)
    make_cascade_plan().write(space.plan)
    write_json(space.folds, FOLDS)
    pipeline.preprocess(space.root)
    return space, dataset


@pytest.fixture(scope="module")
def trained(prepared: tuple[Workspace, Dataset], tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Dataset]:
    """Fold 0 of the second stage, trained by one command."""
    space, dataset = prepared
    space = Workspace(Path(shutil.copytree(space.root, tmp_path_factory.mktemp("trained") / "w")))
    pipeline.train(space.root, configuration=FULL, fold=0, device="cpu")
    return space, dataset


@pytest.fixture
def copied(trained: tuple[Workspace, Dataset], tmp_path: Path) -> tuple[Workspace, Dataset]:
    return Workspace(Path(shutil.copytree(trained[0].root, tmp_path / "w"))), trained[1]


def mask_path(space: Workspace, name: str) -> Path:
    return space.run(LOW, OWNERS[name]) / "validation" / f"{name}.nii.gz"


def sources_of(space: Workspace, dataset: Dataset) -> Iterator[CascadeCase]:
    plan = read_plan(space)
    cases = [open_prepared(space.prepared(FULL), name) for name in NAMES]
    masks, failures = gather_previous(space, dataset, plan, plan.configuration(FULL), cases)
    assert failures == []
    for source in add_previous(cases, masks):
        assert isinstance(source, CascadeCase)
        yield source


def test_both_stages_are_prepared_and_alike_configurations_share_files(prepared: tuple[Workspace, Dataset]) -> None:
    space, _ = prepared
    for name in NAMES:
        files = [space.prepared(other) / f"{name}.b2nd" for other in ("3d_fullres", FULL, LOW)]
        assert files[0].samefile(files[1])
        assert not files[0].samefile(files[2])


def test_one_command_trains_the_first_stage_s_folds_then_the_wanted_one(trained: tuple[Workspace, Dataset]) -> None:
    space, _ = trained
    assert finished_folds(space, LOW) == [0, 1]
    assert finished_folds(space, FULL) == [0]
    assert {path.name for path in (space.run(FULL, 0) / "validation").iterdir()} == {
        "s0.nii.gz",
        "s1.nii.gz",
        "scores.csv",
    }


def test_finished_folds_are_not_trained_again(
    copied: tuple[Workspace, Dataset], caplog: pytest.LogCaptureFixture
) -> None:
    space, dataset = copied
    before = {name: mask_path(space, name).stat().st_mtime_ns for name in NAMES}
    shutil.rmtree(space.run(LOW, 1) / "validation")
    with caplog.at_level(logging.INFO):
        outcomes, scores = train_stages(space, dataset, FULL, 1, seconds=2.0, device="cpu")
    assert "whose folds 1 are trained first" in caplog.text
    assert "shared by 2 networks: 1 s each" in caplog.text
    assert {outcome.case: outcome.status for outcome in outcomes} == {"s2": "done", "s3": "done"}
    assert {score.case for score in scores} == {"s2", "s3"}
    assert [mask_path(space, name).stat().st_mtime_ns == before[name] for name in NAMES] == [True, True, False, False]


def test_what_cannot_work_is_told_before_the_first_stage_is_trained(
    prepared: tuple[Workspace, Dataset], tmp_path: Path
) -> None:
    space = Workspace(Path(shutil.copytree(prepared[0].root, tmp_path / "w")))
    with pytest.raises(PlanError, match="there is no fold 5"):
        train_stages(space, prepared[1], FULL, 5, device="cpu")
    with pytest.raises(PlanError, match="unknown setting"):
        train_stages(space, prepared[1], FULL, 0, device="cpu", settings={"x": "1"})
    with pytest.raises(PlanError, match="folds 0, 1 are not trained yet"):
        run_fold(space, prepared[1], FULL, 0, device="cpu")
    assert not (space.root / "runs").exists()
    write_json(space.folds, [])
    with pytest.raises(PlanError, match="no folds"):
        train_stages(space, prepared[1], FULL, "all", device="cpu")


def test_the_further_channels_are_the_masks_of_the_fold_that_validates_the_case(
    copied: tuple[Workspace, Dataset],
) -> None:
    space, dataset = copied
    # Masks that only one network can have left: a box at a place of its own for each case.
    for number, name in enumerate(NAMES):
        geometry = read_image(dataset.cases[number].images[0].path).geometry
        values = np.zeros(geometry.shape, np.uint8)
        values[4 + number : 10 + number, 5:12, 3:7] = 1
        values[8:12, 14:18, 4 + number : 9 + number] = 3
        write_segmentation(mask_path(space, name), Segmentation(values, geometry))
        wrong = space.run(LOW, 1 - OWNERS[name]) / "validation" / f"{name}.nii.gz"
        write_segmentation(wrong, Segmentation(np.full(geometry.shape, 3, np.uint8), geometry))
    for number, source in enumerate(sources_of(space, dataset)):
        image, reference = source.read_patch((0, 0, 0), source.shape)
        plain, plain_reference = source.source.read_patch((0, 0, 0), source.shape)
        assert np.array_equal(image[:1], plain)
        assert np.array_equal(reference, plain_reference)
        grid = open_prepared(space.prepared(FULL), NAMES[number]).grid
        assert not grid.is_resampled
        box = tuple(slice(a, b) for a, b in zip(grid.crop_start, grid.crop_stop, strict=True))
        left = read_segmentation(mask_path(space, NAMES[number])).array.transpose(grid.axis_order)[box]
        assert np.array_equal(image[1:], [left == 1, left == 3])
        inner = source.read_patch((2, 3, 4), (6, 9, 10))[0]
        assert np.array_equal(inner, image[:, 2:6, 3:9, 4:10])


def test_in_memory_they_read_the_same(trained: tuple[Workspace, Dataset]) -> None:
    space, dataset = trained
    on_disk = list(sources_of(space, dataset))
    masks = {source.name: source.mask for source in on_disk}
    held = add_previous(hold_in_memory([source.source for source in on_disk]), masks)
    for first, second in zip(on_disk, held, strict=True):
        assert isinstance(second.source, MemoryCase)
        assert second.mask.held is not None
        for one, other in zip(*(case.read_patch((1, 0, 2), (5, 8, 9)) for case in (first, second)), strict=True):
            assert np.array_equal(one, other)


def test_masks_are_brought_anew_when_the_first_stage_is_trained_anew(copied: tuple[Workspace, Dataset]) -> None:
    space, dataset = copied
    stored = {name: space.prepared(FULL) / f"{name}.previous.b2nd" for name in NAMES}
    before = {name: path.stat().st_mtime_ns for name, path in stored.items()}
    assert [source.name for source in sources_of(space, dataset)] == NAMES
    assert {name: path.stat().st_mtime_ns for name, path in stored.items()} == before
    run_fold(space, dataset, LOW, 0, device="cpu", restart=True, settings={"seed": "9"})
    changed = [
        source.name
        for source in sources_of(space, dataset)
        if stored[source.name].stat().st_mtime_ns != before[source.name]
    ]
    assert changed == ["s0", "s1"]
    # Fold 0 of the second stage learned from s2 and s3, whose masks are as they were; fold 1 would have noticed.
    run_fold(space, dataset, FULL, 0, device="cpu")
    run_fold(space, dataset, LOW, 1, device="cpu", restart=True, settings={"seed": "9"})
    with pytest.raises(PlanError, match="masks_of_the_first_stage"):
        run_fold(space, dataset, FULL, 0, device="cpu")


def test_a_case_without_a_mask_is_named_and_left_out(copied: tuple[Workspace, Dataset]) -> None:
    space, dataset = copied
    mask_path(space, "s3").unlink()
    outcomes, _ = run_fold(space, dataset, FULL, 0, device="cpu", restart=True)
    found = {outcome.case: (outcome.status, outcome.code) for outcome in outcomes}
    assert found == {"s0": ("done", ""), "s1": ("done", ""), "s3": ("refused", "no_mask")}
    assert read_json(space.run(FULL, 0) / "run.json")["training_cases"] == ["s2"]
    write_json(space.folds, FOLDS[:1])
    with pytest.raises(PlanError, match="no training case"):
        run_fold(space, dataset, FULL, 0, device="cpu", restart=True)


def test_folds_that_changed_since_the_first_stage_was_trained_are_noticed(copied: tuple[Workspace, Dataset]) -> None:
    space, _ = copied
    write_json(space.folds, [{"train": ["s0", "s3"], "validation": ["s1", "s2"]}, FOLDS[1]])
    with pytest.raises(PlanError, match="3d_lowres fold 0 was trained on s2") as caught:
        list_missing_folds(space, LOW)
    assert "--restart" in (caught.value.remedy or "")


def test_the_model_holds_both_stages_and_predicts_as_the_second_was_validated(
    copied: tuple[Workspace, Dataset],
) -> None:
    space, dataset = copied
    pipeline.choose(space.root, configurations=[FULL])
    model = open_model(space.model)
    member = Member(configuration=FULL, folds=(0,), previous=LOW, previous_folds=(0, 1))
    assert model.record.members == (member,)
    for name, folds in ((LOW, (0, 1)), (FULL, (0,))):
        assert {f"weights/{name}/fold_{fold}.safetensors" for fold in folds} <= set(model.record.files)
    # With the one fold that had not seen a case, prediction is its validation.
    alone = member.model_copy(update={"previous_folds": (0,)})
    record = ModelRecord.read(space.model / "model.json")
    finish_model(space.model, model.plan, record.model_copy(update={"members": (alone,), "postprocessing": ()}))
    predictor = Predictor.load(space.model, device="cpu")
    for name in ("s0", "s1"):
        path = dataset.cases[NAMES.index(name)].images[0].path
        found = predictor.predict(path).segmentation.array
        validated = read_segmentation(space.run(FULL, 0) / "validation" / f"{name}.nii.gz").array
        assert len(np.unique(validated)) > 1
        assert (found == validated).mean() > 0.995  # prepared in float64 here and in float16 on disk


def test_jobs_of_a_cascade(prepared: tuple[Workspace, Dataset], trained: tuple[Workspace, Dataset]) -> None:
    space, plan = prepared[0], read_plan(prepared[0])
    assert order_stages(plan, [FULL, "3d_fullres"]) == [LOW, FULL, "3d_fullres"]
    assert choose_jobs(space, [FULL], "1", timed=True) == [(LOW, 0), (LOW, 1), (FULL, 1)]
    assert choose_jobs(space, [FULL], "all", timed=False) == [(LOW, 0), (LOW, 1), (FULL, "all")]
    assert choose_jobs(space, [FULL, LOW], "1", timed=False) == [(LOW, 0), (LOW, 1), (FULL, 1)]
    each = [(name, fold) for name in ("3d_fullres", LOW, FULL) for fold in (0, 1)]
    assert choose_jobs(space, None, "each", timed=False) == each
    assert choose_jobs(space, None, "0", timed=False) == [("3d_fullres", 0), (LOW, 0)]
    assert choose_jobs(space, None, None, timed=True) == [("3d_fullres", 0)]
    assert choose_jobs(trained[0], [FULL], "0", timed=False) == [(FULL, 0)]


def test_on_all_cases_the_masks_are_still_out_of_fold(copied: tuple[Workspace, Dataset]) -> None:
    space, dataset = copied
    outcomes, scores = train_stages(space, dataset, FULL, "all", device="cpu")
    assert outcomes == scores == []
    assert finished_folds(space, LOW) == [0, 1]
    assert sorted(read_json(space.run(FULL, "all") / "run.json")["training_cases"]) == NAMES
    assert {path.name for path in space.prepared(FULL).glob("*.previous.b2nd")} == {
        f"{name}.previous.b2nd" for name in NAMES
    }
