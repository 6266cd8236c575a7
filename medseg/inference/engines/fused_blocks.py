"""A U-Net for processors whose blocks normalise and activate in one pass over memory, in place."""

from __future__ import annotations

import copy
import logging
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medseg.inference.engines.pointwise_conv import PointwiseConv, is_pointwise
from medseg.inference.engines.threads import share_out
from medseg.inference.engines.unrolled_conv import UnrolledConv, can_unroll
from medseg.networks.blocks import ConvBlock

logger = logging.getLogger(__name__)

# Voxels are cut into as many parts whatever the number of threads, so that sums do not depend on it.
HALF_PARTS = 8
# Values of an image below which PyTorch's own way is as fast.
LARGE_IMAGE = 2**20


class FusedBlock(nn.Module):
    """A ``ConvBlock`` in evaluation mode whose normalisation and leaky ReLU are one compiled loop.

    Args:
        block: the block whose weights are used; they are shared, not copied.
        lowered: compute in bfloat16 with the channels last; statistics, scale and shift stay in float32 or better.
            Without it the bits are those of the block itself.
    """

    def __init__(self, block: ConvBlock, *, lowered: bool) -> None:
        super().__init__()
        self.conv = block.conv if lowered else quicken(block.conv)
        norm: Any = block.norm
        self.weight, self.bias = norm.weight.detach().float().numpy(), norm.bias.detach().float().numpy()
        self.epsilon = float(norm.eps)
        self.slope = np.float32(block.slope if block.activate else 1.0)
        self.lowered = lowered

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channel, ...) to features."""
        y: Tensor = self.conv(x)
        return self._normalise_halves(y) if self.lowered else self._normalise(y)

    def _normalise(self, y: Tensor) -> Tensor:
        from medseg.inference.engines.norm_kernels import normalise_rows

        y = y.contiguous()
        rows = y.numpy().reshape(y.shape[0] * y.shape[1], -1)

        def normalise(first: int, last: int) -> None:
            normalise_rows(rows, self.weight, self.bias, self.epsilon, self.slope, first, last)

        share_out(normalise, len(rows), 8)  # eight rows are summed side by side: parts are whole eights
        return y

    def _normalise_halves(self, y: Tensor) -> Tensor:
        y = y.contiguous(memory_format=torch.channels_last_3d if y.dim() == 5 else torch.channels_last)
        for window in y.movedim(1, -1):
            self._normalise_window(window.reshape(-1, y.shape[1]))
        return y

    def _normalise_window(self, voxels: Tensor) -> None:
        from medseg.inference.engines.norm_kernels import scale_halves, sum_halves

        bits = voxels.view(torch.int16).numpy().view(np.uint16)
        count, channels = bits.shape
        step = -(-count // HALF_PARTS)
        sums, squares = np.zeros((2, HALF_PARTS, channels))

        def measure(first: int, last: int) -> None:
            for part in range(first, last):
                sum_halves(bits, part * step, min((part + 1) * step, count), sums[part], squares[part])

        share_out(measure, HALF_PARTS)
        mean = sums.sum(0) / count  # of the difference to the first voxel
        variance = np.maximum(squares.sum(0) / count - mean**2, 0)
        alpha = self.weight / np.sqrt(variance + self.epsilon)
        beta = self.bias - (mean + voxels[0].double().numpy()) * alpha

        def scale(first: int, last: int) -> None:
            scale_halves(bits, alpha.astype(np.float32), beta.astype(np.float32), self.slope, first, last)

        share_out(scale, count)


class LargeUp(nn.Module):
    """A transposed convolution in float32 without PyTorch's slow change of layout behind it.

    oneDNN gives the result with the channels last, whatever it was given, and PyTorch copies it voxel by voxel: up to
    a tenth of a U-Net's time. Here it is given channels last, and the result is transposed as a matrix.

    Args:
        conv: the layer whose weights are used; they are shared. Its own answer is taken for small images, and wherever
            the first image of a shape did not come out with the same bits.
    """

    def __init__(self, conv: nn.ConvTranspose2d | nn.ConvTranspose3d) -> None:
        super().__init__()
        self.conv = conv
        self.has_same_bits: dict[torch.Size, bool] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Features (1, channel, ...) to features."""
        if self.has_same_bits.get(x.shape, False):
            return self._go_round(x)
        y: Tensor = self.conv(x)
        if x.shape not in self.has_same_bits:
            worthwhile = len(x) == 1 and y.numel() >= LARGE_IMAGE and y.is_contiguous()
            self.has_same_bits[x.shape] = worthwhile and torch.equal(y, self._go_round(x))
        return y

    def _go_round(self, x: Tensor) -> Tensor:
        # As matrices, since PyTorch transposes those fast.
        last: Tensor = self.conv(x[0].flatten(1).T.contiguous().T.view(x.shape))
        return last[0].flatten(1).contiguous().view(last.shape)


class _WidePool(nn.Module):
    """Average pooling in float32, since PyTorch has none in bfloat16 on CPUs."""

    def __init__(self, pool: nn.AvgPool3d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        averages: Tensor = self.pool(x.float())
        return averages.to(x.dtype)


def quicken(layer: nn.Module) -> nn.Module:
    """A layer that gives the same bits in less time, where there is one; else the layer itself."""
    if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
        return LargeUp(layer)
    if isinstance(layer, nn.Conv2d | nn.Conv3d) and is_pointwise(layer):
        return PointwiseConv(layer)
    return UnrolledConv(layer) if isinstance(layer, nn.Conv3d) and can_unroll(layer) else layer


def fuse_blocks(network: nn.Module, *, lowered: bool = False) -> nn.Module:
    """A copy of a network whose layers are fast; the weights are shared unless they change their type.

    Args:
        network: a U-Net of ours in evaluation mode, on the CPU; what is no layer of its blocks is left as it is.
        lowered: in bfloat16 with the channels last. Without it the bits are those of the network itself.
    Returns:
        the copy.
    """
    fuses = lowered or _has_same_bits()
    tensors = [] if lowered else [*network.parameters(), *network.buffers()]
    fused = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    for parent in list(fused.modules()):
        for name, child in list(parent.named_children()):
            if fuses and type(child) is ConvBlock and isinstance(child.norm, nn.InstanceNorm2d | nn.InstanceNorm3d):
                setattr(parent, name, FusedBlock(child, lowered=lowered))
            elif not lowered:
                setattr(parent, name, quicken(child))
            elif isinstance(child, nn.AvgPool3d):
                setattr(parent, name, _WidePool(child))
    if lowered:
        for module in fused.modules():  # other norms keep their statistics in float32
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
            elif isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                module.to(torch.bfloat16, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return fused


@cache
def _has_same_bits() -> bool:
    """Whether the compiled loop gives the bits of PyTorch's normalisation and leaky ReLU on this machine."""
    generator = torch.Generator().manual_seed(0)
    for channels, voxels, offset in ((11, 1013, 0.0), (8, 4096, 50.0), (1, 17, -3.0)):
        block = ConvBlock(1, channels, (1, 1, 1), (1, 1, 1)).eval()
        for tensor in block.parameters():
            tensor.data = torch.randn(tensor.shape, generator=generator)
        x = torch.randn(2, 1, voxels, 1, 1, generator=generator) * 2 + offset
        with torch.inference_mode():
            if not torch.equal(block(x), FusedBlock(block, lowered=False)(x)):
                logger.info("the compiled normalisation has other bits than PyTorch's here and is not used")
                return False
    return True
