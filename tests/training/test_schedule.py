"""Durations, the learning rate's way down, averaged weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.core.errors import PlanError
from medseg.training import parse_duration
from medseg.training.ema import copy_state, update_average
from medseg.training.schedule import fit_steps, learning_rate

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
    rates = [learning_rate(step, 100, 0.01, warm_up_steps=0) for step in range(101)]
    assert rates[0] == 0.01
    assert rates[25] == pytest.approx(0.01 * 0.75**0.9)
    assert rates[100] == 0
    assert rates == sorted(rates, reverse=True)


def test_learning_rate_warms_up() -> None:
    rates = [learning_rate(step, None, 0.01, warm_up_steps=WARM_UP_STEPS) for step in range(WARM_UP_STEPS + 5)]
    assert rates[0] == pytest.approx(0.01 / WARM_UP_STEPS)
    assert rates[:WARM_UP_STEPS] == pytest.approx([0.01 * (n + 1) / WARM_UP_STEPS for n in range(WARM_UP_STEPS)])
    assert rates[WARM_UP_STEPS:] == [0.01] * 5  # it does not fall before the number of steps is known


@given(st.floats(0, 1e5), st.floats(1e-3, 1e2))
def test_steps_fit_into_their_time(seconds: float, each: float) -> None:
    steps = fit_steps(seconds, each)
    assert steps * each <= seconds * (1 + 1e-9)
    assert (steps + 1) * each > seconds * (1 - 1e-9)


def test_average_in_closed_form() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    average = {"weight": torch.zeros(1, 1)}
    with torch.no_grad():
        network.weight.fill_(1.0)
    left = 1.0  # the share of the zero it began with
    for step in range(200):
        update_average(average, network, 0.9, step)
        left *= min(0.9, (1 + step) / (10 + step))
        assert float(average["weight"]) == pytest.approx(1 - left, rel=1e-5)


def test_no_average_is_the_last_weights_and_counters_are_copied() -> None:
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.BatchNorm3d(2))
    average = copy_state(network)
    network.train()(torch.randn(2, 1, 3, 3, 3))
    with torch.no_grad():
        network[0].weight += 1
    update_average(average, network, 0.0, 50)
    assert all(torch.equal(average[name], tensor) for name, tensor in network.state_dict().items())
    with torch.no_grad():
        network[0].weight += 1
    assert not torch.equal(average["0.weight"], network[0].weight)  # a copy, not a view
