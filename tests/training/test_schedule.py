"""Durations, the learning rate's way down, averaged weights."""

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.core.errors import PlanError
from medseg.core.plan import TrainingPlan
from medseg.training import parse_duration
from medseg.training.ema import copy_tensors, make_averaged, update_average
from medseg.training.progress import Progress
from medseg.training.schedule import format_duration, learning_rate

WARM_UP_STEPS = 20


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("1d", 86400), (" 10m ", 600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "15 m", "-5m", "1h-5m", "fast", "10x", "1h 30m!", "0s", "0h0m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="90s, 15m"):
        parse_duration(text)


def test_learning_rate_decays_as_a_power() -> None:
    settings = TrainingPlan(learning_rate=0.01)
    rates = [learning_rate(step, step / 100, settings) for step in range(101)]
    assert rates[0] == 0.01
    assert rates[25] == pytest.approx(0.01 * 0.75**0.9)
    assert rates[100] == 0
    assert rates == sorted(rates, reverse=True)


def test_learning_rate_decays_as_torch_s_cosine() -> None:
    settings = TrainingPlan(learning_rate=0.01, schedule="cosine")
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 50)
    for step in range(51):
        assert learning_rate(step, step / 50, settings) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize("schedule", ["polynomial", "cosine"])
def test_learning_rate_warms_up(schedule: Literal["polynomial", "cosine"]) -> None:
    settings = TrainingPlan(learning_rate=0.01, warm_up_steps=WARM_UP_STEPS, schedule=schedule)
    rates = [learning_rate(step, 0.0, settings) for step in range(WARM_UP_STEPS + 5)]
    assert rates[:WARM_UP_STEPS] == pytest.approx([0.01 * (n + 1) / WARM_UP_STEPS for n in range(WARM_UP_STEPS)])
    assert rates[WARM_UP_STEPS:] == [0.01] * 5  # it does not fall before the number of steps is known
    half = learning_rate(WARM_UP_STEPS // 2 - 1, 0.25, settings)
    assert half == pytest.approx(learning_rate(1000, 0.25, settings) / 2)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 500), st.floats(0, 1))
def test_the_schedule_goes_on_without_a_jump_where_steps_are_added_or_taken(
    first: int, second: int, third: int, gone: float
) -> None:
    progress = Progress(total=first)
    progress.step = int(gone * first)
    assert progress.share_done == pytest.approx(progress.step / first)
    for more in (second, third):
        before = progress.share_done
        progress.change_total(progress.step + more)
        assert progress.share_done == pytest.approx(before)
        progress.step += more // 2
        assert before <= progress.share_done <= 1
    progress.step = progress.total or 0
    assert progress.share_done == 1
    assert progress.finished


@pytest.mark.parametrize(
    ("seconds", "words"), [(5.4, "5 s"), (89, "89 s"), (600, "10 min"), (7500, "2 h 5 min"), (3570, "1 h 0 min")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


def test_average_in_closed_form() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    averaged = make_averaged(network, 0.9)
    assert isinstance(averaged, torch.nn.Linear)
    average = averaged.state_dict()
    with torch.no_grad():
        averaged.weight.zero_()
        network.weight.fill_(1.0)
    left = 1.0  # the share of the zero it began with
    for step in range(200):
        update_average(averaged, network, 0.9, step)
        left *= min(0.9, (1 + step) / (10 + step))
        assert float(average["weight"]) == pytest.approx(1 - left, rel=1e-5)


def test_batch_statistics_are_averaged_and_counters_copied() -> None:
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.BatchNorm3d(2))
    averaged = make_averaged(network, 0.5)
    before = {name: tensor.clone() for name, tensor in averaged.state_dict().items()}
    network.train()(torch.randn(2, 1, 3, 3, 3))
    with torch.no_grad():
        network[0].weight += 1
    update_average(averaged, network, 0.5, 50)
    for name, tensor in averaged.state_dict().items():
        new = network.state_dict()[name]
        assert torch.allclose(tensor, 0.5 * (before[name] + new) if new.is_floating_point() else new)


def test_without_an_average_it_is_the_network_itself() -> None:
    network = torch.nn.Linear(2, 1)
    assert make_averaged(network, 0.0) is network
    update_average(network, network, 0.0, 3)
    copies = copy_tensors(network.state_dict())
    with torch.no_grad():
        network.weight += 1
    assert not torch.equal(copies["weight"], network.weight)  # a copy, not a view
