"""Networks of other projects under our contract: any input size in, a list of logits out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Adapter(nn.Module):
    """A network of another project with inputs padded to what it can divide, and logits cropped back.

    Args:
        network: from (batch, channel, ...) to logits, or to a list of them, the finest first.
        divisors: per spatial axis: what the network's input must be a multiple of.
    """

    def __init__(self, network: nn.Module, divisors: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.divisors = tuple(divisors)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits of the network.

        Args:
            x: (batch, channel, ...), of any size.
        Returns:
            logits (batch, output, ...), the finest first, those of the input's size; coarser ones as far as their
            voxels cover the input exactly. In evaluation mode the finest alone.
        """
        size = tuple(x.shape[2:])
        padded = pad_size(size, self.divisors)
        answer = self.network(pad_end(x, padded))
        logits = [answer] if isinstance(answer, Tensor) else list(answer)
        return crop_stages(logits if self.training else logits[:1], size)


def pad_size(size: Sequence[int], divisors: Sequence[int]) -> tuple[int, ...]:
    """The next larger size that a network can take.

    Args:
        size: voxels per axis.
        divisors: what each axis must be a multiple of.
    Returns:
        voxels per axis; such that more than one voxel is left at the coarsest stage, whose norm has no statistics else.
    """
    steps = [-(-length // divisor) for length, divisor in zip(size, divisors, strict=True)]
    if math.prod(steps) == 1:
        steps[-1] = 2
    return tuple(step * divisor for step, divisor in zip(steps, divisors, strict=True))


def pad_end(x: Tensor, size: Sequence[int]) -> Tensor:
    """Zeros behind the last voxel of each axis; the first stay where they are, so that coarse voxels keep theirs."""
    missing = [wanted - own for wanted, own in zip(size, x.shape[2:], strict=True)]
    if not any(missing):
        return x
    return nn.functional.pad(x, [amount for length in reversed(missing) for amount in (0, length)])


def crop_stages(logits: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
    """Logits of a padded input without what lies behind the input.

    Args:
        logits: (batch, output, ...) per stage, the finest first, of the padded input's size.
        size: the input's voxels per axis.
    Returns:
        the same stages, cropped; the list ends before the first whose voxels do not end where the input ends.
    """
    whole, kept = logits[0].shape[2:], []
    for stage in logits:
        factors = [length // own for length, own in zip(whole, stage.shape[2:], strict=True)]
        if any(length % factor for length, factor in zip(size, factors, strict=True)):
            break
        for axis, (length, factor) in enumerate(zip(size, factors, strict=True), start=2):
            stage = stage.narrow(axis, 0, length // factor)
        kept.append(stage)
    return kept


def give_list(network: nn.Module) -> nn.Module:
    """Let a network that answers with one tensor answer with a list, as all others do; its weights' names stay.

    Args:
        network: anybody's.
    Returns:
        the same module.
    """
    network.register_forward_hook(_wrap_tensor)
    return network


def _wrap_tensor(module: nn.Module, inputs: tuple[object, ...], output: object) -> object:
    return [output] if isinstance(output, torch.Tensor) else output
