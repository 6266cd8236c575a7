"""Small networks for the tests of engines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from medseg.core.plan import Configuration, NetworkPlan
from medseg.networks import build_network
from tests.training.examples import make_configuration

CHANNELS, OUTPUTS = 2, 3
# Channels that fill no whole vector, two convolutions a stage, a stride of 1 along the first axis.
PLAN_3D = NetworkPlan(
    features=(5, 9, 16),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    convolutions=(1, 2, 2),
    decoder_convolutions=(2, 1),
)
PLAN_2D = NetworkPlan(
    features=(5, 8),
    strides=((1, 1), (2, 2)),
    kernels=((3, 3), (3, 3)),
    convolutions=(2, 2),
    decoder_convolutions=(2,),
)
KINDS = [(name, dimensions) for name in ("plain_unet", "residual_unet") for dimensions in (2, 3)]


def make_network(name: str = "plain_unet", dimensions: int = 3) -> tuple[nn.Module, Configuration]:
    """A network in evaluation mode whose every weight is random, so that nothing is multiplied by 0 or 1."""
    plan = (PLAN_3D if dimensions == 3 else PLAN_2D).model_copy(update={"name": name})
    patch_size = (8, 12, 16) if dimensions == 3 else (1, 12, 16)
    configuration = make_configuration(dimensions=dimensions, network=plan, patch_size=patch_size, channels=CHANNELS)
    network = build_network(configuration, CHANNELS, OUTPUTS).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.data = torch.randn(parameter.shape, generator=generator)
    return network, configuration


def make_windows(configuration: Configuration, count: int = 3) -> Tensor:
    """Windows (n, channel, a, b, c) whose intensities are not centred."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, CHANNELS, *configuration.patch_size, generator=generator) * 2 + 0.5


@torch.inference_mode()
def compute_plainly(network: nn.Module, windows: Tensor, dimensions: int) -> Tensor:
    """The network's own answer to one window after the other."""
    x = windows.squeeze(2) if dimensions == 2 else windows
    logits = torch.cat([network(window.contiguous())[0] for window in x.split(1)])
    return logits.unsqueeze(2) if dimensions == 2 else logits


@contextlib.contextmanager
def with_threads(count: int) -> Iterator[None]:
    """As if PyTorch had so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
