"""Instance norm with channels last against PyTorch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from medseg.networks.blocks import ConvBlock
from medseg.networks.instance_norm import InstanceNormAct, layout_of, suits_training


def make_features(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return x.contiguous(memory_format=layout_of(x)).requires_grad_()


def normalise_plainly(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, slope: float | None) -> torch.Tensor:
    y = functional.instance_norm(x, weight=weight, bias=bias, eps=1e-5)
    return y if slope is None else functional.leaky_relu(y, slope)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 6), (1, 2, 3, 4, 5), (3, 2, 5, 4)])
@pytest.mark.parametrize("slope", [0.01, None])
def test_its_gradients_are_its_own(shape: tuple[int, ...], slope: float | None) -> None:
    x = make_features(shape, torch.float64)
    weight, bias = (torch.rand(shape[1], dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda *tensors: InstanceNormAct.apply(*tensors, 1e-5, slope), (x, weight, bias))


@pytest.mark.parametrize("shape", [(2, 8, 12, 14, 10), (3, 6, 31, 17)])
@pytest.mark.parametrize("slope", [0.01, None])
@pytest.mark.parametrize(("dtype", "off"), [(torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 0.05)])
def test_the_same_as_pytorch_s(shape: tuple[int, ...], slope: float | None, dtype: torch.dtype, off: float) -> None:
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    results = []
    for norm in (lambda *tensors: InstanceNormAct.apply(*tensors[:3], 1e-5, slope), normalise_plainly):
        x = make_features(shape, dtype)
        weight, bias = (torch.linspace(0.5, 2, shape[1], dtype=wide).requires_grad_() for _ in range(2))
        y: Any = norm(x, weight, bias, slope)
        assert y.dtype == dtype
        y.backward(torch.cos(torch.arange(y.numel(), dtype=wide)).reshape(shape).to(dtype))
        results.append([y.detach(), x.grad, weight.grad, bias.grad])
    assert results[0][0].is_contiguous(memory_format=layout_of(results[0][0]))
    for mine, theirs in zip(*results, strict=True):
        scale = max(1.0, float(theirs.abs().max()))
        # The odd value next to 0 falls on the other side of the leaky ReLU.
        assert float(((mine - theirs).abs() > off * scale).double().mean()) < 1e-3


def test_blocks_use_it_where_it_is_faster() -> None:
    block = ConvBlock(4, 16, (3, 3, 3), (1, 1, 1)).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    x = torch.randn(2, 4, 16, 16, 16).contiguous(memory_format=torch.channels_last_3d)
    features = block.conv(x)
    assert suits_training(block.norm, features)
    assert not suits_training(block.norm, features[:, :, :4])
    assert not suits_training(block.norm, features.contiguous())
    assert not suits_training(torch.nn.BatchNorm3d(16), features)
    assert "InstanceNormAct" in block(x).grad_fn.name()
    with torch.no_grad():
        assert not suits_training(block.norm, features)
        plain = block(x)
    assert torch.allclose(block(x).detach(), plain, atol=1e-5)
