"""Pointwise convolutions in a thread that PyTorch uses alone, with the bits that they have where it uses several."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medseg.inference.engines.threads import is_one_of_many
from medseg.inference.engines.unrolled_conv import UNROLLED_UP_TO


class PointwiseConv(nn.Module):
    """A convolution of a single image whose kernel is 1 along its last two axes, without stride, groups or dilation.

    PyTorch's `use_mkldnn` (Convolution.cpp) leaves these to oneDNN where it has several threads, and computes them by
    another product of matrices where it has one: sums of other last digits. Here oneDNN computes them in either case.

    Args:
        conv: the layer whose weights are used; they are shared.
    """

    def __init__(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """Features (1, channel, ...) to features."""
        conv, has_onednn = self.conv, torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if not (is_one_of_many() and x.shape[:4].numel() > UNROLLED_UP_TO and has_onednn):
            y: Tensor = conv(x)
            return y
        ones = [1] * (x.dim() - 2)
        answer: Tensor = torch.mkldnn_convolution(x, conv.weight, conv.bias, list(conv.padding), ones, ones, 1)  # type: ignore[arg-type]
        return answer


def is_pointwise(conv: nn.Module) -> bool:
    """Whether a layer is a convolution of the kind that ``PointwiseConv`` computes."""
    return (
        isinstance(conv, nn.Conv2d | nn.Conv3d)
        and type(conv) in (nn.Conv2d, nn.Conv3d)  # none that a user has derived
        and conv.kernel_size[-2:] == (1, 1)
        and max((*conv.stride, *conv.dilation)) == 1
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.weight.dtype == torch.float32
    )
