"""CT and PET of one patient, each on its own grid, through check, plan and preprocess."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg import parse_labels, pipeline, read_volume
from medseg.core.dataset import read_dataset
from medseg.core.plan import Plan
from medseg.core.workspace import Workspace
from medseg.preprocessing import open_prepared, read_index

DATA = Path(os.environ.get("MEDSEG_TEST_DATA", "")) / "data" / "sarcoma_ct_pet"

pytestmark = pytest.mark.skipif(
    "MEDSEG_TEST_DATA" not in os.environ or not DATA.is_dir(), reason="MEDSEG_TEST_DATA has no data/sarcoma_ct_pet"
)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("workspace")
    result = pipeline.plan(DATA, folder, preset="cpu", channels=["CT", "PET"], labels=parse_labels("tumour=1"))
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    return Workspace(folder)


def test_check_passes_both_channels() -> None:
    result = pipeline.check(DATA)
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    assert len(result.outcomes) == 10
    assert "channels: CT, PET" in result.text


def test_channels_of_one_patient_are_brought_onto_one_grid(space: Workspace) -> None:
    dataset = read_dataset(space.cases)
    assert dataset.channels == ("CT", "PET")
    case = dataset.cases[0]
    ct, pet = (nib.load(source.path) for source in case.images)
    assert ct.shape != pet.shape
    volume = read_volume(case, dataset.channels)
    assert volume.geometry.shape == ct.shape
    assert np.array_equal(volume.array[0], np.asarray(ct.dataobj))
    middle = np.asarray(ct.shape) // 2
    index = np.linalg.inv(pet.affine) @ ct.affine @ [*middle, 1]
    near = np.asarray(pet.dataobj)[tuple(slice(int(n) - 1, int(n) + 3) for n in index[:3])]
    assert near.min() <= volume.array[1][tuple(middle)] <= near.max()


def test_the_plan_normalises_ct_and_pet_each_its_own_way(space: Workspace) -> None:
    plan = Plan.read(space.plan)
    assert plan.channels == ("CT", "PET")
    for configuration in plan.configurations.values():
        assert [part.scheme for part in configuration.normalisation] == ["ct", "zscore"]


def test_all_cases_are_prepared(space: Workspace) -> None:
    result = pipeline.preprocess(space.root, configurations=["3d_fullres"])
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    names = read_index(space.prepared("3d_fullres"))
    assert len(names) == 10
    for name in names:
        image, reference = open_prepared(space.prepared("3d_fullres"), name).read_all()
        assert image.shape[0] == 2
        assert np.isfinite(image).all()
        assert reference is not None
        assert (reference == 1).any()
