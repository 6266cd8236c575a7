"""What every registered network does."""

import json

import pytest
import torch

from medseg.networks import NETWORKS, build_network
from tests.networks.examples import SHAPES
from tests.training.examples import make_configuration

EVERY = [(name, shape) for name in NETWORKS for shape in SHAPES]
INPUTS, OUTPUTS = 2, 3

pytestmark = pytest.mark.parametrize(("name", "shape"), EVERY)


def build(name: str, shape: str, seed: int = 0) -> torch.nn.Module:
    network = SHAPES[shape][0].model_copy(update={"name": name})
    return build_network(make_configuration(network=network), INPUTS, OUTPUTS, seed=seed)


def draw_input(shape: str) -> torch.Tensor:
    return torch.randn(2, INPUTS, *SHAPES[shape][1], generator=torch.Generator().manual_seed(1))


def test_logits_have_the_input_s_size_and_are_finite(name: str, shape: str) -> None:
    network, x = build(name, shape), draw_input(shape)
    for logits in (network.train()(x), network.eval()(x)):
        assert tuple(logits[0].shape) == (2, OUTPUTS, *SHAPES[shape][1])
        assert all(torch.isfinite(stage).all() for stage in logits)


def test_gradient_reaches_every_weight(name: str, shape: str) -> None:
    network = build(name, shape).train()
    with torch.no_grad():
        for weight in network.parameters():  # a branch that begins at nothing must not hide what lies before it
            weight += 0.01
    sum((stage**3).sum() for stage in network(draw_input(shape))).backward()
    silent = [key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.abs().any()]
    assert silent == []


def test_the_seed_decides_the_weights(name: str, shape: str) -> None:
    first, again, other = (build(name, shape, seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_evaluation_repeats_itself_and_leaves_the_weights(name: str, shape: str) -> None:
    network, x = build(name, shape).eval(), draw_input(shape)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    kept = x.clone()
    assert torch.equal(network(x)[0], network(x)[0])
    assert torch.equal(x, kept)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_name_stands_in_a_plan_file(name: str, shape: str) -> None:
    network = SHAPES[shape][0].model_copy(update={"name": name})
    assert type(network).model_validate(json.loads(network.to_json())) == network
