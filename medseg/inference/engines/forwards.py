"""A network as a function of windows, whatever computes it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from medseg.core.plan import Configuration
from medseg.inference.engines.choosing import Engine, Precision
from medseg.inference.engines.openvino_engine import make_openvino_forward
from medseg.inference.engines.torch_engine import make_torch_forward
from medseg.inference.sliding_window import Forward


def make_forward(
    network: nn.Module,
    configuration: Configuration,
    channels: int,
    device: torch.device,
    *,
    engine: Engine = "torch",
    precision: Precision = "exact",
    cache: Path | None = None,
) -> Forward:
    """A network as a function of windows.

    Args:
        network: gives a list with the finest logits in evaluation mode; it is on ``device``.
        configuration: the network's; its patch is the window.
        channels: the network's.
        device: where it runs.
        engine: what computes it, as ``choose_engine`` says.
        precision: ``exact`` is float32, with PyTorch on a CPU with the bits of the plain network; ``bf16`` is faster.
        cache: the folder for converted networks; one in the user's cache folder where None.
    Returns:
        a function (window, channel, a, b, c) to logits (window, output, a, b, c), float32, on ``device``.
    Raises:
        MissingExtraError: the engine is not installed.
        ModelError: the network has a layer that the engine does not know.
    """
    network.eval()
    if engine == "openvino":
        return make_openvino_forward(network, configuration, channels, precision, cache)
    return make_torch_forward(network, configuration.dimensions, device, precision)
