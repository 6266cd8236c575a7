"""A step's arithmetic: several batches as one, the gradient's length, what is not finite."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.core.plan import TrainingPlan
from medseg.training.checkpoint import pack_optimiser, unpack_optimiser
from medseg.training.job import Job
from medseg.training.learner import make_learner, make_optimiser
from medseg.training.patches.loader import Batch
from medseg.training.steps import Learner, copy_buffers, move_weights, restore_buffers, take_step
from tests.training.examples import make_configuration, make_plan


def learn(**options: Any) -> Learner:
    """A learner that changes no patch."""
    configuration = make_configuration(**options)
    return make_learner(
        Job(make_plan(configuration), configuration, [], [], Path(), "", device="cpu", augmentations=())
    )


def make_batch(samples: slice) -> Batch:
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(4, 1, 8, 8, 8, generator=rng)[samples]
    labels = torch.randint(0, 3, (4, 8, 8, 8), generator=rng, dtype=torch.uint8)[samples]
    return Batch(images, labels, [np.random.default_rng(0)] * len(images), [0] * len(images))


def gradients_of(learner: Learner) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in learner.network.parameters() if p.grad is not None])


def weights_of(learner: Learner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in learner.network.parameters()])


def test_several_batches_are_one_step_of_a_large_batch() -> None:
    # A loss of each sample alone: Dice a sample and cross-entropy, both averaged over samples of one size.
    whole, parts = learn(batch_size=4, optimiser="sgd"), learn(batch_size=2, optimiser="sgd")
    for _ in range(3):
        large = take_step(whole, [make_batch(slice(0, 4))], 0.01)
        small = take_step(parts, [make_batch(slice(0, 2)), make_batch(slice(2, 4))], 0.01)
        assert float(small.loss) == pytest.approx(float(large.loss), rel=1e-5)
    assert torch.allclose(weights_of(whole), weights_of(parts), atol=1e-6)


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("clip_norm", [1e-2, 1e3])
def test_a_step_is_torch_s_own_after_clipping(optimiser: str, clip_norm: float) -> None:
    """Fused clipping and moving against PyTorch's plain functions."""
    learner = learn(optimiser=optimiser, clip_norm=clip_norm)
    plain = copy.deepcopy(learner.network)
    parameters: Any = plain.parameters()
    rates = {"lr": 0.03, "weight_decay": 3e-5, "foreach": False}
    other: torch.optim.Optimizer = torch.optim.AdamW(parameters, **rates)
    if optimiser == "sgd":
        other = torch.optim.SGD(plain.parameters(), momentum=0.99, nesterov=True, **rates)
    for _ in range(4):
        take_step(learner, [make_batch(slice(0, 2))], 0.03)
        for mine, theirs in zip(learner.network.parameters(), plain.parameters(), strict=True):
            # The fused kernel leaves the clipped gradient behind; torch's clipping of it changes nothing more.
            theirs.grad = None if mine.grad is None else mine.grad.clone()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), clip_norm)
        assert float(norm) <= clip_norm * (1 + 1e-5)
        assert clip_norm > 1 or float(norm) == pytest.approx(clip_norm, rel=1e-5)
        other.step()
    assert torch.allclose(
        weights_of(learner), torch.cat([p.detach().flatten() for p in plain.parameters()]), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("where", ["loss", "gradient", "both"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_moves_nothing(optimiser: str, where: str, value: float) -> None:
    learner = learn(optimiser=optimiser)
    take_step(learner, [make_batch(slice(0, 2))], 0.01)
    weights = weights_of(learner).clone()
    state = {name: tensor.clone() for name, tensor in pack_optimiser(learner.optimiser).items()}
    for parameter in learner.network.parameters():
        if parameter.grad is not None and where != "loss":
            parameter.grad[0] = value
    outcome = move_weights(learner, torch.tensor(value if where != "gradient" else 0.5), 0.01)
    assert not outcome.good
    assert torch.equal(weights, weights_of(learner))
    assert all(torch.equal(state[name], tensor) for name, tensor in pack_optimiser(learner.optimiser).items())


def test_the_first_step_may_be_the_bad_one() -> None:
    learner, other = learn(optimiser="sgd"), learn(optimiser="sgd")
    batch = make_batch(slice(0, 2))
    bad = Batch(batch.images * float("nan"), batch.labels, batch.generators, batch.cases)
    assert not take_step(learner, [bad], 0.01).good
    assert not take_step(learner, [batch, bad], 0.01).good  # one of several
    for taken in (learner, other):
        assert take_step(taken, [batch], 0.01).good
    assert torch.equal(weights_of(learner), weights_of(other))


def test_fp16_halves_the_scale_before_it_calls_a_step_bad() -> None:
    learner = learn(precision="fp16")
    learner.scaler.load_state_dict({**learner.scaler.state_dict(), "scale": 4.0})
    take_step(learner, [make_batch(slice(0, 2))], 0.01)
    weights = weights_of(learner).clone()
    scales, good = [], []
    for _ in range(4):
        learner.optimiser.zero_grad()
        learner.scaler.scale(torch.tensor(1.0))  # as the backward pass of a loss does
        for parameter in learner.network.parameters():
            parameter.grad = torch.full_like(parameter, float("inf"))
        good.append(bool(move_weights(learner, torch.tensor(0.5), 0.01).good))
        scales.append(learner.scaler.get_scale())
    assert scales == [2.0, 1.0, 0.5, 0.25]
    assert good == [True, True, False, False]
    assert torch.equal(weights, weights_of(learner))


def test_fp16_clips_what_the_scale_is_taken_from() -> None:
    plain, half = (learn(optimiser="sgd", clip_norm=0.01, precision=name) for name in ("float32", "fp16"))
    half.scaler.load_state_dict({**half.scaler.state_dict(), "scale": 8.0})
    for learner in (plain, half):
        for parameter in learner.network.parameters():
            parameter.grad = torch.ones_like(parameter)
    for parameter in half.network.parameters():
        parameter.grad = 8.0 * torch.ones_like(parameter)
    half.scaler.scale(torch.tensor(1.0))
    assert move_weights(plain, torch.tensor(0.5), 0.1).good
    assert move_weights(half, torch.tensor(0.5), 0.1).good
    assert torch.allclose(weights_of(plain), weights_of(half), atol=1e-7)


def test_batch_statistics_of_a_bad_step_are_forgotten() -> None:
    network = torch.nn.Sequential(torch.nn.BatchNorm3d(2), torch.nn.InstanceNorm3d(2))
    before = copy_buffers(network)
    network(torch.full((2, 2, 3, 3, 3), float("nan")))
    assert not torch.isfinite(network.state_dict()["0.running_mean"]).all()
    restore_buffers(network, before, torch.tensor(False))
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())
    network(torch.randn(2, 2, 3, 3, 3))
    restore_buffers(network, before, torch.tensor(True))
    assert int(network.state_dict()["0.num_batches_tracked"]) == 1
    assert copy_buffers(torch.nn.Conv3d(1, 1, 1)) == {}


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_optimisers_state_comes_back_in_the_layout_of_the_weights(optimiser: Any) -> None:
    def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network: Any = torch.nn.Conv3d(2, 3, 3)
        network = network.to(memory_format=torch.channels_last_3d)
        return network, make_optimiser(network, TrainingPlan(optimiser=optimiser))

    def step(network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        network(torch.ones(1, 2, 4, 4, 4)).square().sum().backward()
        optimiser.step()

    (first, first_optimiser), (second, second_optimiser) = make(), make()
    for _ in range(3):
        step(first, first_optimiser)
    second.load_state_dict(first.state_dict())
    # From a file they come as plain tensors.
    packed = {name: tensor.contiguous() for name, tensor in pack_optimiser(first_optimiser).items()}
    unpack_optimiser(second_optimiser, packed)
    for network, own in ((first, first_optimiser), (second, second_optimiser)):
        for _ in range(3):
            step(network, own)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
