"""What a loss is, and what it is made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

# (logits (batch, channel, ...), targets of the same shape, 0 or 1, mask (batch, 1, ...) of the voxels that count or
# None) to a scalar.
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


# A sum over the batch, as a tensor, to the sum over the batches of all processes that train together.
SumRanks = Callable[[Tensor], Tensor]


def keep_sum(values: Tensor) -> Tensor:
    """The sums as they are: of one process that trains alone."""
    return values


@dataclass(frozen=True)
class LossSetting:
    """What the functions of the table of losses build a loss from.

    Args:
        output: how channels stand for labels: ``softmax`` (the first channel is the background) or ``sigmoid``.
        batch_dice: one Dice over the whole batch instead of one a sample.
        channel_weights: of each channel, the background's included; None where all count the same.
        spacing: of the voxels along each axis, in units of the finest; empty where it is the same along all.
        sum_ranks: makes sums over the batch those over the batches of all processes that train together, so that a
            quotient of two of them is what one process with the whole batch has.
    """

    output: Literal["softmax", "sigmoid"]
    batch_dice: bool
    channel_weights: tuple[float, ...] | None = None
    spacing: tuple[float, ...] = ()
    sum_ranks: SumRanks = keep_sum

    @property
    def first(self) -> int:
        """The first channel that stands for a label: 1 where channel 0 is the background."""
        return int(self.output == "softmax")

    @property
    def label_weights(self) -> tuple[float, ...] | None:
        """The weights of the channels that stand for a label."""
        return None if self.channel_weights is None else self.channel_weights[self.first :]


@dataclass(frozen=True)
class DetailedLoss:
    """A loss with a term that only the finest grid can tell: distances, or small lesions.

    Args:
        finest: the loss of the finest stage, the term included.
        coarser: the loss of the other stages of deep supervision.
    """

    finest: Loss
    coarser: Loss

    def __call__(self, logits: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        """The finest stage's loss, a scalar."""
        return self.finest(logits, targets, mask)
