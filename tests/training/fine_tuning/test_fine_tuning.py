"""Training that begins from a model or from another run, stopped and gone on with."""

from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.core.errors import ModelError, PlanError, ResourceError
from medseg.core.labels import LabelScheme
from medseg.core.records import read_json
from medseg.inference import load_networks, open_model
from medseg.training import EpochRecord
from medseg.training.fine_tuning.starts import open_start, open_template
from medseg.training.fine_tuning.transfer import StartRecord
from medseg.training.job import TrainedFold
from tests.inference.nnunet.exports import write_model
from tests.training.examples import Setting, make_configuration, make_plan, make_setting

OTHER_LABELS = LabelScheme.make({"organ": 1, "vessel": 3, "ignore": 255})


class StoppedError(Exception):
    """What a callback raises in place of a power cut."""


def stop_at_once(record: EpochRecord) -> None:
    raise StoppedError


def same(a: TrainedFold, b: TrainedFold) -> bool:
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


def write_source(folder: Path, **options: Any) -> None:
    configuration = make_configuration(**options)
    write_model(folder, make_plan(configuration, options.get("labels", OTHER_LABELS)))


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("setting")
    write_source(folder / "model")
    return make_setting(folder)


def test_training_begins_with_the_models_weights(setting: Setting, tmp_path: Path) -> None:
    model = open_model(setting.folder / "model")
    theirs = load_networks(model, model.record.members[0], (0,), torch.device("cpu"))[0].state_dict()
    still = {"learning_rate": 1e-12, "weight_decay": 0.0, "ema_decay": 0.0}
    configuration = make_configuration(**still)
    trained = setting.train(str(tmp_path), configuration=configuration, epochs=1, start_from=setting.folder / "model")
    for name, tensor in trained.weights.items():
        if not name.startswith("heads"):
            torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-6)
    torch.testing.assert_close(trained.weights["heads.0.weight"][:2], theirs["heads.0.weight"][:2], rtol=0, atol=1e-6)
    record = StartRecord.read(tmp_path / "start.json")
    assert record.labels == {"background": "background", "organ": "organ", "tumour": "new, 0 at first"}
    assert record.model == str((setting.folder / "model").resolve())
    assert record.digest.startswith(model.digest)


def test_a_stopped_fine_tuning_goes_on_exactly_and_reads_the_model_once(setting: Setting, tmp_path: Path) -> None:
    source = setting.folder / "model"
    whole = setting.train(str(tmp_path / "whole"), start_from=source)
    with pytest.raises(ResourceError, match="StoppedError"):
        setting.train(str(tmp_path / "parts"), start_from=source, callbacks=[stop_at_once])
    (tmp_path / "parts" / "start.json").write_text("kept")
    assert same(whole, setting.train(str(tmp_path / "parts"), start_from=source))
    assert (tmp_path / "parts" / "start.json").read_text() == "kept"
    assert not same(whole, setting.train(str(tmp_path / "fresh")))


def test_a_run_that_began_otherwise_is_not_gone_on_with(setting: Setting, tmp_path: Path) -> None:
    source = setting.folder / "model"
    write_source(tmp_path / "other", channels=1, labels=LabelScheme.make({"organ": 1}))
    setting.train(str(tmp_path / "run"), epochs=1, start_from=source)
    for start_from in (None, tmp_path / "other"):
        with pytest.raises(PlanError, match="other start_from") as caught:
            setting.train(str(tmp_path / "run"), epochs=1, start_from=start_from)
        assert caught.value.code == "incompatible_run"
    setting.train(str(tmp_path / "run"), epochs=1, restart=True)
    assert not (tmp_path / "run" / "start.json").exists()


def test_a_run_begins_from_another_run(setting: Setting, tmp_path: Path) -> None:
    run = tmp_path / "W" / "runs" / "3d_fullres" / "fold_1"
    trained = setting.train(str(run), epochs=1)
    with pytest.raises(ModelError, match="channels and labels are is not known"):
        open_start(run, setting.configuration)
    setting.plan.write(tmp_path / "W" / "plan.json")
    start = open_start(run / "checkpoints", setting.configuration)
    assert (start.fold, start.labels) == (1, setting.plan.labels)
    assert open_template(run).digest == start.digest
    assert open_template(run).plan == setting.plan
    still = make_configuration(learning_rate=1e-12, weight_decay=0.0, ema_decay=0.0)
    second = setting.train(str(tmp_path / "second"), configuration=still, epochs=1, start_from=run)
    for name, tensor in second.weights.items():
        torch.testing.assert_close(tensor, trained.weights[name], rtol=0, atol=1e-6)
    assert read_json(tmp_path / "second" / "start.json")["share"] == 1.0
    (run / "checkpoints" / "00001" / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        open_start(run, setting.configuration)
