"""3D convolutions that PyTorch unrolls whole, unrolled a part at a time: the same sums from a tenth of the memory."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from medseg.inference.engines.known_orders import Shapes, read_orders, write_orders
from medseg.inference.engines.summed_conv import (
    Order,
    SummedWeights,
    Triple,
    arrange_weights,
    convolve_by_sums,
    list_orders,
)
from medseg.inference.engines.threads import count_threads, is_one_of_many, share_out

# PyTorch's `use_mkldnn` (Convolution.cpp): of a single image, smaller products of channels and the first two axes are
# not computed by oneDNN but unrolled: every voxel with its neighbours becomes a column, and one product of matrices
# gives the result.
UNROLLED_UP_TO = 20480
# Columns of 2 MB lie in a processor's cache between being written and being read (our own measurement, 0.5 to 4 MB).
PART_VALUES = 2**19
# With longer columns the product takes longer than the unrolling, and a part of them is too narrow for it.
LONGEST_COLUMN = 2048
# oneDNN computes 16 outputs at once, with AVX-512; with so few of them half its work is for nothing.
NARROW_OUTPUTS = 8

# All that are known to this process, and how many of them are kept for the next one.
_orders: dict[Shapes, Order | None] = {}
_kept = 0


class UnrolledConv(nn.Module):
    """A 3D convolution in float32 on a processor, without padding modes, groups or dilation.

    PyTorch writes the columns of all voxels, 27 times the image for a kernel of 3 x 3 x 3, to memory and reads them
    again for the product: most of a small U-Net's time. Here they are not written at all where a loop over neighbours
    gives the same bits, else so many at once as the cache holds. Layers of few outputs, whose vectors oneDNN fills
    only in part, go through that loop too.

    Args:
        conv: the layer whose weights are used; they are shared. Its own answer is taken for other layers that PyTorch
            does not unroll, for long columns, and where neither way gives its bits on this machine.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv = conv
        self.stride = (conv.stride[0], conv.stride[1], conv.stride[2])
        self.padding = (int(conv.padding[0]), int(conv.padding[1]), int(conv.padding[2]))
        self.arranged: dict[Order, SummedWeights] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Features (1, channel, a, b, c) to features."""
        conv, unrolled = self.conv, is_unrolled(self.conv, x)
        if not unrolled and not _is_narrow(conv, x):
            y: Tensor = conv(x)
            return y
        shapes = (x.shape[1:], conv.weight.shape, self.stride, self.padding)
        order = _recall_order(*shapes, unrolled)
        if order is not None:
            if order not in self.arranged:
                self.arranged[order] = arrange_weights(conv.weight, conv.bias, order)
            return convolve_by_sums(x[0], self.arranged[order], self.stride, self.padding)[None]
        if unrolled and _has_same_bits(*shapes, torch.get_num_threads()):
            return convolve_in_parts(x[0], conv.weight, conv.bias, self.stride, self.padding)[None]
        y = conv(x)
        return y


def can_unroll(conv: nn.Module) -> bool:
    """Whether a layer is a convolution of the kind that ``UnrolledConv`` computes."""
    return (
        type(conv) is nn.Conv3d
        and conv.groups == 1
        and conv.dilation == (1, 1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.weight.dtype == torch.float32
        and conv.weight[0].numel() <= LONGEST_COLUMN
    )


def is_unrolled(conv: nn.Conv3d, x: Tensor) -> bool:
    """Whether PyTorch would unroll the image, and parts of it would be smaller."""
    single = len(x) == 1 and x.dtype == torch.float32 and x.is_contiguous()
    voxels = x.shape[2] * x.shape[3] * x.shape[4]
    return single and x.shape[1:4].numel() <= UNROLLED_UP_TO and conv.weight[0].numel() * voxels > 2 * PART_VALUES


def convolve_in_parts(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Triple, padding: Triple) -> Tensor:
    """A 3D convolution as products of matrices, a part of the outputs at a time.

    Args:
        x: (channel, a, b, c), float32.
        weight: (output, channel, kernel a, b, c).
        bias: (output,) or None.
        stride, padding: along a, b, c.
    Returns:
        (output, a, b, c).
    """
    p, q, r = padding
    padded = functional.pad(x, (r, r, q, q, p, p))
    kernel = weight.shape[2:]
    a, b, c = ((length - size) // step + 1 for length, size, step in zip(padded.shape[1:], kernel, stride, strict=True))
    matrix = weight.reshape(len(weight), -1)
    steps = padded.stride()
    apart = [step * own for step, own in zip(stride, steps[1:], strict=True)]
    result = x.new_zeros(len(weight), a * b * c) if bias is None else bias[:, None].repeat(1, a * b * c)
    column = matrix.shape[1]
    rows = max(1, min(b, PART_VALUES // (column * c)))  # along b
    planes = max(1, min(a, PART_VALUES // (column * b * c))) if rows == b else 1
    parts = [(plane, row) for plane in range(0, a, planes) for row in range(0, b, rows)]

    def compute(first: int, last: int) -> None:
        room = torch.empty(column * planes * rows * c)
        for plane, row in parts[first:last]:
            shape = (len(x), *kernel, min(planes, a - plane), min(rows, b - row), c)
            neighbours = padded.as_strided(shape, (*steps, *apart), plane * apart[0] + row * apart[1])
            count = shape[4] * shape[5] * c
            columns = room[: column * count].view(shape).copy_(neighbours).view(column, count)
            start = (plane * b + row) * c
            result[:, start : start + count].addmm_(matrix, columns)

    share_out(compute, len(parts))
    return result.view(-1, a, b, c)


def _is_narrow(conv: nn.Conv3d, x: Tensor) -> bool:
    """Whether oneDNN computes an image, and would leave half of its vectors of outputs empty."""
    single = len(x) == 1 and x.dtype == torch.float32 and x.is_contiguous()
    return single and conv.out_channels <= NARROW_OUTPUTS and x[0].numel() > UNROLLED_UP_TO


def _recall_order(
    image: torch.Size, weight: torch.Size, stride: Triple, padding: Triple, unrolled: bool
) -> Order | None:
    """The order that was found for these shapes. One of many threads, in which the library might sum in another order
    than all together, looks for none."""
    shapes = (image, weight, stride, padding, count_threads(), unrolled)
    if shapes not in _orders and not is_one_of_many():
        _recall_earlier()
        if shapes not in _orders:
            _orders[shapes] = _find_order(*shapes)
    return _orders.get(shapes)


@cache
def _recall_earlier() -> None:
    """Take over what earlier runs saw."""
    global _kept
    _orders.update(read_orders())
    _kept = len(_orders)


def keep_orders() -> None:
    """Keep what this process saw for later runs, where it saw something new."""
    global _kept
    if len(_orders) > _kept and not is_one_of_many():
        _kept = len(_orders)
        write_orders(_orders)


def _find_order(
    image: torch.Size, weight: torch.Size, stride: Triple, padding: Triple, threads: int, unrolled: bool
) -> Order | None:
    """How this machine's library sums a convolution of these shapes; None where no way is seen.

    It is seen by the bits of one whole convolution with random numbers.
    """
    x, kernel, bias, whole = _draw_example(image, weight, stride, padding, threads)
    for order in list_orders(weight, unrolled=unrolled):
        arranged = arrange_weights(kernel, bias, order)
        if torch.equal(whole, convolve_by_sums(x, arranged, stride, padding)):
            return order
    return None


@cache
def _has_same_bits(image: torch.Size, weight: torch.Size, stride: Triple, padding: Triple, threads: int) -> bool:
    """Whether products of parts have the bits of PyTorch's product of the whole, of these shapes on this machine.

    With several threads the library may add long columns in another order.
    """
    x, kernel, bias, whole = _draw_example(image, weight, stride, padding, threads)
    return torch.equal(whole, convolve_in_parts(x, kernel, bias, stride, padding))


def _draw_example(
    image: torch.Size, weight: torch.Size, stride: Triple, padding: Triple, threads: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """An image, weights and a bias of these shapes, always the same, and PyTorch's convolution of them."""
    generator = torch.Generator().manual_seed(threads)
    x, kernel = torch.rand(image, generator=generator) - 0.5, torch.rand(weight, generator=generator) - 0.5
    bias = torch.rand(weight[0], generator=generator)
    return x, kernel, bias, functional.conv3d(x[None], kernel, bias, stride, padding)[0]
