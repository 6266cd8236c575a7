"""How logits become a label: the largest one wins, or what is likely enough is painted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.labels import LabelScheme

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class LabelRule:
    """What the channels of a network write into a label map.

    Args:
        values: each channel's, uint8 or uint16; with a softmax rising, so that of equal logits the lowest value wins
            whatever the order in which the labels are listed.
        paints: whether channels are painted one over another (sigmoid), else the largest logit wins (softmax).
        order: the network's channels in the order of ``values``; None where it is the network's own.
    """

    values: NDArray[Any]
    paints: bool
    order: tuple[int, ...] | None = None

    @classmethod
    def of(cls, labels: LabelScheme) -> LabelRule:
        """The rule of a label scheme."""
        values = np.array(labels.channel_values(), labels.value_type())
        if labels.output == "sigmoid":
            return cls(values, paints=True)
        order = tuple(int(channel) for channel in values.argsort(kind="stable"))
        rises = order == tuple(range(len(order)))
        return cls(values[list(order)], paints=False, order=None if rises else order)

    def arrange(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits (channel, a, b, c) of the network with the channels in the order of ``values``."""
        return logits if self.order is None else logits[list(self.order)]


def choose_threshold(kind: torch.dtype) -> float:
    """The logit above which a channel is painted: 0, and for halves the largest whose sigmoid is 0.5 in float32."""
    import torch

    return _find_half_threshold() if kind == torch.half else 0.0


@cache
def _find_half_threshold() -> float:
    import torch

    # nnU-Net asks for sigmoid(float32(half)) > 0.5, and float32 gives 0.5 for the very smallest positive halves too.
    halves = torch.arange(0x7C00, dtype=torch.int16).view(torch.half).float()
    return float(halves[torch.sigmoid(halves) <= 0.5].max())
