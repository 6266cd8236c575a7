"""Every network of the table through PyTorch's engine: its own bits in exact mode, nearly the same in bfloat16."""

from __future__ import annotations

import pytest
import torch

from medseg.inference.engines import make_forward
from medseg.networks import NETWORKS, build_network
from tests.inference.engines.examples import CHANNELS, OUTPUTS, compute_plainly, make_windows, with_threads
from tests.networks.examples import SHAPES
from tests.training.examples import make_configuration

CPU = torch.device("cpu")
SLOW = {("swin_unetr", "3d")}  # its smallest input has 32 x 32 x 64 voxels
EVERY = [
    pytest.param(name, shape, marks=[pytest.mark.slow] if (name, shape) in SLOW else [])
    for name in NETWORKS
    for shape in SHAPES
]


@pytest.mark.parametrize(("name", "shape"), EVERY)
def test_every_network_of_the_table_predicts(name: str, shape: str) -> None:
    plan, size = SHAPES[shape]
    dimensions = len(size)
    patch_size = (1,) * (3 - dimensions) + tuple(size)
    configuration = make_configuration(
        network=plan.model_copy(update={"name": name}), dimensions=dimensions, patch_size=patch_size, channels=CHANNELS
    )
    network = build_network(configuration, CHANNELS, OUTPUTS).eval()
    windows = make_windows(configuration, 2)
    with with_threads(2):
        expected = compute_plainly(network, windows, dimensions)
        assert torch.equal(make_forward(network, configuration, CHANNELS, CPU)(windows), expected)
        lower = make_forward(network, configuration, CHANNELS, CPU, precision="bf16")(windows).detach()
    assert lower.shape == expected.shape
    assert float((lower - expected).abs().mean()) < 0.05 * float(expected.std())
