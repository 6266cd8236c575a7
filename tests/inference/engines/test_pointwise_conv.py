"""Pointwise convolutions in a thread alone have the bits that they have where PyTorch uses several threads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medseg.inference.engines.pointwise_conv import PointwiseConv, is_pointwise
from medseg.inference.engines.threads import compute_apart
from tests.inference.engines.examples import with_threads

ONE = nn.Conv3d(4, 4, 1)


@pytest.mark.parametrize(
    ("conv", "size"),
    [
        (nn.Conv3d(32, 3, 1), (24, 40, 40)),
        (nn.Conv3d(64, 96, 1, bias=False), (12, 40, 40)),
        (nn.Conv3d(256, 320, 1), (8, 20, 20)),
        (nn.Conv3d(40, 8, (3, 1, 1), padding=(1, 0, 0)), (24, 30, 30)),
        (nn.Conv3d(8, 3, 1), (8, 8, 8)),
        (nn.Conv2d(64, 64, 1), (80, 64)),
        (nn.Conv2d(16, 2, 1), (6, 6)),
    ],
)
def test_a_thread_alone_gives_the_bits_of_several(conv: nn.Conv2d | nn.Conv3d, size: tuple[int, ...]) -> None:
    layer, x = PointwiseConv(conv), torch.randn(1, conv.in_channels, *size)
    with torch.inference_mode(), with_threads(2):
        expected = conv(x)
        assert torch.equal(layer(x), expected)
        assert torch.equal(compute_apart(layer, x), expected)
    with torch.inference_mode(), with_threads(1):
        assert torch.equal(layer(x), conv(x))  # the only thread computes as PyTorch does then


@pytest.mark.parametrize(
    ("conv", "is_one"),
    [
        (ONE, True),
        (nn.Conv3d(4, 4, (3, 1, 1)), True),
        (nn.Conv2d(4, 4, 1), True),
        (nn.Conv3d(4, 4, (1, 1, 3)), False),
        (nn.Conv3d(4, 4, 1, stride=2), False),
        (nn.Conv3d(4, 4, 1, groups=4), False),
        (nn.Conv3d(4, 4, 1).bfloat16(), False),
        (nn.ConvTranspose3d(4, 4, 1), False),
    ],
)
def test_other_layers_are_not_taken(conv: nn.Module, is_one: bool) -> None:
    assert is_pointwise(conv) == is_one
