"""A network with its weights as a function of windows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medseg.inference.sliding_window import Forward


def as_forward(network: nn.Module, dimensions: int, precision: torch.dtype = torch.float32) -> Forward:
    """A network in evaluation mode as a function of windows.

    Args:
        network: logits of its finest stage in evaluation mode.
        dimensions: 2 for a network of slices: windows are then (window, channel, 1, b, c).
        precision: of its arithmetic.
    Returns:
        a function (window, channel, a, b, c) to logits (window, output, a, b, c), float32.
    """
    network.eval()

    def forward(windows: Tensor) -> Tensor:
        x = windows.squeeze(2) if dimensions == 2 else windows
        with torch.autocast(windows.device.type, dtype=precision, enabled=precision != torch.float32):
            logits: Tensor = network(x)[0]
        return (logits.unsqueeze(2) if dimensions == 2 else logits).float()

    return forward


def average_forwards(forwards: list[Forward]) -> Forward:
    """The mean logits of several networks (the folds of a cross-validation)."""

    def forward(windows: Tensor) -> Tensor:
        total = forwards[0](windows)
        for other in forwards[1:]:
            total = total + other(windows)
        return total / len(forwards)

    return forward if len(forwards) > 1 else forwards[0]
