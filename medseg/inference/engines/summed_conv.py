"""3D convolutions summed voxel by voxel in the order in which a matrix library sums the product that they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
# So many sums of an output stay in the first cache while all neighbours are added to them (our own measurement).
PART_SUMS = 2400

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class SummedWeights:
    """A convolution's weights as the loop reads them.

    Args:
        weights: (outputs / 4, channel, kernel a, kernel b, 4, 3), float32, zeros for outputs beyond the last.
        bias: per output, float32, likewise.
        outputs: how many there are.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    outputs: int


def can_sum(weight: torch.Size, stride: Triple) -> bool:
    """Whether the loop knows convolutions of this kind: kernels of three along the last axis, no stride."""
    return weight[4] == 3 and stride == (1, 1, 1)


def list_blocks(weight: torch.Size) -> list[int]:
    """How a library may cut the sums of a convolution: not at all, in halves, or into blocks of a fixed length."""
    length = weight[1:].numel()
    blocks = [length, length // 2, *BLOCKS]
    return list(dict.fromkeys(block for block in blocks if 0 < block <= length and block % 3 == 0))


def arrange_weights(weight: Tensor, bias: Tensor | None) -> SummedWeights:
    """A convolution's weights for ``convolve_by_sums``.

    Args:
        weight: (output, channel, kernel a, b, 3), float32.
        bias: (output,) or None.
    Returns:
        the same numbers, four outputs side by side.
    """
    outputs = len(weight)
    missing = -outputs % QUAD
    padded = functional.pad(weight.detach(), (0, 0) * 4 + (0, missing))
    quads = padded.reshape(-1, QUAD, *weight.shape[1:]).permute(0, 2, 3, 4, 1, 5).contiguous()
    added = torch.zeros(outputs) if bias is None else bias.detach()
    return SummedWeights(quads.numpy(), functional.pad(added, (0, missing)).numpy(), outputs)


def convolve_by_sums(x: Tensor, weights: SummedWeights, padding: Triple, block: int) -> Tensor:
    """A 3D convolution, each output summed over its neighbours in the order of a product of matrices.

    Args:
        x: (channel, a, b, c), float32.
        weights: of ``arrange_weights``.
        padding: along a, b, c.
        block: so many products are summed by themselves, one of ``list_blocks``.
    Returns:
        (output, a, b, c).
    """
    from medseg.inference.engines.conv_kernels import sum_neighbours

    p, q, r = padding
    channels, *lengths = x.shape
    size: Any = tuple(length + 2 * around for length, around in zip(lengths, padding, strict=True))
    room = x.new_zeros(channels * size[0] * size[1] * size[2] + WIDTH)
    around = room[: len(room) - WIDTH].view(channels, *size)
    around[:, p : p + lengths[0], q : q + lengths[1], r : r + lengths[2]] = x
    kernel = weights.weights.shape[2:4]
    a, b, c = size[0] - kernel[0] + 1, size[1] - kernel[1] + 1, size[2] - 2
    result = torch.empty(weights.outputs, a, b, c)
    flat, target = room.numpy(), result.numpy()
    parts = -(-b * size[2] // PART_SUMS)  # of a plane
    rows = -(-b // parts)

    def compute(first: int, last: int) -> None:
        for part in range(first, last):
            plane, row = part // parts, part % parts * rows
            if row < b:
                piece = target[:, plane, row : row + rows]
                sum_neighbours(flat, size, weights.weights, weights.bias, block, plane, row, piece)

    share_out(compute, a * parts)
    return result
