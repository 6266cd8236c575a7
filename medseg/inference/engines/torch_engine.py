"""Networks computed by PyTorch, as functions of windows."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from torch import Tensor, nn

from medseg.compute.devices import choose_precision
from medseg.inference.engines.choosing import Precision
from medseg.inference.engines.cuda_graph import capture_forward
from medseg.inference.engines.fused_blocks import fuse_blocks
from medseg.inference.engines.threads import compute_apart, compute_each
from medseg.inference.engines.unrolled_conv import keep_orders
from medseg.inference.sliding_window import Forward
from medseg.networks.unet import UNet

logger = logging.getLogger(__name__)

# Large tensors in large pages: a twelfth of a U-Net's CPU time is the system handing out memory page by page. PyTorch
# reads this at its first allocation; without transparent huge pages (Linux) it changes nothing.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def as_forward(network: nn.Module, dimensions: int, precision: torch.dtype = torch.float32) -> Forward:
    """A network in evaluation mode as a function of windows, as training validates it.

    Args:
        network: logits of its finest stage in evaluation mode.
        dimensions: 2 for a network of slices: windows are then (window, channel, 1, b, c).
        precision: of its arithmetic.
    Returns:
        a function (window, channel, a, b, c) to logits (window, output, a, b, c), float32.
    """
    layout: Any = torch.channels_last_3d if dimensions == 3 else torch.channels_last
    network.eval()
    for parameter in network.parameters():
        if parameter.dim() == dimensions + 2:  # a network of volumes may have layers of slices
            parameter.data = parameter.data.contiguous(memory_format=layout)

    def forward(windows: Tensor) -> Tensor:
        x = windows.squeeze(2) if dimensions == 2 else windows
        lowered = precision != torch.float32
        # Without the second, cuDNN computes float32 convolutions in TF32, with ten bits of mantissa.
        with (
            torch.autocast(windows.device.type, dtype=precision, enabled=lowered),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=lowered),
        ):
            logits: Tensor = network(x)[0]
        return (logits.unsqueeze(2) if dimensions == 2 else logits).float()

    return forward


def average_forwards(forwards: list[Forward]) -> Forward:
    """The mean logits of several networks (the folds of a cross-validation)."""

    def forward(windows: Tensor) -> Tensor:
        total = forwards[0](windows)
        for other in forwards[1:]:
            total = total + other(windows)
        return total / len(forwards)

    return forward if len(forwards) > 1 else forwards[0]


def make_torch_forward(network: nn.Module, dimensions: int, device: torch.device, precision: Precision) -> Forward:
    """The fastest way PyTorch has to compute a network on a device.

    Args:
        network: gives a list with the finest logits in evaluation mode; it is on ``device``.
        dimensions: 2 for a network of slices.
        device: where it runs.
        precision: ``exact`` gives the bits of the plain network in float32 with one window at a time on a CPU;
            ``bf16`` computes in bfloat16 (in float16 on a GPU without it).
    Returns:
        a function (window, channel, a, b, c) to logits (window, output, a, b, c), float32.
    """
    network.eval()
    lowered = torch.float32
    if precision == "bf16":
        lowered = choose_precision("auto", device)
        if lowered == torch.float32:
            logger.warning("%s has no arithmetic in bfloat16; float32 is used, which is faster there", device)
    if device.type == "cpu" and isinstance(network, UNet):
        fused = fuse_blocks(network, lowered=lowered != torch.float32)
        return WindowByWindow(fused, dimensions, lowered, shares=True)
    if device.type == "cpu" and lowered == torch.float32:
        return WindowByWindow(network, dimensions, lowered, shares=False)
    forward = as_forward(network, dimensions, lowered)
    return capture_forward(forward) if device.type == "cuda" else forward


class WindowByWindow:
    """A network as a function of windows, each computed by itself: as a batch a sum could be another, and a processor
    would be no faster.

    Args:
        network: gives a list with the finest logits.
        dimensions: 2 for a network of slices.
        dtype: of its arithmetic.
        shares: whether threads may compute windows beside each other; in float32 they do where a thread alone gives the
            bits that all threads give together.
    """

    def __init__(self, network: nn.Module, dimensions: int, dtype: torch.dtype, *, shares: bool) -> None:
        self.network, self.dimensions, self.dtype, self.shares = network, dimensions, dtype, shares
        self.layout: Any = torch.channels_last_3d if dimensions == 3 else torch.channels_last
        self.seen: dict[tuple[torch.Size, int], bool] = {}

    @torch.inference_mode()
    def __call__(self, windows: Tensor) -> Tensor:
        """(window, channel, a, b, c) to logits (window, output, a, b, c), float32."""
        x = windows.squeeze(2) if self.dimensions == 2 else windows
        each = list(x.to(self.dtype)[:, None])
        apart = len(each) > 1 and torch.get_num_threads() > 1 and self._may_share(each[0].shape)
        answers = compute_each(self._compute, each) if apart else [self._compute(window) for window in each]
        keep_orders()
        logits = torch.cat(answers) if len(answers) > 1 else answers[0]
        return (logits.unsqueeze(2) if self.dimensions == 2 else logits).contiguous()

    def agrees_apart(self, window: torch.Size) -> bool:
        """Whether a thread alone gives the bits that all threads give together to a window (channel, a, b, c)."""
        return self._agrees(torch.Size([1, window[0], *window[2:]] if self.dimensions == 2 else [1, *window]))

    def _compute(self, window: Tensor) -> Tensor:
        window = window.contiguous() if self.dtype == torch.float32 else window.contiguous(memory_format=self.layout)
        logits: Tensor = self.network(window)[0]
        return logits.float()

    def _may_share(self, shape: torch.Size) -> bool:
        return self.shares and (self.dtype != torch.float32 or self._agrees(shape))

    @torch.inference_mode()
    def _agrees(self, shape: torch.Size) -> bool:
        key = (shape, torch.get_num_threads())
        if key not in self.seen:
            window = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.dtype)
            # All threads first: they find out how layers of these shapes are computed.
            together = self._compute(window)
            self.seen[key] = torch.equal(compute_apart(self._compute, window), together)
            if not self.seen[key]:
                logger.info("a thread for each window would change last digits here; windows go one after another")
        return self.seen[key]
