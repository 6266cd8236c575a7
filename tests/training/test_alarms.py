"""Alarms: each on the history that calls for it, once, and on no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from medseg.training import EpochRecord
from medseg.training.alarms import PATIENT_EPOCHS, TREND_EPOCHS, find_alarms
from medseg.training.plateau import has_settled


def make_history(count: int, total: int, values: Callable[[int], dict[str, Any]]) -> list[EpochRecord]:
    """Epochs with their alarms, as training writes them; ``values`` by the epoch's number."""
    history: list[EpochRecord] = []
    for epoch in range(1, count + 1):
        usual = {"loss": -0.01 * epoch, "validation_loss": -0.01 * epoch, "patch_dice": {"organ": 0.5, "tumour": 0.3}}
        record = EpochRecord(
            **{"epoch": epoch, "steps": epoch, "total_steps": total, "learning_rate": 0.1, "seconds_left": 1.0, **usual,
               **values(epoch)}
        )  # fmt: skip
        alarms = find_alarms(history, record)
        history.append(EpochRecord(**{**record.__dict__, "alarms": alarms}))
    return history


def alarms_of(history: Sequence[EpochRecord]) -> list[tuple[int, str]]:
    return [(record.epoch, alarm) for record in history for alarm in record.alarms]


def test_a_training_that_goes_well_raises_none() -> None:
    assert alarms_of(make_history(100, 100, lambda epoch: {})) == []


@pytest.mark.parametrize(("total", "first"), [(100, 20), (1000, PATIENT_EPOCHS), (10, 2)])
def test_a_label_that_is_never_predicted_is_told_once(total: int, first: int) -> None:
    never = {"patch_dice": {"organ": 0.5, "tumour": 0.0}, "unpredicted": ("tumour",)}
    found = alarms_of(make_history(min(total, 80), total, lambda epoch: never))
    assert [epoch for epoch, _ in found] == [first]
    assert found[0][1].startswith("'tumour' has not been predicted once")
    assert "foreground_share" in found[0][1]


def test_a_label_that_was_predicted_once_is_none() -> None:
    def values(epoch: int) -> dict[str, Any]:
        return {} if epoch == 2 else {"patch_dice": {"organ": 0.5, "tumour": 0.0}, "unpredicted": ("tumour",)}

    assert not any("predicted once" in alarm for _, alarm in alarms_of(make_history(100, 100, values)))


def test_a_label_that_no_patch_holds_is_none() -> None:
    assert alarms_of(make_history(100, 100, lambda epoch: {"patch_dice": {"organ": 0.5, "tumour": None}})) == []


def test_a_loss_that_falls_while_a_predicted_label_stays_at_nothing() -> None:
    missed = {"patch_dice": {"organ": 0.5, "tumour": 0.0}}  # predicted, but never where it is
    found = alarms_of(make_history(100, 100, lambda epoch: missed))
    assert len(found) == 1
    assert found[0][1].startswith("the loss falls while the patch Dice of 'tumour' stays at 0")
    assert "class_weights" in found[0][1]
    assert alarms_of(make_history(100, 100, lambda epoch: {**missed, "loss": 0.5})) == []  # nothing falls


def test_a_label_that_was_lost_on_the_way() -> None:
    def values(epoch: int) -> dict[str, Any]:
        return {} if epoch < 40 else {"patch_dice": {"organ": 0.5, "tumour": 0.0}, "unpredicted": ("tumour",)}

    found = alarms_of(make_history(100, 100, values))
    assert len(found) == 1
    assert 45 <= found[0][0] <= 60
    assert "'tumour' stays at 0" in found[0][1]


def test_training_cases_learnt_by_heart() -> None:
    def values(epoch: int) -> dict[str, Any]:
        return {"loss": 1.0 - 0.01 * epoch, "validation_loss": max(0.8, 1.0 - 0.01 * epoch)}

    found = alarms_of(make_history(100, 100, values))
    assert len(found) == 1
    assert 35 <= found[0][0] <= 50  # the training's loss has fallen by twice as much
    assert "by heart" in found[0][1]
    assert "patience_epochs" in found[0][1]


def test_a_validation_loss_that_is_late_is_no_gap() -> None:
    def values(epoch: int) -> dict[str, Any]:
        return {"loss": 1.0 - 0.01 * epoch, "validation_loss": 1.0 - 0.004 * epoch}

    assert alarms_of(make_history(100, 100, values)) == []


def test_steps_that_are_skipped_too_often() -> None:
    found = alarms_of(make_history(100, 100, lambda epoch: {"skipped_steps": epoch // 2}))
    assert [epoch for epoch, _ in found] == [20]
    assert found[0][1].startswith("many steps are skipped: in 10 of 20")
    assert alarms_of(make_history(100, 100, lambda epoch: {"skipped_steps": min(epoch, 9)})) == []


@pytest.mark.parametrize("missing", ["loss", "validation_loss"])
def test_epochs_without_a_loss_are_passed_over(missing: str) -> None:
    assert alarms_of(make_history(3 * TREND_EPOCHS, 20, lambda epoch: {missing: None})) == []


def settle_epoch(losses: Sequence[float | None], patience: int) -> int | None:
    """The epoch at which a training with these validation losses stops."""
    history = make_history(len(losses), 1000, lambda epoch: {"validation_loss": losses[epoch - 1]})
    return next((n for n in range(1, len(history) + 1) if has_settled(history[:n], patience)), None)


def test_patience_counts_the_epochs_since_the_lowest_average() -> None:
    assert settle_epoch([1.0 - 0.01 * n for n in range(60)], 5) is None
    assert settle_epoch([1.0, 0.5, 1.0, 1.0, 1.0, 1.0], 3) == 5  # the average is lowest at the second
    assert settle_epoch([0.5] * 10, 4) == 5  # no new low after the first
    assert settle_epoch([0.5] * 10, 0) is None
    assert settle_epoch([None] * 10, 2) is None
    assert settle_epoch([None, 0.5, None, 0.5, None, 0.5], 2) == 6  # epochs without a loss do not count


def test_one_lucky_epoch_is_no_low_that_others_must_reach() -> None:
    falling = [1.0 - 0.01 * n for n in range(60)]
    falling[20] -= 0.5  # the plain losses come below it 50 epochs later
    assert settle_epoch(falling, 20) is None
    assert settle_epoch([1.0, 0.0, *[1.0] * 30], 8) == 10
