"""Whole models: folds, cascades, unknown trainers, and that a refused one leaves nothing behind."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.core.errors import ModelError
from medseg.inference import load_networks, open_model
from medseg.inference.nnunet import Verdict, examine_model, find_models, import_model
from tests.inference.nnunet.folders import DATASET, make_configuration, make_network, make_plans, write_trained

NETWORK = make_network()
PLANS = make_plans({"3d_fullres": make_configuration(NETWORK)})
FOLDER = "nnUNetTrainer__nnUNetPlans__3d_fullres"


def run_import(folder: Path, output: Path) -> Verdict:
    (model,) = find_models(folder)
    return import_model(model, output)


def test_networks_answer_as_they_were_trained(tmp_path: Path) -> None:
    networks = write_trained(
        tmp_path / FOLDER, "3d_fullres", NETWORK, PLANS, folds=(0, "all"), inference_allowed_mirroring_axes=(0, 1)
    )
    verdict = run_import(tmp_path / FOLDER, tmp_path / "model")
    assert (verdict.configuration, verdict.trainer, verdict.folds) == ("3d_fullres", "nnUNetTrainer", (0, "all"))
    assert (verdict.error, verdict.notes) == (None, ())
    model = open_model(tmp_path / "model")
    (member,) = model.record.members
    assert (member.folds, member.default_folds) == ((0, "all"), (0,))
    assert model.record.mirror_axes == (0, 1)
    assert model.record.familiar is None  # the folder has no fingerprint
    x = torch.randn(1, 1, 8, 8, 8)
    for fold, network in zip(
        member.folds, load_networks(model, member, member.folds, torch.device("cpu")), strict=True
    ):
        assert torch.equal(network(x)[0], networks[fold](x)[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", FOLDER]


def test_codes_of_labels_come_with_the_model(tmp_path: Path) -> None:
    label = next(name for name in DATASET["labels"] if name != "background")
    coded = {**DATASET, "codes": {label: {"type": "Liver", "side": "Left"}}}
    write_trained(tmp_path / FOLDER, "3d_fullres", NETWORK, PLANS, dataset=coded)
    run_import(tmp_path / FOLDER, tmp_path / "model")
    codes = open_model(tmp_path / "model").record.codes
    assert codes[label].type == ("10200004", "SCT", "Liver")
    assert codes[label].side is not None
    wrong = {**DATASET, "codes": {"nothing like it": {"type": "Liver"}}}
    write_trained(tmp_path / "wrong" / FOLDER, "3d_fullres", NETWORK, PLANS, dataset=wrong)
    verdict = run_import(tmp_path / "wrong" / FOLDER, tmp_path / "none")
    assert verdict.error is not None
    assert "codes of 'nothing like it'" in verdict.error.reason
    assert not (tmp_path / "none").exists()


def test_the_checkpoint_says_which_configuration_it_is(tmp_path: Path) -> None:
    plans = make_plans({"3d_fullres": make_configuration(make_network(2)), "other": make_configuration(NETWORK)})
    write_trained(tmp_path / FOLDER, "other", NETWORK, plans, name="checkpoint_best.pth")
    assert run_import(tmp_path / FOLDER, tmp_path / "model").configuration == "other"
    assert list(open_model(tmp_path / "model").plan.configurations) == ["other"]


def test_an_unknown_trainer_is_warned_of_once_and_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_trained(tmp_path / FOLDER, "3d_fullres", NETWORK, PLANS, trainer_name="MyTrainer")
    with caplog.at_level(logging.WARNING):
        verdict = run_import(tmp_path / FOLDER, tmp_path / "model")
    assert len(caplog.records) == 1
    assert "MyTrainer" in verdict.notes[0]
    assert "MyTrainer" in open_model(tmp_path / "model").record.provenance["note"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"trainer_name": "nnUNet_Primus_M_Trainer"}, "other_network"),
        ({"init_args": {"configuration": "3d_lowres"}}, "bad_plan"),
    ],
)
def test_a_refused_model_leaves_nothing(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    write_trained(tmp_path / FOLDER, "3d_fullres", NETWORK, PLANS, **changes)
    verdict = run_import(tmp_path / FOLDER, tmp_path / "model")
    assert verdict.error is not None
    assert verdict.error.code == code
    assert verdict.error.file is not None
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER]


def test_folds_must_be_of_one_configuration(tmp_path: Path) -> None:
    plans = make_plans({"a": make_configuration(NETWORK), "b": make_configuration(NETWORK)})
    write_trained(tmp_path / FOLDER, "a", NETWORK, plans, folds=(0,))
    write_trained(tmp_path / FOLDER, "b", NETWORK, plans, folds=(1,))
    (model,) = find_models(tmp_path / FOLDER)
    error = examine_model(model).error
    assert error is not None
    assert error.code == "mixed_folds"


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    write_trained(tmp_path / FOLDER, "3d_fullres", NETWORK, PLANS)
    with pytest.raises(ModelError, match="already"):
        run_import(tmp_path / FOLDER, tmp_path / FOLDER)


def test_folders_without_networks_are_refused(tmp_path: Path) -> None:
    write_trained(tmp_path / "a", "3d_fullres", NETWORK, PLANS, name="checkpoint_latest.pth")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "plans.pkl").touch()
    errors = [examine_model(model).error for model in find_models(tmp_path)]
    assert [error and error.code for error in errors] == ["no_checkpoint", "first_version"]


def cascade_plans() -> dict[str, Any]:
    return make_plans(
        {
            "3d_lowres": make_configuration(NETWORK, next_stage="3d_cascade_fullres"),
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
            "3d_fullres": make_configuration(NETWORK),
        }
    )


@pytest.mark.slow
def test_a_cascade_brings_its_first_stage(tmp_path: Path) -> None:
    results = tmp_path / "results"
    second = results / "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"
    write_trained(second, "3d_cascade_fullres", NETWORK, cascade_plans(), inputs=3)
    (model,) = find_models(second)
    error = examine_model(model).error
    assert error is not None
    assert error.code == "no_first_stage"
    assert "nnUNetTrainer__nnUNetPlans__3d_lowres" in str(error)
    # Called otherwise than usual, it is found by what its checkpoint says.
    write_trained(results / "low", "3d_lowres", NETWORK, cascade_plans(), folds=(1,))
    verdict = import_model(model, tmp_path / "model")
    assert verdict.error is None
    opened = open_model(tmp_path / "model")
    (member,) = opened.record.members
    assert (member.configuration, member.previous, member.previous_folds) == (
        "3d_cascade_fullres", "3d_lowres", (1,),
    )  # fmt: skip
    assert list(opened.plan.configurations) == ["3d_cascade_fullres", "3d_lowres"]
    assert "weights/3d_lowres/fold_1.safetensors" in opened.record.files
    (network,) = load_networks(opened, member, (0,), torch.device("cpu"))
    assert network(torch.zeros(1, 3, 8, 8, 8))[0].shape[1] == 3
