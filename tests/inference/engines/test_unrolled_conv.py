"""Convolutions that are unrolled in parts: PyTorch's own bits, and PyTorch's own way wherever it does not unroll."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from medseg.inference.engines.threads import compute_apart
from medseg.inference.engines.unrolled_conv import (
    PART_VALUES,
    UnrolledConv,
    can_unroll,
    convolve_in_parts,
    is_unrolled,
)
from tests.inference.engines.examples import with_threads


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "stride", "padding", "bias"),
    [
        (3, 4, (3, 3, 3), (1, 1, 1), (1, 1, 1), True),
        (2, 5, (1, 3, 3), (1, 2, 2), (0, 1, 1), False),
        (4, 2, (3, 3, 3), (2, 2, 2), (1, 1, 1), True),
        (1, 3, (5, 1, 3), (1, 1, 1), (2, 0, 1), True),
        (2, 2, (2, 2, 2), (2, 2, 2), (0, 0, 0), True),
    ],
)
@pytest.mark.parametrize("part", [64, 2000, 10**6])
def test_parts_are_the_convolution(
    inputs: int, outputs: int, kernel: Any, stride: Any, padding: Any, bias: bool, part: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("medseg.inference.engines.unrolled_conv.PART_VALUES", part)
    conv = nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=bias)
    x = torch.randn(1, inputs, 9, 8, 7)
    with torch.inference_mode():
        expected = conv.double()(x.double())
        conv.float()
        for threads in (1, 2):
            with with_threads(threads):
                found = convolve_in_parts(x[0], conv.weight, conv.bias, stride, padding)
            assert found.shape == expected.shape[1:]
            assert torch.allclose(found.double(), expected[0], atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(8, 8, 1), (16, 12, 2), (2, 8, 1), (20, 6, 1)])
def test_what_pytorch_unrolls_keeps_its_bits(threads: int, inputs: int, outputs: int, stride: int) -> None:
    conv = nn.Conv3d(inputs, outputs, 3, stride, 1)
    layer = UnrolledConv(conv)
    for x in torch.randn(2, 1, inputs, 20, 36, 40):
        assert is_unrolled(conv, x)
        with torch.inference_mode(), with_threads(threads):
            assert torch.equal(layer(x), conv(x))
        with torch.inference_mode(), with_threads(1):
            assert torch.equal(compute_apart(layer, x), conv(x))


def test_what_pytorch_does_not_unroll_is_left_to_it() -> None:
    conv = nn.Conv3d(16, 4, 3, padding=1)
    large, small, batch = torch.zeros(1, 16, 32, 41, 20), torch.zeros(1, 16, 6, 6, 6), torch.zeros(2, 16, 20, 20, 20)
    assert not is_unrolled(conv, large)
    assert not is_unrolled(conv, small)  # its columns fit the cache as they are
    assert conv.weight[0].numel() * 6**3 < 2 * PART_VALUES
    assert not is_unrolled(conv, batch)
    assert not is_unrolled(conv, torch.zeros(1, 16, 20, 20, 20, dtype=torch.bfloat16))
    assert not is_unrolled(conv, torch.zeros(1, 16, 20, 20, 20).to(memory_format=torch.channels_last_3d))
    with torch.inference_mode():
        for x in (torch.randn(2, 16, 20, 20, 20), torch.randn(1, 16, 6, 6, 6)):
            assert torch.equal(UnrolledConv(conv)(x), conv(x))


class Derived(nn.Conv3d):
    """A user's own, whose forward may do anything."""


@pytest.mark.parametrize(
    ("conv", "can"),
    [
        (nn.Conv3d(4, 4, 3), True),
        (nn.Conv3d(4, 4, 3, groups=2), False),
        (nn.Conv3d(4, 4, 3, dilation=2), False),
        (nn.Conv3d(4, 4, 3, padding=1, padding_mode="reflect"), False),
        (nn.Conv3d(4, 4, 3, padding="same"), False),
        (nn.Conv3d(100, 4, 3), False),
        (nn.Conv3d(4, 4, 3).double(), False),
        (nn.Conv2d(4, 4, 3), False),
        (nn.ConvTranspose3d(4, 4, 3), False),
        (Derived(4, 4, 3), False),
    ],
)
def test_other_layers_are_not_taken(conv: nn.Module, can: bool) -> None:
    assert can_unroll(conv) == can
