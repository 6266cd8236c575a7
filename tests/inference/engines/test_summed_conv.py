"""Convolutions summed over neighbours: the sums of a product of matrices, cut into blocks as a library cuts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from medseg.inference.engines import conv_kernels, summed_conv
from medseg.inference.engines.summed_conv import Order, arrange_weights, convolve_by_sums, list_orders
from medseg.inference.engines.unrolled_conv import UnrolledConv
from tests.inference.engines.examples import with_threads


def sum_in_order(x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, order: Order) -> np.ndarray:
    """Each output by the definition: fused products in float32, block by block. Independent of the loop."""
    p, q, r = padding
    around = functional.pad(x, (r, r, q, q, p, p)).numpy().astype(np.float64)
    a, b, c = (around.shape[n + 1] - weight.shape[n + 2] + 1 for n in range(3))
    places = [(n, i, j, k) for n, i, j, k in np.ndindex(*weight.shape[1:])]
    if order.by_voxel:
        places.sort(key=lambda place: (place[0] // 16, place[1:], place[0]))
    total = np.broadcast_to(bias.numpy()[:, None, None, None], (len(weight), a, b, c)).astype(np.float32)
    for first in range(0, len(places), order.block):
        part = np.zeros(total.shape, np.float32)
        for n, i, j, k in places[first : first + order.block]:
            # A product of two float32 is exact in float64, so that this rounds as a fused product does (but for ties).
            column = weight[:, n, i, j, k].double().numpy()[:, None, None, None]
            part = (column * around[n, i : i + a, j : j + b, k : k + c] + part).astype(np.float32)
        total = total + part
    return total[:, :: stride[0], :: stride[1], :: stride[2]]


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride", "padding", "shape"),
    [
        (2, 4, (3, 3, 3), (1, 1, 1), (1, 1, 1), (5, 6, 7)),
        (3, 5, (3, 3, 3), (2, 2, 2), (1, 1, 1), (4, 9, 16)),
        (4, 1, (1, 3, 3), (1, 2, 2), (0, 1, 1), (3, 5, 20)),
        (1, 9, (1, 1, 3), (1, 1, 3), (0, 0, 1), (2, 3, 5)),
        (2, 6, (3, 1, 3), (2, 1, 1), (1, 0, 0), (6, 4, 9)),
        (1, 2, (5, 3, 3), (1, 1, 1), (2, 1, 1), (7, 8, 3)),
        (32, 3, (3, 1, 1), (1, 1, 1), (1, 0, 0), (4, 3, 6)),
    ],
)
@pytest.mark.parametrize("by_voxel", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_sums_are_those_of_the_definition(
    channels: int, outputs: int, kernel: Any, stride: Any, padding: Any, shape: Any, by_voxel: bool, threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(summed_conv, "PART_SUMS", 40)  # several parts, across planes, the last one shorter
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(channels, *shape, generator=generator)
    weight = torch.randn(outputs, channels, *kernel, generator=generator)
    bias = torch.randn(outputs, generator=generator)
    length = weight[0].numel()
    for block in {length, length // 2 or length}:
        order = Order(block, by_voxel)
        with with_threads(threads):
            found = convolve_by_sums(x, arrange_weights(weight, bias, order), stride, padding)
        expected = sum_in_order(x, weight, bias, stride, padding, order)
        assert found.shape == expected.shape
        assert (found.numpy() == expected).mean() > 0.999
        truth = functional.conv3d(x[None].double(), weight.double(), bias.double(), stride, padding)[0]
        assert torch.allclose(found.double(), truth, atol=1e-4)


def test_without_bias() -> None:
    x, weight = torch.randn(2, 4, 5, 6), torch.randn(3, 2, 3, 3, 3)
    found = convolve_by_sums(x, arrange_weights(weight, None, Order(54, False)), (1, 1, 1), (1, 1, 1))
    assert torch.allclose(found, functional.conv3d(x[None], weight, None, 1, 1)[0], atol=1e-4)


def test_orders_are_those_that_the_loop_can_follow() -> None:
    def blocks(*shape: int, unrolled: bool = True) -> list[int]:
        return [order.block for order in list_orders(torch.Size(shape), unrolled=unrolled)]

    assert blocks(8, 8, 3, 3, 3) == [108, 192, 216]
    assert blocks(8, 1, 3, 3, 3) == [27]
    assert blocks(8, 32, 3, 3, 3) == [192, 432, 336, 384, 864]
    assert blocks(8, 2, 2, 2, 2) == [16]
    assert blocks(8, 16, 3, 3, 3, unrolled=False) == [432]
    assert blocks(8, 20, 3, 3, 3, unrolled=False) == []  # oneDNN reads sixteen channels at once


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(16, 8, 1), (32, 8, 1), (16, 3, 1), (16, 6, 2)])
def test_narrow_layers_keep_the_bits_of_onednn(threads: int, inputs: int, outputs: int, stride: int) -> None:
    conv = nn.Conv3d(inputs, outputs, 3, stride, 1)
    layer = UnrolledConv(conv)
    x = torch.randn(1, inputs, 10, 36, 40 * 16 // inputs + 30)
    with torch.inference_mode(), with_threads(threads):
        assert torch.equal(layer(x), conv(x))


def test_the_loop_and_its_caller_agree() -> None:
    assert (summed_conv.QUAD, summed_conv.WIDTH) == (conv_kernels.QUAD, conv_kernels.WIDTH)
