"""DynUNet: MONAI's U-Net with kernels and strides per stage."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from medseg.core.errors import PlanError
from medseg.core.plan import NetworkPlan
from medseg.networks.adapter import Adapter

FEWEST_STAGES = 3


class SupervisedDynUNet(nn.Module):
    """The layers of a DynUNet, run so that its supervised stages answer on their own grids.

    MONAI's own way enlarges them to the finest grid, and holds each layer under two names, which no file of weights
    takes.

    Args:
        network: MONAI's, with deep supervision at every stage that can have it.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.downs = nn.ModuleList([network.input_block, *network.downsamples])
        self.bottleneck = network.bottleneck
        self.ups = network.upsamples
        # From the coarsest to the finest, as they come.
        self.heads = nn.ModuleList([*reversed(network.deep_supervision_heads), network.output_block])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits of (batch, channel, ...), the finest first; in evaluation mode the finest alone."""
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        x = self.bottleneck(x)
        logits = []
        first = len(self.ups) - len(self.heads)
        for index, up in enumerate(self.ups):
            x = up(x, skips.pop())
            if index >= first and (self.training or index == len(self.ups) - 1):
                logits.append(self.heads[index - first](x))
        return logits[::-1]


def build_dynunet(plan: NetworkPlan, inputs: int, outputs: int) -> nn.Module:
    """A DynUNet of the plan's features, kernels and strides, with deep supervision.

    Args:
        plan: at least three stages; how many convolutions a stage has is the network's own choice: two.
        inputs: image channels.
        outputs: channels of the logits.
    Returns:
        the network, for inputs of any size, 2D or 3D as the plan.
    Raises:
        PlanError: the plan has fewer stages.
    Source: MONAI's ``DynUNet``, after Isensee et al., "nnU-Net" (2021), and Futrega et al. (BrainLes 2021).
    """
    from monai.networks.nets.dynunet import DynUNet

    if len(plan.features) < FEWEST_STAGES:
        raise PlanError(
            f"dynunet needs {FEWEST_STAGES} stages or more, the plan has {len(plan.features)}: scans or patch are too "
            "small for it",
            remedy="Use another network, such as plain_unet",
        )
    network = DynUNet(
        spatial_dims=len(plan.kernels[0]),
        in_channels=inputs,
        out_channels=outputs,
        kernel_size=plan.kernels,
        strides=plan.strides,
        upsample_kernel_size=plan.strides[1:],
        filters=plan.features,
        deep_supervision=True,
        deep_supr_num=len(plan.features) - 2,
    )
    divisors = [math.prod(steps) for steps in zip(*plan.strides, strict=True)]
    return Adapter(SupervisedDynUNet(network), divisors)
