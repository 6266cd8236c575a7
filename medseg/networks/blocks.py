"""The pieces that U-Nets are made of, in two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

# The slope and epsilon of nnU-Net's networks, so that weights can be exchanged.
LEAKY_SLOPE = 0.01
NORM_EPSILON = 1e-5

CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORMS: dict[int, Callable[..., nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}

AVERAGES: dict[int, Callable[..., nn.Module]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


class ConvBlock(nn.Module):
    """Convolution, instance normalisation, leaky ReLU.

    Args:
        inputs, outputs: channels.
        kernel, stride: per spatial axis; their length is the number of dimensions.
        activate: without it the block ends with the normalisation (the end of a residual branch).
        bias: whether the convolution has one.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        *,
        activate: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        dimensions = len(kernel)
        padding = tuple((size - 1) // 2 for size in kernel)
        self.conv = CONVOLUTIONS[dimensions](inputs, outputs, tuple(kernel), tuple(stride), padding, bias=bias)
        self.norm = NORMS[dimensions](outputs, eps=NORM_EPSILON, affine=True)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channel, ...) to features."""
        x = self.norm(self.conv(x))
        return nn.functional.leaky_relu_(x, LEAKY_SLOPE) if self.activate else x


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut; a strided shortcut averages, then projects (ResNet-D).

    Source: He et al., "Deep residual learning" (2016), "Bag of tricks" (2019), as nnU-Net's residual encoder has it.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        dimensions = len(kernel)
        ones = (1,) * dimensions
        self.first = ConvBlock(inputs, outputs, kernel, stride)
        self.second = ConvBlock(outputs, outputs, kernel, ones, activate=False)
        self.pool = _average_pool(stride) if any(step != 1 for step in stride) else nn.Identity()
        self.project = (
            ConvBlock(inputs, outputs, ones, ones, activate=False, bias=False) if inputs != outputs else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channel, ...) to features."""
        shortcut = self.project(self.pool(x))
        return nn.functional.leaky_relu_(self.second(self.first(x)) + shortcut, LEAKY_SLOPE)


def _average_pool(stride: Sequence[int]) -> nn.Module:
    return AVERAGES[len(stride)](tuple(stride), tuple(stride))


def initialise(module: nn.Module) -> None:
    """Draw a convolution's weights as He et al. (2015) do for leaky ReLU, biases 0; use with ``Module.apply``."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def last_residual_to_zero(module: nn.Module) -> None:
    """Let each residual branch begin at nothing, so that a deep network starts as a shallow one."""
    if isinstance(module, ResidualBlock) and isinstance(module.second.norm.weight, torch.Tensor):
        nn.init.zeros_(module.second.norm.weight)
