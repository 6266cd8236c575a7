"""Averaged weights: steadier than the last ones, and better where training is short."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def make_averaged(network: nn.Module, decay: float) -> nn.Module:
    """The network that holds the averaged weights: a copy, or the network itself where nothing is averaged."""
    if decay == 0:
        return network
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def update_average(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the network's.

    Args:
        averaged: from ``make_averaged``, changed in place.
        network: whose parameters and buffers are averaged.
        decay: share of the old average that stays; smaller in the first steps, ``(1 + step) / (10 + step)``.
        step: counted from 0.
    Source: Polyak averaging with the ramp of TensorFlow's ExponentialMovingAverage.
    """
    if averaged is network:
        return
    decay = min(decay, (1 + step) / (10 + step))
    old: list[Tensor] = []
    new: list[Tensor] = []
    for average, tensor in zip(_tensors_of(averaged), _tensors_of(network), strict=True):
        if tensor.is_floating_point():
            old.append(average)
            new.append(tensor)
        else:
            average.copy_(tensor)
    torch._foreach_lerp_(old, new, 1 - decay)


def _tensors_of(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def copy_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in the computer's memory that nothing else writes to."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
