"""What the errors of a model's volumes are learnt from: cases that no network had seen, with a known true volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource
from medseg.core.geometry import Geometry
from medseg.core.manifest import hash_file
from medseg.core.model import Member, Rule, VolumeErrors
from medseg.core.plan import Plan
from medseg.core.records import write_json
from medseg.core.volume import Segmentation
from medseg.core.workspace import Workspace
from medseg.io import write_segmentation
from medseg.measurement.conformal import VolumePair
from medseg.training.volume_errors import (
    NO_FOLD,
    collect_volumes,
    learn_volume_errors,
    measure_volumes,
    tell_errors,
)
from tests.core.examples import make_errors
from tests.inference.examples import write_model
from tests.preprocessing.examples import CLASSES, REGIONS
from tests.training.examples import make_configuration, make_plan

GEOMETRY = Geometry.from_spacing((12, 10, 8), (1.0, 2.0, 5.0))  # a voxel of 0.01 ml
COUNT = 46
NAME = "3d_fullres"


def write_mask(path: Path, organ: int, *, ignored: bool = False, specks: int = 0) -> None:
    """A block of ``organ`` voxels, and single voxels apart from it."""
    array = np.zeros(GEOMETRY.shape, np.uint8)
    array.reshape(-1)[:organ] = 1
    array[-1, 1 : 1 + 2 * specks : 2, -1] = 1
    if ignored:
        array[-1, 0, 0] = 255
    write_segmentation(path, Segmentation(array, GEOMETRY))


@pytest.fixture
def study(tmp_path: Path) -> tuple[Workspace, Dataset, Plan]:
    """Two folds whose networks draw 10 % too little; case n has 400 + n voxels in truth."""
    space, cases = Workspace(tmp_path / "w"), []
    plan = make_plan(make_configuration())
    for number in range(COUNT):
        name = f"s{number:02d}"
        mask = tmp_path / "masks" / f"{name}.nii.gz"
        write_mask(mask, 400 + number)
        write_mask(space.run(NAME, number % 2) / "validation" / f"{name}.nii.gz", round(0.9 * (400 + number)))
        cases.append(Case(name, (ImageSource(mask),), MaskSource(mask), patient=f"p{number}"))
    names = [case.name for case in cases]
    write_json(space.folds, [{"train": names[1 - fold :: 2], "validation": names[fold::2]} for fold in (0, 1)])
    write_model(space.model, folds=(0, 1))
    return space, Dataset(tmp_path, "example", "made here", tuple(cases), ("c0",), CLASSES), plan


def learn(study: tuple[Workspace, Dataset, Plan], *rules: Rule, folds: tuple[int | str, ...] = (0, 1)) -> VolumeErrors:
    return learn_volume_errors(*study, Member(configuration=NAME, folds=folds), rules)


def test_volumes_of_classes_and_regions_are_counted() -> None:
    array = np.zeros(GEOMETRY.shape, np.uint8)
    array[2:4, 3, 1:6], array[4, 4, 4] = 1, 2
    found = measure_volumes(Segmentation(array, GEOMETRY), REGIONS)
    assert found == pytest.approx({"whole": 0.11, "core": 0.01})
    empty = measure_volumes(Segmentation(np.zeros_like(array), GEOMETRY), CLASSES)
    assert empty == {"organ": 0.0, "tumour": 0.0}


def test_each_validation_case_is_a_pair(study: tuple[Workspace, Dataset, Plan]) -> None:
    found = collect_volumes(*study, NAME, (0, 1))
    assert found.left_out == 0
    assert {fold: len(own) for fold, own in found.pairs["organ"].items()} == {0: 23, 1: 23}
    first = found.pairs["organ"][1][0]
    assert first == VolumePair("p1", pytest.approx(3.61), pytest.approx(4.01))
    assert {pair.reference_ml for own in found.pairs["tumour"].values() for pair in own} == {0.0}


def test_the_bounds_know_the_bias_and_what_they_come_from(study: tuple[Workspace, Dataset, Plan]) -> None:
    errors = learn(study)
    organ, tumour = errors.labels
    (stratum,) = organ.strata
    assert (stratum.patients, stratum.cases, stratum.tails) == (COUNT, COUNT, "both")
    assert 1.10 < stratum.low <= stratum.high < 1.12
    assert (organ.smallest_ml, organ.largest_ml) == pytest.approx((3.6, 4.0), abs=0.01)
    assert "0 patients with tumour" in tumour.reason
    space = study[0]
    assert errors.weights == {
        f"weights/{NAME}/fold_{fold}.safetensors": hash_file(space.model / f"weights/{NAME}/fold_{fold}.safetensors")
        for fold in (0, 1)
    }
    assert (errors.configuration, errors.folds, errors.postprocessing) == (NAME, (0, 1), ())


def test_the_masks_are_those_after_postprocessing(study: tuple[Workspace, Dataset, Plan]) -> None:
    space = study[0]
    for path in (space.run(NAME, 0) / "validation").iterdir():
        write_mask(path, 360, specks=4)
    rule = Rule(label="organ", keep_largest=True)
    kept, whole = collect_volumes(*study, NAME, (0,), (rule,)), collect_volumes(*study, NAME, (0,))
    for found, expected in ((kept, 3.6), (whole, 3.64)):
        assert [pair.predicted_ml for pair in found.pairs["organ"][0]] == pytest.approx([expected] * 23)
    assert learn(study, rule).postprocessing == (rule,)


def test_a_single_fold_learns_from_its_own_validation_cases(study: tuple[Workspace, Dataset, Plan]) -> None:
    errors = learn(study, folds=(0,))
    assert errors.folds == (0,)
    assert errors.labels[0].strata[0].patients == 23
    assert errors.labels[0].strata[0].tails == "together"


def test_cases_that_teach_nothing_are_left_out(study: tuple[Workspace, Dataset, Plan], tmp_path: Path) -> None:
    space, dataset, plan = study
    write_mask(tmp_path / "masks" / "s00.nii.gz", 400, ignored=True)
    (space.run(NAME, 0) / "validation" / "s02.nii.gz").write_bytes(b"no mask")
    write_mask(space.run(NAME, 0) / "validation" / "stranger.nii.gz", 400)
    cases = list(dataset.cases)
    # The patient of a validation case is among those trained on.
    cases[4] = Case(cases[4].name, cases[4].images, cases[4].mask, patient=cases[5].patient)
    again = Dataset(dataset.root, dataset.name, dataset.layout, tuple(cases), dataset.channels, dataset.labels)
    found = collect_volumes(space, again, plan, NAME, (0, 1))
    left_out = {"p0", "p2", "p5"}
    assert not left_out & {pair.patient for own in found.pairs["organ"].values() for pair in own}
    assert found.left_out == 5  # s00, s02, stranger, s04, and s05, whose patient fold 1 trained on


def test_too_few_patients_or_no_fold_give_the_reason(study: tuple[Workspace, Dataset, Plan]) -> None:
    space, dataset, plan = study
    (space.run(NAME, "all") / "validation").mkdir(parents=True)
    write_model(space.model, folds=("all",))
    nothing = learn(study, folds=("all",))
    assert {own.reason for own in nothing.labels} == {NO_FOLD}
    for path in sorted((space.run(NAME, 0) / "validation").iterdir())[19:]:
        path.unlink()
    write_model(space.model, folds=(0,))
    few = learn((space, dataset, plan), folds=(0,)).labels[0]
    assert few.strata == ()
    assert "19 patients with organ" in few.reason


def test_the_errors_are_told_in_words(study: tuple[Workspace, Dataset, Plan]) -> None:
    space = study[0]
    write_mask(space.run(NAME, 0) / "validation" / "s00.nii.gz", 0)
    told = tell_errors(learn(study))
    assert told["organ"] == (
        "organ: in 95% of patients the true volume is 1.11 to 1.11 times the predicted volume (45 patients); "
        "cases with it that were missed altogether: 1"
    )
    assert told["tumour"].startswith("tumour: no error bars of volumes: 0 patients with tumour")
    parts = make_errors(CLASSES, low=0.95, high=1.05)
    assert tell_errors(parts)["organ"] == (
        "organ: in 95% of patients the true volume is 0.85 to 1.15 times the predicted volume where that is below 1 ml "
        "(40 patients), 0.95 to 1.05 times the predicted volume where that is from 1 ml (50 patients)"
    )
