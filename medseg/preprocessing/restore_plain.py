"""The way back to a scan's grid in torch: on a GPU, and for scans so small that loading compiled loops costs more.

Equal to the last bit to ``restore_kernels``: the same products, added in the same order, rounded once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.preprocessing.label_rule import LabelRule, choose_threshold
from medseg.preprocessing.reads import AxisReads, cut_tiles

# Outputs of a tile along a, b, c, and channels that are interpolated together: 64 MB of float64.
TILE = (32, 64, 64)
TOGETHER = 64

EXPONENT_BITS = 0x7FF0000000000000  # of a float64
# The smallest number that a half holds with all its bits, and what, times a number's power of two, rounds it to one.
SMALLEST_HALF, MAGIC_HALF = 2.0**-14, 1.5 * 2.0**42

Reads = tuple[AxisReads, AxisReads, AxisReads]
Place = tuple[slice, slice, slice]


def label_plain(logits: Tensor, reads: Reads, rule: LabelRule) -> NDArray[Any]:
    """The labels that logits stand for on another grid.

    Args:
        logits: (channel, a, b, c), half or float32, on any device.
        reads: the outputs along a, b, c.
        rule: what a channel writes.
    Returns:
        label values, (output a, b, c).
    """
    kind = torch.uint8 if rule.values.dtype == np.uint8 else torch.int32
    target = torch.zeros([len(axis.low) for axis in reads], dtype=kind, device=logits.device)
    values = rule.values.tolist()
    for place, box, here in _cut_boxes(logits, reads):
        low, high = (extreme.tolist() for extreme in (box.amin((1, 2, 3)), box.amax((1, 2, 3))))
        if rule.paints:
            _paint(target[place], box, here, values, (low, high))
        else:
            _pick_largest(target[place], box, here, values, (low, high))
    return target.cpu().numpy().astype(rule.values.dtype, copy=False)


def resample_plain(logits: Tensor, reads: Reads) -> Tensor:
    """Logits on another grid.

    Args:
        logits: (channel, a, b, c), half or float32, on any device.
        reads: the outputs along a, b, c.
    Returns:
        (channel, output a, b, c), float32, rounded to the logits' own type.
    """
    shape = (logits.shape[0], *(len(axis.low) for axis in reads))
    target = torch.empty(shape, dtype=torch.float32, device=logits.device)
    for place, box, here in _cut_boxes(logits, reads):
        for start in range(0, logits.shape[0], TOGETHER):
            target[:, *place][start : start + TOGETHER] = interpolate(box[start : start + TOGETHER], here)
    return target


def interpolate(box: Tensor, reads: Reads) -> Tensor:
    """Linear interpolation in float64, rounded once.

    Args:
        box: (channel, a, b, c), half or float32.
        reads: the outputs along a, b, c.
    Returns:
        (channel, output a, b, c), float64 numbers of the box's own type.
    Source: the products and sums of ``scipy.ndimage.zoom`` (order 1) in its order.
    """
    total: Tensor | None = None
    for part_a in _weigh(box.double(), 1, reads[0]):
        for part_b in _weigh(part_a, 2, reads[1]):
            for term in _weigh(part_b, 3, reads[2]):
                total = term if total is None else total.add_(term)
    assert total is not None  # the lower side of each axis is always there
    return _round_to_half(total) if box.dtype == torch.half else total.float().double()


def _weigh(values: Tensor, axis: int, reads: AxisReads) -> Iterator[Tensor]:
    """The samples below each output along an axis times their weights, then those above where any has a weight."""
    shape = [-1 if other == axis else 1 for other in range(4)]
    for samples, weights in ((reads.low, reads.weight_low), (reads.high, reads.weight_high)):
        if weights.any():
            index = torch.from_numpy(samples).to(values.device)
            yield values.index_select(axis, index) * torch.from_numpy(weights).to(values.device).reshape(shape)


def _round_to_half(values: Tensor) -> Tensor:
    # torch rounds float64 to float32 on its way to halves, numbers near the middle of two halves twice.
    power = (values.view(torch.int64) & EXPONENT_BITS).view(torch.float64)
    large = power.clamp_(min=SMALLEST_HALF).mul_(MAGIC_HALF)
    return (values + large) - large


def _cut_boxes(logits: Tensor, reads: Reads) -> Iterator[tuple[Place, Tensor, Reads]]:
    """Tiles of outputs, the logits that each reads, and what it reads of them."""
    edges = [cut_tiles(axis, length).tolist() for axis, length in zip(reads, TILE, strict=True)]
    for a, b, c in product(*(pairwise(edge) for edge in edges)):
        place = (slice(*a), slice(*b), slice(*c))
        first = [int(axis.low[side.start]) for axis, side in zip(reads, place, strict=True)]
        last = [int(axis.high[side.stop - 1]) + 1 for axis, side in zip(reads, place, strict=True)]
        box = logits[:, first[0] : last[0], first[1] : last[1], first[2] : last[2]]
        here = (reads[0].cut(place[0], first[0]), reads[1].cut(place[1], first[1]), reads[2].cut(place[2], first[2]))
        yield place, box, here


def _pick_largest(
    target: Tensor, box: Tensor, reads: Reads, values: list[int], ranges: tuple[list[float], list[float]]
) -> None:
    """Write the value of the channel with the largest logit, the lowest of equal ones, into ``target``."""
    low, high = ranges
    sure = low.index(max(low))
    # What cannot reach a channel whose smallest logit is at least its largest is left out, as in the compiled loop.
    found = [c for c in range(len(low)) if c == sure or high[c] > low[sure] or (high[c] == low[sure] and c < sure)]
    target.fill_(values[found[0]])
    if len(found) == 1:
        return
    best: Tensor | None = None
    for start in range(0, len(found), TOGETHER):
        group = found[start : start + TOGETHER]
        for channel, fresh in zip(group, interpolate(box[group], reads), strict=True):
            if best is None:
                best = fresh
                continue
            target.masked_fill_(fresh > best, values[channel])
            best = torch.maximum(best, fresh)


def _paint(
    target: Tensor, box: Tensor, reads: Reads, values: list[int], ranges: tuple[list[float], list[float]]
) -> None:
    """Write each channel's value where its logit is above the threshold, later channels over earlier ones."""
    threshold = choose_threshold(box.dtype)
    for channel, (value, low, high) in enumerate(zip(values, *ranges, strict=True)):
        if low > threshold:
            target.fill_(value)
        elif high > threshold:
            target.masked_fill_(interpolate(box[channel : channel + 1], reads)[0] > threshold, value)
