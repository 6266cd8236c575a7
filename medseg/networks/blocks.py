"""The pieces that U-Nets are made of, in two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from medseg.networks.instance_norm import normalise_features, suits_training

# The slope and epsilon of nnU-Net's networks, so that weights can be exchanged.
LEAKY_SLOPE = 0.01
NORM_EPSILON = 1e-5

CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORMS: dict[tuple[str, int], Callable[..., nn.Module]] = {
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
}
AVERAGES: dict[int, Callable[..., nn.Module]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


@dataclass(frozen=True)
class Style:
    """What all blocks of a network share.

    Args:
        bias: whether convolutions have one.
        norm: ``instance`` or ``batch``.
        epsilon: what the norm adds to the variance.
        slope: of the leaky ReLU below 0.
    """

    bias: bool = True
    norm: Literal["instance", "batch"] = "instance"
    epsilon: float = NORM_EPSILON
    slope: float = LEAKY_SLOPE


USUAL = Style()


class ConvBlock(nn.Module):
    """Convolution, normalisation, leaky ReLU.

    Args:
        inputs, outputs: channels.
        kernel, stride: per spatial axis; their length is the number of dimensions.
        style: bias, norm and activation.
        activate: without it the block ends with the normalisation (the end of a residual branch).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        style: Style = USUAL,
        *,
        activate: bool = True,
    ) -> None:
        super().__init__()
        dimensions = len(kernel)
        padding = tuple((size - 1) // 2 for size in kernel)
        self.conv = CONVOLUTIONS[dimensions](inputs, outputs, tuple(kernel), tuple(stride), padding, bias=style.bias)
        self.norm = NORMS[style.norm, dimensions](outputs, eps=style.epsilon, affine=True)
        self.slope = style.slope
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channel, ...) to features."""
        x = self.conv(x)
        if suits_training(self.norm, x):
            slope = self.slope if self.activate else None
            return normalise_features(self.norm, x, slope)
        x = self.norm(x)
        return nn.functional.leaky_relu_(x, self.slope) if self.activate else x


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut; a strided shortcut averages, then projects (ResNet-D).

    Source: He et al., "Deep residual learning" (2016), "Bag of tricks" (2019), as nnU-Net's residual encoder has it.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int], style: Style = USUAL
    ) -> None:
        super().__init__()
        ones = (1,) * len(kernel)
        self.first = ConvBlock(inputs, outputs, kernel, stride, style)
        self.second = ConvBlock(outputs, outputs, kernel, ones, style, activate=False)
        self.pool = _average_pool(stride) if any(step != 1 for step in stride) else nn.Identity()
        self.project: nn.Module = nn.Identity()
        if inputs != outputs:
            self.project = ConvBlock(inputs, outputs, ones, ones, replace(style, bias=False), activate=False)
        self.slope = style.slope

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channel, ...) to features."""
        shortcut = self.project(self.pool(x))
        return nn.functional.leaky_relu_(self.second(self.first(x)) + shortcut, self.slope)


def _average_pool(stride: Sequence[int]) -> nn.Module:
    return AVERAGES[len(stride)](tuple(stride), tuple(stride))


def initialise(module: nn.Module) -> None:
    """Draw a convolution's weights as He et al. (2015) do for leaky ReLU, biases 0; use with ``Module.apply``."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        if module.weight.is_meta:  # built for its shapes: PyTorch would load its compiler to draw nothing
            return
        nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def last_residual_to_zero(module: nn.Module) -> None:
    """Let each residual branch begin at nothing, so that a deep network starts as a shallow one."""
    if isinstance(module, ResidualBlock) and isinstance(module.second.norm.weight, torch.Tensor):
        nn.init.zeros_(module.second.norm.weight)
