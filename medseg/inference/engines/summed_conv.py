"""3D convolutions summed term by term in the order in which a library sums them, so that their bits are its bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medseg.inference.engines.threads import share_out

# As in conv_kernels.py, which loads numba.
QUAD, TRIPLE, WIDTH = 4, 3, 16
# Matrix libraries cut long sums into blocks that suit the processor's caches; these are known to us (MKL: 192).
BLOCKS = (192, 336, 384)
# oneDNN reads so many channels of a voxel at once, with AVX-512.
CHANNELS_AT_ONCE = 16
# So many sums of an output stay in the first cache while all neighbours are added to them (our own measurement).
PART_SUMS = 1200

Triple = tuple[int, int, int]


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
        weights: (outputs / 4, terms / 3, 4, 3), float32, zeros for outputs beyond the last.
        bias: per output, float32, likewise.
        terms: channel and place in the kernel (a, b, c) of each term, (terms, 4).
        outputs: how many there are.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    terms: NDArray[np.int64]
    outputs: int


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
        return [Order(length, by_voxel=True)] if whole and length % TRIPLE == 0 else []
    blocks = dict.fromkeys([length if length <= BLOCKS[0] else length // 2, *BLOCKS, length])
    if length % TRIPLE:
        return []
    return [Order(block, by_voxel=False) for block in blocks if 0 < block <= length and block % TRIPLE == 0]


def arrange_weights(weight: Tensor, bias: Tensor | None, order: Order) -> SummedWeights:
    """A convolution's weights for ``convolve_by_sums``.

    Args:
        weight: (output, channel, kernel a, b, c), float32.
        bias: (output,) or None.
        order: of the sums.
    Returns:
        the same numbers, four outputs side by side.
    """
    outputs, channels, *kernel = weight.shape
    numbers = torch.arange(weight[0].numel()).view(channels, *kernel)
    if order.by_voxel:
        numbers = numbers.view(-1, min(channels, CHANNELS_AT_ONCE), *kernel).movedim(1, -1)
    sequence = numbers.reshape(-1)
    missing = -outputs % QUAD
    sorted_ = functional.pad(weight.detach().reshape(outputs, -1)[:, sequence], (0, 0, 0, missing))
    quads = sorted_.reshape(-1, QUAD, len(sequence) // TRIPLE, TRIPLE).transpose(1, 2).contiguous()
    added = functional.pad(torch.zeros(outputs) if bias is None else bias.detach(), (0, missing))
    terms = np.stack(np.unravel_index(sequence.numpy(), (channels, *kernel)), axis=1)
    return SummedWeights(quads.numpy(), added.numpy(), terms, outputs)


def convolve_by_sums(x: Tensor, weights: SummedWeights, stride: Triple, padding: Triple, block: int) -> Tensor:
    """A 3D convolution, each output summed over its neighbours in the order of the weights.

    Args:
        x: (channel, a, b, c), float32.
        weights: of ``arrange_weights``.
        stride, padding: along a, b, c.
        block: of the order: so many terms are summed by themselves.
    Returns:
        (output, a, b, c).
    """
    from medseg.inference.engines.conv_kernels import sum_terms

    image = _deal_out(x, stride, padding)
    kernel = weights.terms.max(0)[1:] + 1
    lengths = [length + 2 * around for length, around in zip(x.shape[1:], padding, strict=True)]
    a, b, c = ((length - int(size)) // step + 1 for length, size, step in zip(lengths, kernel, stride, strict=True))
    starts, flat = image.find(weights.terms), image.values.numpy()
    result = torch.empty(weights.outputs, a, b, c)
    target = result.numpy()
    _, lines, line = image.part
    rows = (a - 1) * lines + b
    each = max(1, PART_SUMS // line)

    def compute(first: int, last: int) -> None:
        for part in range(first, last):
            start, stop = part * each, min((part + 1) * each, rows)
            sum_terms(flat, starts, weights.weights, weights.bias, block, (lines, line), start, stop, target)

    share_out(compute, -(-rows // each))
    return result


@dataclass(frozen=True, eq=False)
class _Image:
    """An image with zeros around it, in which neighbouring outputs read neighbouring values.

    Args:
        values: channel by channel, flat. With a stride of two along an axis, every second voxel along it makes a part
            of the image, the others make another.
        strides: along a, b, c.
        part: planes, lines and values of a line in each part.
    """

    values: Tensor
    strides: Triple
    part: Triple

    def find(self, terms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the first output's neighbours stand, by channel and place in the kernel, (terms, 4)."""
        channel, i, j, k = terms.T
        (p, q, r), (planes, lines, line) = self.strides, self.part
        part = ((channel * p + i % p) * q + j % q) * r + k % r
        return np.ascontiguousarray(((part * planes + i // p) * lines + j // q) * line + k // r)


def _deal_out(x: Tensor, strides: Triple, padding: Triple) -> _Image:
    channels, *lengths = x.shape
    p, q, r = padding
    part: Any = tuple(
        -(-(length + 2 * around) // step) for length, around, step in zip(lengths, padding, strides, strict=True)
    )
    padded = [count * step for count, step in zip(part, strides, strict=True)]
    room = x.new_zeros(channels * math.prod(padded) + WIDTH)
    around = room[: len(room) - WIDTH].view(channels, *padded)
    around[:, p : p + lengths[0], q : q + lengths[1], r : r + lengths[2]] = x
    if strides != (1, 1, 1):
        pairs = [value for pair in zip(part, strides, strict=True) for value in pair]
        dealt = around.view(channels, *pairs).permute(0, 2, 4, 6, 1, 3, 5)
        room = functional.pad(dealt.reshape(-1), (0, WIDTH))
    return _Image(room, strides, part)
