"""A network with its weights as a function of windows."""

from __future__ import annotations

from typing import Any

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
    layout: Any = torch.channels_last_3d if dimensions == 3 else torch.channels_last
    network.eval().to(memory_format=layout)  # type: ignore[call-overload]

    def forward(windows: Tensor) -> Tensor:
        x = windows.squeeze(2) if dimensions == 2 else windows
        lowered = precision != torch.float32
        # Without the second, cuDNN computes float32 convolutions in TF32, with ten bits of mantissa.
        with (
            torch.autocast(windows.device.type, dtype=precision, enabled=lowered),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=lowered),
        ):
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
