"""``medseg import-nnunet``: one line and one outcome per model, whatever the others are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medseg.core.errors import MedsegError
from medseg.core.manifest import exit_code
from medseg.inference import open_model
from medseg.tools.import_nnunet import import_nnunet
from tests.inference.nnunet.folders import make_configuration, make_network, make_plans, write_trained

NETWORK = make_network()
PLANS = make_plans({"3d_fullres": make_configuration(NETWORK)})
GOOD, BAD = "nnUNetTrainer__nnUNetPlans__3d_fullres", "nnUNetTrainer__nnUNetPlans__broken"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set's folder with a model and another whose checkpoint is truncated."""
    folder = tmp_path_factory.mktemp("results") / "Dataset007_Liver"
    write_trained(folder / GOOD, "3d_fullres", NETWORK, PLANS)
    write_trained(folder / BAD, "3d_fullres", NETWORK, PLANS)
    file = folder / BAD / "fold_0" / "checkpoint_final.pth"
    file.write_bytes(file.read_bytes()[:2000])
    return folder


def test_a_list_judges_every_model_and_writes_nothing(results: Path, tmp_path: Path) -> None:
    result = import_nnunet(results, tmp_path / "out", list_only=True)
    good, bad = result.text.splitlines()
    assert good == f"{GOOD}  3d_fullres  nnUNetTrainer  folds 0  can be imported"
    assert bad.startswith(
        f"{BAD}  ?  ?  folds 0  refused: {results / BAD}/fold_0/checkpoint_final.pth: the file is trunc"
    )
    assert [outcome.status for outcome in result.outcomes] == ["done", "refused"]
    assert [model["folds"] for model in result.content["models"]] == [[0], [0]]
    assert not (tmp_path / "out").exists()


def test_each_of_several_models_gets_a_folder_and_a_bad_one_stops_none(results: Path, tmp_path: Path) -> None:
    result = import_nnunet(results, tmp_path / "out")
    assert exit_code(result.outcomes) == 3
    assert result.outcomes[1].code == "truncated"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [GOOD]
    assert open_model(tmp_path / "out" / GOOD).plan.dataset == "Dataset007_Liver"


def test_a_zip_with_one_model_becomes_the_output_itself(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / GOOD, tmp_path / "zipped" / GOOD)
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "zipped")
    result = import_nnunet(archive, tmp_path / "out")
    assert [outcome.status for outcome in result.outcomes] == ["done"]
    assert result.outcomes[0].inputs == (f"{archive}/{GOOD}",)
    assert open_model(tmp_path / "out").record.provenance["folder"] == GOOD
    again = import_nnunet(archive, tmp_path / "out")
    assert [outcome.code for outcome in again.outcomes] == ["exists"]
    assert exit_code(again.outcomes) == 2
    row = again.text.splitlines()
    assert row == [
        f"{GOOD}  ?  ?  folds 0  refused: {tmp_path / 'out'}: there is something in it already, which an import does "
        "not write over. Give a new or an empty folder"
    ]


def test_a_folder_without_models_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MedsegError) as caught:
        import_nnunet(tmp_path, list_only=True)
    assert caught.value.code == "no_model"
    with pytest.raises(MedsegError) as caught:
        import_nnunet(tmp_path)
    assert caught.value.code == "no_output"
