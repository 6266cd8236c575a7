"""3D convolutions summed term by term in the order in which a library sums them, so that their bits are its bits."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medseg.inference.engines.threads import share_out

# As in conv_kernels.py, which loads numba.
QUAD, WIDTH = 4, 16
# Matrix libraries cut long sums into blocks that suit the processor's caches; these are known to us (MKL: 192).
BLOCKS = (192, 336, 384)
# oneDNN reads so many channels of a voxel at once, with AVX-512.
CHANNELS_AT_ONCE = 16
# So many sums of an output stay in the first cache while all neighbours are added to them (our own measurement).
PART_SUMS = 1200

# Images up to 16 MB stand where the last one stood.
KEPT_VALUES = 2**22

Triple = tuple[int, int, int]

_own = threading.local()


@dataclass(frozen=True)
class Order:
    """In which order a library adds the terms of an output.

    Args:
        block: so many are summed by themselves, then added to what was before.
        by_voxel: neighbour by neighbour, the channels of each (as oneDNN does); else channel by channel, the neighbours
            in each (a product of matrices).
    """

    block: int
    by_voxel: bool


@dataclass(frozen=True, eq=False)
class SummedWeights:
    """A convolution's weights as the loop reads them.

    Args:
        weights: (outputs / 4, terms * 4), float32, zeros for outputs beyond the last.
        bias: per output, float32, likewise.
        outputs: how many there are.
        kernel: its size along a, b, c.
        order: of the sums.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    outputs: int
    kernel: Triple
    order: Order


def list_orders(weight: torch.Size, *, unrolled: bool) -> list[Order]:
    """The orders in which a library may sum a convolution.

    Args:
        weight: (output, channel, kernel a, b, c).
        unrolled: whether it computes a product of matrices.
    Returns:
        the likely ones first; empty where the loop knows none.
    """
    length, channels = weight[1:].numel(), weight[1]
    if not unrolled:
        whole = channels < CHANNELS_AT_ONCE or channels % CHANNELS_AT_ONCE == 0
        return [Order(length, by_voxel=True)] if whole else []
    likely = length if length <= BLOCKS[0] else length // 2 if length <= 2 * BLOCKS[0] else BLOCKS[0]
    blocks = dict.fromkeys([likely, length // 2 if length > BLOCKS[0] else length, *BLOCKS, length])
    return [Order(block, by_voxel=False) for block in blocks if 0 < block <= length]


def arrange_weights(weight: Tensor, bias: Tensor | None, order: Order) -> SummedWeights:
    """A convolution's weights for ``convolve_by_sums``.

    Args:
        weight: (output, channel, kernel a, b, c), float32.
        bias: (output,) or None.
        order: of the sums.
    Returns:
        the same numbers, four outputs side by side.
    """
    outputs, channels, a, b, c = weight.shape
    sequence = list_terms(order, channels, (a, b, c))
    missing = -outputs % QUAD
    sorted_ = functional.pad(weight.detach().reshape(outputs, -1)[:, sequence], (0, 0, 0, missing))
    quads = sorted_.reshape(-1, QUAD, len(sequence)).transpose(1, 2).flatten(1).contiguous()
    added = functional.pad(torch.zeros(outputs) if bias is None else bias.detach(), (0, missing))
    return SummedWeights(quads.numpy(), added.numpy(), outputs, (a, b, c), order)


def convolve_by_sums(x: Tensor, weights: SummedWeights, stride: Triple, padding: Triple) -> Tensor:
    """A 3D convolution, each output summed over its neighbours in the order of the weights.

    Args:
        x: (channel, a, b, c), float32.
        weights: of ``arrange_weights``.
        stride, padding: along a, b, c.
    Returns:
        (output, a, b, c).
    """
    from medseg.inference.engines.conv_kernels import count_sums, sum_terms

    part = _part_image(x.shape[1:], stride, padding)
    starts = _find_starts(weights.order, len(x), weights.kernel, stride, part)
    flat = _deal_out(x, stride, padding, part)
    a, b, c = (
        (length + 2 * around - size) // step + 1
        for length, around, size, step in zip(x.shape[1:], padding, weights.kernel, stride, strict=True)
    )
    result = torch.empty(weights.outputs, a, b, c)
    target, block = result.numpy(), weights.order.block
    _, lines, line = part
    rows = (a - 1) * lines + b
    each = max(1, PART_SUMS // line)

    def compute(first: int, last: int) -> None:
        totals = torch.empty(QUAD * count_sums(each, line, c)).numpy()
        for number in range(first, last):
            ends = number * each, min((number + 1) * each, rows)
            sum_terms(flat, starts, weights.weights, weights.bias, block, (lines, line), *ends, totals, target)

    share_out(compute, -(-rows // each))
    return result


def _part_image(shape: Sequence[int], strides: Triple, padding: Triple) -> Triple:
    """Planes, lines and values of a line in each part of an image: with a stride of two along an axis, every second
    voxel along it, zeros around the image counted, makes a part, the others make another."""
    a, b, c = (-(-(length + 2 * around) // step) for length, around, step in zip(shape, padding, strides, strict=True))
    return a, b, c


def _deal_out(x: Tensor, strides: Triple, padding: Triple, part: Triple) -> NDArray[np.float32]:
    """An image with zeros around it, part by part, flat, in which neighbouring outputs read neighbouring values."""
    from medseg.inference.engines.conv_kernels import deal_out

    count = len(x) * math.prod(strides) * math.prod(part)
    flat = _borrow(count + WIDTH)
    flat[count:] = 0
    channels, a, b, c = x.shape
    deal_out(x.flatten().numpy(), (channels, a, b, c), strides, padding, part, flat)
    return flat


def _borrow(count: int) -> NDArray[np.float32]:
    """Room for so many values that this thread uses until it asks again: memory fresh from the system costs more time
    than is needed to fill it."""
    if count > KEPT_VALUES:
        return torch.empty(count).numpy()
    if len(getattr(_own, "room", ())) < count:
        _own.room = torch.empty(count).numpy()
    room: NDArray[np.float32] = _own.room[:count]
    return room


@cache
def _find_starts(order: Order, channels: int, kernel: Triple, strides: Triple, part: Triple) -> NDArray[np.int64]:
    """Where the first output's neighbour of each term stands in an image that was dealt out."""
    channel, i, j, k = np.unravel_index(list_terms(order, channels, kernel).numpy(), (channels, *kernel))
    (p, q, r), (planes, lines, line) = strides, part
    number = ((channel * p + i % p) * q + j % q) * r + k % r
    return np.ascontiguousarray(((number * planes + i // p) * lines + j // q) * line + k // r)


def list_terms(order: Order, channels: int, kernel: Sequence[int]) -> Tensor:
    """The places of an output's terms among its weights (channel, a, b, c), in the order of the sum."""
    numbers = torch.arange(channels * math.prod(kernel)).view(channels, *kernel)
    if order.by_voxel:
        numbers = numbers.view(-1, min(channels, CHANNELS_AT_ONCE), *kernel).movedim(1, -1)
    return numbers.reshape(-1)
