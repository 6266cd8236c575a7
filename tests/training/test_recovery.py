"""What goes wrong while a network trains: numbers that are none, objects that raise, memory that is too small."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from medseg.augmentation import Augmentation
from medseg.core.errors import ResourceError
from medseg.core.plan import NetworkPlan
from medseg.networks.blocks import ConvBlock
from medseg.networks.unet import UNet
from medseg.training import load_checkpoint, trainer
from medseg.training.losses import build_loss
from medseg.training.patches import memory_cases
from tests.preprocessing.examples import CLASSES
from tests.training.examples import Setting, change_training, make_setting, read_log, same

# Steps with a loss that is not finite: none, some alone, three in a row up to the end of an epoch.
BAD: tuple[set[int], ...] = (set(), {2, 5}, {4, 5, 6})
LOSS = build_loss("dice_ce", CLASSES, batch_dice=False)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return make_setting(tmp_path_factory.mktemp("setting"))


class Failing:
    """A loss that is not finite in the calls whose numbers are given."""

    def __init__(self, bad: set[int]) -> None:
        self.bad, self.calls = bad, 0

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        value = LOSS(logits, targets, mask)
        if not logits.requires_grad:
            return value
        self.calls += 1
        return value * float("nan") if self.calls in self.bad else value


def test_a_step_without_a_finite_loss_is_skipped(setting: Setting, tmp_path: Path) -> None:
    trained = setting.train(str(tmp_path), epochs=3, loss=Failing({2, 3, 5}))
    assert [record.skipped_steps for record in trained.history] == [1, 2, 3]
    assert all(torch.isfinite(tensor).all() for tensor in trained.weights.values())
    none = setting.train(str(tmp_path / "none"), epochs=2, loss=Failing({1, 2}))
    assert [record.loss is None for record in none.history] == [True, False]


def test_three_bad_steps_in_a_row_go_back_with_half_the_rate(setting: Setting, tmp_path: Path) -> None:
    trained = setting.train(str(tmp_path), epochs=5, loss=Failing({4, 5, 6, 7}))
    rates = [record.learning_rate for record in trained.history]
    plain = [record.learning_rate for record in setting.train(str(tmp_path / "plain"), epochs=5).history]
    assert rates == pytest.approx([plain[0], plain[1], *(rate / 2 for rate in plain[2:])])
    assert [record.skipped_steps for record in trained.history] == [0, 1, 3, 4, 4]
    assert [len(record.alarms) for record in trained.history] == [0, 0, 1, 0, 0]
    assert "the weights of step 2 are taken again" in trained.history[2].alarms[0]
    assert [record.steps for record in trained.history] == [2, 4, 6, 8, 10]  # the position went on


def test_outcomes_that_are_read_a_step_later_as_on_a_gpu(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = [setting.train(str(tmp_path / f"{n}"), epochs=5, loss=Failing(bad)) for n, bad in enumerate(BAD)]
    monkeypatch.setitem(trainer.STEPS_AHEAD, "cpu", 1)
    later = [setting.train(str(tmp_path / f"{n}_later"), epochs=5, loss=Failing(bad)) for n, bad in enumerate(BAD)]
    for first, second in zip(at_once, later, strict=True):
        assert [r.skipped_steps for r in first.history] == [r.skipped_steps for r in second.history]
        assert [r.alarms for r in first.history] == [r.alarms for r in second.history]
        assert [r.learning_rate for r in first.history] == [r.learning_rate for r in second.history]
        assert [r.loss for r in first.history] == [r.loss for r in second.history]
        assert same(first, second)


def test_a_loss_that_stays_not_finite_ends_the_training(setting: Setting, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="not finite 3 times in a row") as caught:
        setting.train(str(tmp_path), epochs=20, loss=Failing(set(range(2, 99))))
    assert caught.value.code == "loss_not_finite"
    assert caught.value.remedy


def raise_fault(*args: object) -> Any:
    raise ValueError("no such thing")


def fail_later() -> Callable[..., torch.Tensor]:
    calls = iter(range(1000))

    def own_loss(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return LOSS(logits, targets, mask) if next(calls) < 4 else raise_fault()

    return own_loss


@pytest.mark.parametrize(
    ("options", "named", "saved"),
    [
        ({"callbacks": [raise_fault]}, "callback 'raise_fault'", 2),
        ({"loss": fail_later()}, "loss 'fail_later.<locals>.own_loss'", 2),
        ({"augmentations": [Augmentation("own", raise_fault, raise_fault)]}, "augmentation 'own'", None),
        ({"network": lambda *arguments: torch.nn.Linear(1, 1)}, "network", None),
    ],
)
def test_what_raises_is_named_and_the_state_is_saved(
    setting: Setting, tmp_path: Path, options: dict[str, Any], named: str, saved: int | None
) -> None:
    with pytest.raises(ResourceError, match=re.escape(named)) as caught:
        setting.train(str(tmp_path), epochs=3, **options)
    assert caught.value.code == "plugin_failed"
    checkpoint = load_checkpoint(tmp_path / "checkpoints")
    assert (None if checkpoint is None else checkpoint.facts["progress"]["step"]) == saved


def test_too_little_memory_is_met_by_computing_twice(setting: Setting, tmp_path: Path) -> None:
    class Hungry(UNet):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            if torch.is_grad_enabled() and not self.use_checkpoint:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().forward(x)

    def build(plan: NetworkPlan, inputs: int, outputs: int) -> torch.nn.Module:
        return Hungry(plan, inputs, outputs, ConvBlock)

    trained = setting.train(str(tmp_path), epochs=2, network=build)
    assert "memory fallback" in trained.history[0].alarms[0]
    assert trained.history[1].alarms == ()
    plain = setting.train(str(tmp_path / "plain"), epochs=2)
    assert all(torch.allclose(plain.weights[name], tensor, atol=1e-6) for name, tensor in trained.weights.items())


def test_too_little_memory_in_the_end_has_a_remedy(setting: Setting, tmp_path: Path) -> None:
    def hungry_loss(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(ResourceError, match="does not fit into the memory of cpu") as caught:
        setting.train(str(tmp_path), loss=hungry_loss)
    assert caught.value.code == "out_of_memory"
    assert "batch_size" in str(caught.value.remedy)
    assert "gradient_checkpointing" in str(caught.value.remedy)


def test_cases_that_do_not_fit_into_memory_are_told_once(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = setting.train(str(tmp_path / "plain"), epochs=2)
    monkeypatch.setattr(memory_cases, "SHARE_OF_FREE_MEMORY", 0.0)
    trained = setting.train(str(tmp_path), epochs=2)
    assert same(plain, trained)
    setting.train(str(tmp_path), epochs=3)
    assert [len(line["alarms"]) for line in read_log(tmp_path)] == [1, 0, 0]
    assert "read from the disk" in read_log(tmp_path)[0]["alarms"][0]


def test_no_state_that_is_not_finite_is_kept(setting: Setting, tmp_path: Path) -> None:
    """A rate so high that the weights overflow before any loss shows it."""
    wild = change_training(setting, optimiser="sgd", learning_rate=1e38, clip_norm=1e30, ema_decay=0.5)
    with pytest.raises(ResourceError, match="not finite 3 times in a row"):
        setting.train(str(tmp_path), configuration=wild, epochs=50, augmentations=())
    for folder in (tmp_path / "checkpoints").glob("*"):
        tensors = load_file(folder / "state.safetensors")
        assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
