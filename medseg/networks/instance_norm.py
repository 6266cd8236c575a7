"""Instance norm and leaky ReLU for training on a CPU, in the layout of memory that its convolutions have.

PyTorch's own instance norm brings features whose channels lie last into another order and back, forwards and backwards:
a sixth of a training step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Voxels times channels of a sample below which the calls for each sample cost more than the changes of layout.
SMALLEST_SAMPLE = 2**15


class InstanceNormAct(torch.autograd.Function):
    """Each sample by its own mean and sd per channel, then scale, shift and leaky ReLU, channels last throughout."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float, slope: float | None) -> Tensor:
        """Features (batch, channel, ...), channels last, to features of the same layout."""
        y = torch.empty_like(x)
        moments = []
        for given, made in zip(
            torch.split(x, 1), torch.split(y, 1), strict=True
        ):  # one sample's batch norm is its instance norm
            mean, inverse_sd = torch.empty_like(weight), torch.empty_like(weight)
            torch.native_batch_norm(given, weight, bias, None, None, True, 0.0, epsilon, out=(made, mean, inverse_sd))
            moments.append((mean, inverse_sd))
        if slope is not None:
            nn.functional.leaky_relu_(y, slope)
        ctx.save_for_backward(x, y, weight, *[moment for pair in moments for moment in pair])
        ctx.epsilon, ctx.slope = epsilon, slope
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """The gradients of features, scale and shift."""
        x, y, weight, *moments = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=layout_of(x))
        if ctx.slope is not None:
            gradient = torch.ops.aten.leaky_relu_backward(gradient, y, ctx.slope, True)
        parts = [
            torch.ops.aten.native_batch_norm_backward(
                gradient[n : n + 1], x[n : n + 1], weight, None, None, moments[2 * n], moments[2 * n + 1],
                True, ctx.epsilon, [True, True, True],
            )
            for n in range(len(x))
        ]  # fmt: skip
        features, scales, shifts = zip(*parts, strict=True)
        return torch.cat(features), torch.stack(scales).sum(0), torch.stack(shifts).sum(0), None, None


def layout_of(x: Tensor) -> torch.memory_format:
    """Channels last, for two or three spatial axes."""
    return torch.channels_last_3d if x.ndim == 5 else torch.channels_last


def suits_training(norm: nn.Module, x: Tensor) -> bool:
    """Whether features are better normalised by ``InstanceNormAct``: on a CPU, with gradients, channels last, large."""
    return (
        isinstance(norm, nn.InstanceNorm2d | nn.InstanceNorm3d)
        and x.device.type == "cpu"
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and x[0].numel() >= SMALLEST_SAMPLE
        and x.is_contiguous(memory_format=layout_of(x))
        and not x.is_contiguous()
    )


def normalise_features(norm: nn.Module, x: Tensor, slope: float | None) -> Tensor:
    """What an instance norm and a leaky ReLU (none where the slope is None) make of features that suit."""
    parameters: Any = (norm.weight, norm.bias, norm.eps)
    normed: Tensor = InstanceNormAct.apply(x, *parameters, slope)  # type: ignore[no-untyped-call]
    return normed
