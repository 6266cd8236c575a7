"""The example data sets through the steps: layouts that agree, pictures, and volumes held against the truth."""

import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg import parse_labels, pipeline
from medseg.core.fingerprint import Fingerprint
from medseg.core.plan import Plan
from medseg.core.records import read_json
from medseg.core.results import Measurement, read_rows
from medseg.preprocessing import open_prepared

ROOT = Path(__file__).parents[2] / "data_examples"
PHANTOM, CELLS = ROOT / "phantom_ct", ROOT / "cells_2d"
SAME_PLACE_MM = 1.5


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantoms as two folders and nothing else; the folder is called as the data set, whose name the plan holds."""
    root = tmp_path_factory.mktemp("bare") / "phantom_ct"
    for source, target in (("imagesTr", "images"), ("labelsTr", "masks")):
        (root / target).mkdir(parents=True)
        for path in (PHANTOM / source).iterdir():
            shutil.copy(path, root / target / path.name.replace("_0000", ""))
    return root


@pytest.fixture(scope="module")
def named_plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    space = tmp_path_factory.mktemp("named")
    pipeline.plan(PHANTOM, space)
    return Plan.read(space / "plan.json")


def test_two_bare_folders_give_the_same_plan(bare: Path, named_plan: Plan, tmp_path: Path) -> None:
    result = pipeline.plan(bare, tmp_path, labels=parse_labels("organ=1,tumour=2"))
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    assert Plan.read(tmp_path / "plan.json") == named_plan
    assert any("CT" in note for note in Fingerprint.read(tmp_path / "fingerprint.json").notes)


def test_without_names_only_the_labels_names_differ(bare: Path, named_plan: Plan, tmp_path: Path) -> None:
    pipeline.plan(bare, tmp_path)
    plan = Plan.read(tmp_path / "plan.json")
    assert plan.labels.labels == {"label_1": (1,), "label_2": (2,)}
    assert plan.model_copy(update={"labels": named_plan.labels}) == named_plan


def test_pictures_are_planned_and_prepared_as_2d(tmp_path: Path) -> None:
    result = pipeline.plan(CELLS, tmp_path, preset="cpu", labels=parse_labels("255=cell"))
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    plan = Plan.read(tmp_path / "plan.json")
    assert list(plan.configurations) == ["2d"]
    assert plan.labels.labels == {"cell": (255,)}
    assert {outcome.status for outcome in pipeline.preprocess(tmp_path).outcomes} == {"done"}
    cases = read_json(tmp_path / "prepared" / "2d" / "index.json")["cases"]
    assert len(cases) == 24
    for case in cases:
        image, reference = open_prepared(tmp_path / "prepared" / "2d", case).read_all()
        assert image.shape[:2] == (1, 1)
        assert reference is not None
        assert image.shape[1:] == reference.shape
        assert set(np.unique(reference).tolist()) <= {0, 255}


def test_pictures_without_a_name_for_255_are_named(tmp_path: Path) -> None:
    pipeline.fingerprint(CELLS, tmp_path)
    assert Fingerprint.read(tmp_path / "fingerprint.json").labels.labels == {"label_255": (255,)}


def true_rows() -> list[dict[str, str]]:
    with (PHANTOM / "volumes.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module", params=["Tr", "Ts"])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Measurement]:
    output = tmp_path_factory.mktemp("tables")
    result = pipeline.measure(PHANTOM / f"labels{request.param}", output)
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    return read_rows(output / "measurements.csv", Measurement)


def value_of(rows: list[Measurement], case: str, label: str, instance: int, quantity: str) -> float:
    (row,) = [r for r in rows if (r.case, r.label, r.instance, r.quantity) == (case, label, instance, quantity)]
    assert row.value is not None, row.status
    return row.value


def test_whole_volumes_and_counts_are_the_true_ones(measured: list[Measurement]) -> None:
    cases = {row.case for row in measured}
    truth = [row for row in true_rows() if row["case"] in cases]
    assert len(cases) in (24, 6)
    whole = [row for row in truth if row["instance"] == "0"]
    assert len(whole) == 2 * len(cases)
    for row in whole:
        found = value_of(measured, row["case"], row["label"], 0, "volume_ml")
        assert abs(found - float(row["volume_ml"])) <= float(row["bound_ml"]), row
    for case in cases:
        lesions = [row for row in truth if row["case"] == case and row["instance"] != "0"]
        assert value_of(measured, case, "tumour", 0, "lesion_count") == len(lesions)


def test_patients_and_days_are_the_true_ones(measured: list[Measurement]) -> None:
    truth = {row["case"]: (row["patient"], int(row["day"])) for row in true_rows()}
    assert all((row.patient, row.day) == truth[row.case] for row in measured)


def test_each_lesion_has_its_true_volume_and_place(measured: list[Measurement]) -> None:
    cases = {row.case for row in measured}
    truth = [row for row in true_rows() if row["case"] in cases and row["instance"] != "0"]
    places = {
        (row.case, row.instance): [
            value_of(measured, row.case, "tumour", row.instance, f"centroid_{axis}_mm") for axis in "xyz"
        ]
        for row in measured
        if row.label == "tumour" and row.instance > 0 and row.quantity == "volume_ml"
    }
    taken = set()
    for row in truth:
        place = [float(row[f"centroid_{axis}_mm"]) for axis in "xyz"]
        distances = {
            key: np.linalg.norm(np.subtract(where, place)) for key, where in places.items() if key[0] == row["case"]
        }
        key = min(distances, key=lambda k: distances[k])
        taken.add(key)
        assert distances[key] <= SAME_PLACE_MM, row
        found = value_of(measured, row["case"], "tumour", key[1], "volume_ml")
        assert abs(found - float(row["volume_ml"])) <= float(row["bound_ml"]), row
    assert taken == set(places)


def test_diameters_are_the_true_ones_within_a_voxel(measured: list[Measurement]) -> None:
    cases = {row.case for row in measured}
    for row in true_rows():
        if row["case"] not in cases or not row["diameter_3d_mm"] or row["label"] != "tumour":
            continue
        path = next(PHANTOM.glob(f"labelsT*/{row['case']}.nii.gz"))
        diagonal = np.linalg.norm(nib.affines.voxel_sizes(nib.load(path).affine))
        lesions = [r for r in measured if (r.case, r.label, r.quantity) == (row["case"], "tumour", "diameter_3d_mm")]
        assert min(abs((r.value or 0) - float(row["diameter_3d_mm"])) for r in lesions) <= diagonal, row
