"""Averaged weights: steadier than the last ones, and better where training is short."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], network: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the network's.

    Args:
        average: name to tensor, changed in place.
        network: whose parameters and buffers are averaged.
        decay: share of the old average that stays; smaller in the first steps, ``(1 + step) / (10 + step)``.
        step: counted from 0.
    Source: Polyak averaging with the ramp of TensorFlow's ExponentialMovingAverage.
    """
    decay = min(decay, (1 + step) / (10 + step))
    old, new = [], []
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            old.append(average[name])
            new.append(tensor)
        else:
            average[name].copy_(tensor)
    torch._foreach_lerp_(old, new, 1 - decay)


def copy_state(network: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter and buffer."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
