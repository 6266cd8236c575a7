"""Training a fold: from start to end, stopped and gone on with, and refused."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.augmentation import Augmentation
from medseg.core.errors import PlanError
from medseg.core.plan import NetworkPlan
from medseg.networks.unet import build_plain_unet
from medseg.training import EpochRecord, load_checkpoint, trainer
from medseg.training.losses import build_loss
from tests.preprocessing.examples import CLASSES, REGIONS
from tests.training.examples import Setting, change_training, make_setting, read_log, same


class StoppedError(BaseException):
    """What a callback raises in place of a power cut."""


def stop_after(epoch: int) -> Any:
    def callback(record: EpochRecord) -> None:
        if record.epoch == epoch:
            raise StoppedError

    return callback


def without_times(history: list[EpochRecord]) -> list[tuple[object, ...]]:
    return [
        (r.epoch, r.steps, r.total_steps, r.learning_rate, r.loss, r.validation_loss, r.patch_dice) for r in history
    ]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return make_setting(tmp_path_factory.mktemp("setting"))


def test_training_leaves_weights_log_events_and_a_checkpoint(setting: Setting, tmp_path: Path) -> None:
    trained = setting.train(str(tmp_path))
    assert [record.steps for record in trained.history] == [2, 4]
    assert {record.total_steps for record in trained.history} == {4}
    assert all(torch.isfinite(tensor).all() for tensor in trained.weights.values())
    assert trained.seconds_per_step >= 0
    assert [line["epoch"] for line in read_log(tmp_path)] == [1, 2]
    assert set(trained.history[-1].patch_dice) == {"organ", "tumour"}
    assert len(list(tmp_path.glob("events.*"))) == 1
    checkpoint = load_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert all(torch.equal(checkpoint.tensors[f"average.{k}"], v) for k, v in trained.weights.items())


@pytest.mark.parametrize(
    "options", [{}, {"optimiser": "sgd", "ema_decay": 0.0}, {"dimensions": 2}], ids=["adamw", "sgd", "2d"]
)
def test_the_same_seed_gives_the_same_weights(tmp_path: Path, options: dict[str, Any]) -> None:
    setting = make_setting(tmp_path, **options)
    first, again = setting.train("first"), setting.train("again")
    assert same(first, again)
    assert without_times(first.history) == without_times(again.history)
    other = setting.configuration.training.model_copy(update={"seed": 99})
    assert not same(
        first, setting.train("other", configuration=setting.configuration.model_copy(update={"training": other}))
    )


@pytest.mark.parametrize("options", [{}, {"optimiser": "sgd"}, {"dimensions": 2}], ids=["adamw", "sgd", "2d"])
def test_a_stopped_training_goes_on_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)  # after every epoch
    setting = make_setting(tmp_path, **options)
    whole = setting.train("whole", epochs=3)
    with pytest.raises(StoppedError):
        setting.train("parts", epochs=3, callbacks=[stop_after(1)])
    resumed = setting.train("parts", epochs=3)
    assert same(whole, resumed)
    assert without_times(resumed.history)[1:] == without_times(whole.history)[1:]


def test_epochs_after_the_checkpoint_are_done_and_logged_again(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(StoppedError):
        setting.train(str(tmp_path), epochs=3, callbacks=[stop_after(2)])
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 60.0)
    (tmp_path / "checkpoints" / "00002" / "state.json").unlink()  # cut off while it was written
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"epoch": 2, "st')
    trained = setting.train(str(tmp_path), epochs=3)
    assert [record.epoch for record in trained.history] == [1, 2, 3]
    assert [line["epoch"] for line in read_log(tmp_path)] == [1, 2, 3]


def test_a_finished_run_is_not_done_again_and_more_epochs_go_on(setting: Setting, tmp_path: Path) -> None:
    first = setting.train(str(tmp_path))
    seen: list[EpochRecord] = []
    assert same(first, setting.train(str(tmp_path), callbacks=[seen.append]))
    assert seen == []
    longer = setting.train(str(tmp_path), epochs=3, callbacks=[seen.append])
    assert [record.epoch for record in seen] == [3]
    assert [record.epoch for record in longer.history] == [1, 2, 3]


def test_restart_forgets_a_longer_run(setting: Setting, tmp_path: Path) -> None:
    setting.train(str(tmp_path), epochs=4)
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "scores.csv").write_text("old", "utf-8")
    short = setting.train(str(tmp_path), epochs=1, restart=True)
    checkpoint = load_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.facts["progress"]["step"] == 2
    assert all(torch.equal(checkpoint.tensors[f"average.{k}"], v) for k, v in short.weights.items())
    assert [line["epoch"] for line in read_log(tmp_path)] == [1]
    assert not (tmp_path / "validation").exists()
    assert len(list(tmp_path.glob("events.*"))) == 1


def test_a_run_with_other_settings_is_refused_by_their_names(setting: Setting, tmp_path: Path) -> None:
    setting.train(str(tmp_path), epochs=1)
    training = setting.configuration.training.model_copy(update={"learning_rate": 0.1, "seed": 8})
    other = setting.configuration.model_copy(update={"training": training, "batch_size": 3})
    with pytest.raises(PlanError, match=r"other batch_size, training.learning_rate, training.seed") as caught:
        setting.train(str(tmp_path), configuration=other)
    assert caught.value.code == "incompatible_run"
    assert caught.value.remedy == "Use --restart to begin anew"
    with pytest.raises(PlanError, match="other training_cases"):
        setting.train(str(tmp_path), training=setting.cases[:1])
    with pytest.raises(PlanError, match="other augmentations, loss"):
        setting.train(str(tmp_path), loss="dice_bce", augmentations=())
    assert setting.train(str(tmp_path), configuration=other, restart=True).history


def test_objects_stand_in_for_names(setting: Setting, tmp_path: Path) -> None:
    called: set[str] = set()

    def build_own(plan: NetworkPlan, inputs: int, outputs: int) -> torch.nn.Module:
        called.add("network")
        return build_plain_unet(plan, inputs, outputs)

    def own_loss(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        called.add("loss")
        return build_loss("dice_ce", CLASSES, batch_dice=False)(logits, targets, mask)

    def apply(images: torch.Tensor, labels: torch.Tensor, parameters: object) -> tuple[torch.Tensor, torch.Tensor]:
        called.add("augmentation")
        return images, labels

    own = Augmentation("own", lambda rng, scene: None, apply)
    records: list[EpochRecord] = []
    replaced = setting.train(
        str(tmp_path / "own"), network=build_own, loss=own_loss, augmentations=[own], callbacks=[records.append]
    )
    assert called == {"network", "loss", "augmentation"}
    assert records == replaced.history
    named = setting.train(str(tmp_path / "names"), network="plain_unet", loss="dice_ce", augmentations=())
    assert same(replaced, named)


@pytest.mark.parametrize("options", [{}, {"dimensions": 2}, {"channels": 2}, {"patch_size": (24, 32, 32)}])
@pytest.mark.parametrize("labels", ["classes", "regions"])
def test_all_kinds_of_plans_can_be_trained(tmp_path: Path, options: dict[str, Any], labels: str) -> None:
    if labels == "regions":
        options = {
            **options,
            "labels": REGIONS.model_copy(update={"labels": {"whole": (1, 3), "core": (3,)}, "paint_order": (1, 3)}),
        }
    trained = make_setting(tmp_path, **options).train(epochs=1)
    assert trained.history[0].loss is not None
    assert trained.history[0].validation_loss is not None


def test_without_validation_cases_nothing_is_validated(setting: Setting, tmp_path: Path) -> None:
    trained = setting.train(str(tmp_path), training=setting.cases, validation=[])
    assert [record.validation_loss for record in trained.history] == [None, None]
    assert [record.patch_dice for record in trained.history] == [{}, {}]


def test_without_training_cases_there_is_no_training(setting: Setting, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no training case"):
        setting.train(str(tmp_path), training=[])


class OrganAlone(torch.nn.Module):
    """A network that never predicts its last channel."""

    def __init__(self, plan: NetworkPlan, inputs: int, outputs: int) -> None:
        super().__init__()
        self.unet = build_plain_unet(plan, inputs, outputs)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat([stage[:, :-1], stage[:, -1:] * 0 - 100], 1) for stage in self.unet(x)]


def test_alarm_where_a_class_is_never_predicted(
    setting: Setting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        trained = setting.train(str(tmp_path), epochs=12, network=OrganAlone, augmentations=())
    alarms = [alarm for record in trained.history for alarm in record.alarms]
    assert len(alarms) == 1  # said once, of the label that is not predicted
    assert "'tumour' has not been predicted once" in alarms[0]
    assert "foreground_share" in caplog.text
    assert trained.history[0].alarms == trained.history[1].alarms == ()  # not in the first fifth


def test_patience_stops_early_and_stays_stopped(
    setting: Setting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    patient = change_training(setting, patience_epochs=3, learning_rate=1e-9, ema_decay=0.0)
    with caplog.at_level(logging.INFO):
        trained = setting.train(str(tmp_path), configuration=patient, epochs=50)
    last = trained.history[-1].epoch
    assert 4 <= last < 50
    assert f"has not fallen for 3 epochs; training stops early, after {2 * last} of 100 steps" in caplog.text
    again = setting.train(str(tmp_path), configuration=patient, epochs=50)
    assert same(trained, again)
    assert len(again.history) == last
    more = change_training(setting, patience_epochs=last + 3, learning_rate=1e-9, ema_decay=0.0)
    longer = setting.train(str(tmp_path), configuration=more, epochs=last + 2)
    assert len(longer.history) == last + 2  # with more patience it goes on


def test_patience_without_validation_cases_is_told(setting: Setting, tmp_path: Path) -> None:
    patient = change_training(setting, patience_epochs=3)
    trained = setting.train(str(tmp_path), configuration=patient, training=setting.cases, validation=[], epochs=5)
    assert len(trained.history) == 5
    assert "patience_epochs stops nothing" in trained.history[0].alarms[0]


def test_steps_of_several_batches_are_counted_once_and_resumed(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    twice = change_training(setting, accumulation=2)
    whole = setting.train(str(tmp_path / "whole"), configuration=twice, epochs=3)
    assert [record.steps for record in whole.history] == [2, 4, 6]
    with pytest.raises(StoppedError):
        setting.train(str(tmp_path / "parts"), configuration=twice, epochs=3, callbacks=[stop_after(1)])
    assert same(whole, setting.train(str(tmp_path / "parts"), configuration=twice, epochs=3))
