"""The learner's arithmetic: half precision only where its gradients can be trusted."""

import functools
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.core.plan import NetworkPlan
from medseg.networks import BuildNetwork
from medseg.training.job import Job
from medseg.training.learner import make_learner
from medseg.training.steps import Learner
from tests.training.examples import make_configuration, make_plan


def learn(
    patch_size: tuple[int, int, int], *, dimensions: int = 3, network: BuildNetwork | None = None
) -> tuple[torch.dtype, list[torch.Tensor]]:
    """The precision, and the gradients of one random patch, five times over memory that is full of NaN."""
    configuration = make_configuration(dimensions=dimensions, patch_size=patch_size, precision="bf16")
    plan = make_plan(configuration)
    learner = make_learner(Job(plan, configuration, [], [], Path(), "", device="cpu", network=network))
    size = patch_size if dimensions == 3 else patch_size[1:]
    patch = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(0))
    found = []
    for _ in range(5):
        learner.network.zero_grad()
        with torch.autocast("cpu", dtype=learner.precision, enabled=learner.precision != torch.float32):
            loss = sum(output.float().square().mean() for output in learner.network(patch))
        waste = [torch.full((2**power,), torch.nan) for power in range(5, 20)]
        del waste
        loss.backward()
        gradients = [p.grad.flatten() for p in learner.network.parameters() if p.grad is not None]
        found.append(torch.cat(gradients).clone())
    return learner.precision, found


@pytest.mark.parametrize(
    ("patch_size", "dimensions", "precision"),
    [
        *[((8, 16, 16), 3, torch.bfloat16), ((6, 16, 16), 3, torch.bfloat16), ((1, 16, 16), 2, torch.bfloat16)],
        *[((4, 16, 16), 3, torch.float32), ((2, 16, 16), 3, torch.float32)],
    ],
)
def test_gradients_do_not_depend_on_what_memory_held(
    patch_size: tuple[int, int, int], dimensions: int, precision: torch.dtype
) -> None:
    taken, gradients = learn(patch_size, dimensions=dimensions)
    assert taken == precision
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


def build_dilated(plan: NetworkPlan, inputs: int, outputs: int) -> torch.nn.Module:
    # Such a convolution's gradients in bf16 hold what memory held, with its channels last.
    first = torch.nn.Conv2d(inputs, 24, 3, padding=1)
    return torch.nn.Sequential(first, torch.nn.Conv2d(24, outputs, 3, padding=2, dilation=2))


def test_networks_that_nobody_knows_train_in_float32_on_a_cpu() -> None:
    taken, gradients = learn((1, 16, 16), dimensions=2, network=build_dilated)
    assert taken == torch.float32
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


def make_compiled(**options: Any) -> Learner:
    configuration = make_configuration(compile=True, optimiser="sgd", **options)
    job = Job(make_plan(configuration), configuration, [], [], Path(), "", device="cpu", augmentations=())
    return make_learner(job)


def test_where_nothing_can_be_compiled_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(network: torch.nn.Module) -> Any:
        def forward(x: torch.Tensor) -> Any:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore lines")

        return forward

    monkeypatch.setattr(torch, "compile", fail)
    learner = make_compiled()
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "No working C++ compiler found); training goes on without it" in warning.message
    assert "more lines" not in warning.message
    assert len(learner.forward(torch.zeros(1, 1, 8, 8, 8))) == 1


def test_a_compiled_network_is_trained_under_its_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the C++ compiler behind it, which takes a minute.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    learner = make_compiled()
    configuration = make_configuration(optimiser="sgd")
    plain = make_learner(Job(make_plan(configuration), configuration, [], [], Path(), "", device="cpu"))
    assert learner.network.state_dict().keys() == plain.network.state_dict().keys()
    assert all(parameter.grad is None for parameter in learner.network.parameters())
    x = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(learner.forward(x)[0], plain.forward(x)[0])
    learner.forward(x)[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in learner.network.parameters())
