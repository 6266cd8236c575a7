"""How far two engines' answers to the same windows lie apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from medseg.inference.sliding_window import Forward


@dataclass(frozen=True)
class Parity:
    """What differs between two engines.

    Args:
        windows: how many were compared.
        largest_difference: between two logits of the same voxel and channel.
        logit_range: from the lowest to the highest logit of the first engine, to judge the difference by.
        same_labels: the share of voxels with the same label.
        dice: of the voxels that are not background, 2 * both / (first + second); None where neither has any.
    """

    windows: int
    largest_difference: float
    logit_range: float
    same_labels: float
    dice: float | None


@torch.inference_mode()
def compare_engines(first: Forward, second: Forward, windows: Iterable[Tensor], *, softmax: bool = True) -> Parity:
    """Compare two engines window by window.

    Args:
        first: the engine to compare with, as a function of windows.
        second: the other one.
        windows: each (channel, a, b, c), normalised; at least one.
        softmax: whether a voxel's label is its highest channel, 0 the background; otherwise each channel is a region
            of its own, there where its logit is above 0.
    Returns:
        their parity over all windows together.
    """
    count, largest, low, high = 0, 0.0, float("inf"), float("-inf")
    same = voxels = both = ones = others = 0
    for window in windows:
        a, b = (engine(window[None]).float().cpu() for engine in (first, second))
        largest = max(largest, float((a - b).abs().max()))
        low, high = min(low, float(a.min())), max(high, float(a.max()))
        labels_a, labels_b = (logits.argmax(1) if softmax else logits > 0 for logits in (a, b))
        same += int((labels_a == labels_b).sum())
        voxels += labels_a.numel()
        both += int(((labels_a == labels_b) & (labels_a != 0)).sum())
        ones += int((labels_a != 0).sum())
        others += int((labels_b != 0).sum())
        count += 1
    dice = 2 * both / (ones + others) if ones + others else None
    return Parity(count, largest, high - low, same / voxels, dice)
