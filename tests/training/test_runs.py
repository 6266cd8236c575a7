"""Folds of a workspace: which cases, which settings, what becomes the model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medseg.core.channel_rules import ChannelRule
from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource
from medseg.core.errors import ModelError, PlanError
from medseg.core.label_codes import LabelCodes
from medseg.core.model import ModelRecord
from medseg.core.records import write_json
from medseg.core.results import Score, read_rows
from medseg.core.volume import Volume
from medseg.core.workspace import Workspace
from medseg.fingerprint import extract_fingerprint, inspect_dataset
from medseg.inference import Predictor, open_model
from medseg.inference.familiarity import find_unfamiliar
from medseg.io import read_image, read_segmentation, write_segmentation, write_volume
from medseg.preprocessing.cases import prepare_cases
from medseg.training import choose_candidate, rate_candidate
from medseg.training.choosing import Candidate
from medseg.training.models import build_model
from medseg.training.runs import run_fold
from medseg.training.splits import finished_folds, split_cases
from tests.preprocessing.examples import CLASSES, make_scan
from tests.training.examples import make_configuration, make_plan

COUNT = 4


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Dataset]:
    root = tmp_path_factory.mktemp("workspace")
    configuration = make_configuration(iterations_per_epoch=3, epochs=1)
    plan = make_plan(configuration)
    cases = []
    for number in range(COUNT):
        volume, segmentation = make_scan(seed=number)
        image, mask = root / "images" / f"s{number}.nii.gz", root / "masks" / f"s{number}.nii.gz"
        write_volume(image, volume)
        write_segmentation(mask, segmentation)
        cases.append(Case(f"s{number}", (ImageSource(image),), MaskSource(mask)))
    space = Workspace(root / "w")
    dataset = Dataset(root, "example", "made here", tuple(cases), ("c0",), CLASSES)
    plan.write(space.plan)
    names = [case.name for case in cases]
    write_json(space.folds, [{"train": names[1:], "validation": names[:1]}, {"train": names[:3], "val": names[3:]}])
    prepare_cases(dataset, plan, configuration, space.prepared(configuration.name))
    return space, dataset


@pytest.fixture(scope="module")
def trained(workspace: tuple[Workspace, Dataset]) -> tuple[Workspace, Dataset]:
    for fold in (0, 1):
        run_fold(*workspace, "3d_fullres", fold, device="cpu")
    return workspace


def test_folds_divide_the_cases(workspace: tuple[Workspace, Dataset]) -> None:
    space, _ = workspace
    for fold, training, validation in [
        (0, ["s1", "s2", "s3"], ["s0"]),
        (1, ["s0", "s1", "s2"], ["s3"]),  # nnU-Net's splits_final.json says val
        ("all", ["s0", "s1", "s2", "s3"], []),
    ]:
        found = split_cases(space, "3d_fullres", fold)  # type: ignore[arg-type]
        assert [case.name for case in found.training] == training
        assert [case.name for case in found.validation] == validation
        assert found.damaged == []


@pytest.mark.parametrize("fold", [2, -1, "some"])
def test_unknown_folds_are_refused(workspace: tuple[Workspace, Dataset], fold: int | str) -> None:
    with pytest.raises(PlanError, match="there is no fold") as caught:
        split_cases(workspace[0], "3d_fullres", fold)
    assert caught.value.remedy == "There are: 0, 1, all"


def test_a_fold_is_validated_on_whole_scans(trained: tuple[Workspace, Dataset]) -> None:
    space, dataset = trained
    folder = space.run("3d_fullres", 0) / "validation"
    rows = read_rows(folder / "scores.csv", Score)
    assert {(row.case, row.fold) for row in rows} == {("s0", 0)}
    mask = read_segmentation(folder / "s0.nii.gz", labels=CLASSES)
    reference = read_segmentation(dataset.cases[0].mask, labels=CLASSES)  # type: ignore[arg-type]
    assert mask.geometry.same_grid(reference.geometry)
    organ, truth = mask.array == 1, reference.array == 1
    dice = next(row.value for row in rows if row.metric == "dice" and row.label == "organ")
    assert dice == pytest.approx(2 * (organ & truth).sum() / (organ.sum() + truth.sum()))


def test_the_model_knows_what_its_training_scans_looked_like(trained: tuple[Workspace, Dataset]) -> None:
    space, dataset = trained
    build_model(space, dataset)
    assert open_model(space.model).record.familiar is None  # without a fingerprint nothing is known
    inspection = inspect_dataset(dataset)
    extract_fingerprint(inspection.dataset, inspection.summaries).write(space.fingerprint)
    build_model(space, dataset)
    familiar = open_model(space.model).record.familiar
    assert familiar is not None
    assert familiar.mirrored_axes == (0, 1, 2)
    volume = read_image(dataset.cases[0].images[0].path)
    assert find_unfamiliar(volume, familiar) == []
    bright = Volume(volume.array * np.float32(1000), volume.geometry, volume.channels)
    assert len(find_unfamiliar(bright, familiar)) == 1
    space.fingerprint.unlink()


def test_the_model_is_the_folds_that_were_trained(trained: tuple[Workspace, Dataset]) -> None:
    space, dataset = trained
    assert finished_folds(space, "3d_fullres") == [0, 1]
    rules = (ChannelRule(channel="c0", modality="CT"),)
    codes = {name: LabelCodes(type=("A-1", "99OURS", name)) for name in ("tumour", "of another data set")}
    choice = build_model(space, replace(dataset, channel_rules=rules, codes=codes))
    assert choice.chosen.configuration == "3d_fullres"
    assert choice.chosen.folds == (0, 1)
    assert choice.chosen.cases == 2
    model = open_model(space.model)
    assert model.record.members[0].folds == (0, 1)
    assert model.record.labels == CLASSES
    assert model.record.channel_rules == rules
    assert model.record.codes == {"tumour": codes["tumour"]}
    assert set(choice.postprocessing) == {"organ", "tumour"}
    path = dataset.cases[0].images[0].path
    prediction = Predictor.load(space.model, device="cpu").predict(path)
    assert prediction.segmentation.geometry.same_grid(read_image(path).geometry)


def test_the_fold_of_all_cases_gives_a_model_without_scores(
    workspace: tuple[Workspace, Dataset], tmp_path: Path
) -> None:
    space, dataset = workspace
    outcomes, scores = run_fold(space, dataset, "3d_fullres", "all", device="cpu", epochs=1)
    assert outcomes == scores == []
    alone = Workspace(tmp_path)
    for path in (space.plan, space.folds):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    alone.run("3d_fullres", "all").parent.mkdir(parents=True)
    space.run("3d_fullres", "all").rename(alone.run("3d_fullres", "all"))
    choice = build_model(alone, dataset)
    assert choice.chosen.folds == ("all",)
    assert choice.chosen.mean_dice is None
    record = ModelRecord.read(alone.model / "model.json")
    assert record.card["validation_dice"] == "unknown"
    assert "weights/3d_fullres/fold_all.safetensors" in record.files


def test_without_trained_folds_there_is_no_model(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    make_plan(make_configuration()).write(space.plan)
    with pytest.raises(ModelError, match="no fold is trained yet"):
        build_model(space, Dataset(tmp_path, "a", "b", ()))


def make_score(case: str, label: str, value: float | None, instance: int = 0, metric: str = "dice") -> Score:
    return Score(
        case, case, None, 0, label, instance, metric, "voxel", value, "", "ok" if value is not None else "both_empty"
    )


def test_a_candidate_is_rated_by_its_mean_over_labels_of_whole_masks() -> None:
    scores = [
        make_score("a", "organ", 0.9),
        make_score("b", "organ", 0.7),
        make_score("a", "tumour", 0.4),
        make_score("b", "tumour", None),
        make_score("a", "tumour", 0.1, instance=1),
        make_score("a", "organ", 0.2, metric="iou"),
    ]
    rated = rate_candidate("x", {0: scores[:3], 1: scores[3:]})
    assert rated.mean_dice == pytest.approx(np.mean([0.8, 0.4]))
    assert rated.cases == 2
    assert rated.folds == (0, 1)
    assert rate_candidate("x", {"all": []}).mean_dice is None


def test_the_best_candidate_is_chosen_with_its_reason() -> None:
    def make(name: str, dice: float | None) -> Candidate:
        return Candidate(configuration=name, folds=(0,), cases=3, mean_dice=dice)

    best, reason = choose_candidate([make("2d", 0.7), make("3d", 0.8), make("x", None)])
    assert best.configuration == "3d"
    assert "2d 0.7000, 3d 0.8000, x unknown" in reason
    assert choose_candidate([make("a", 0.7), make("b", 0.7)])[0].configuration == "a"
    assert choose_candidate([make("a", None)])[1] == "a is the only configuration that was trained"
    with pytest.raises(ModelError, match="no fold is trained"):
        choose_candidate([])
