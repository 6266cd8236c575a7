"""MedNeXt: a U-Net of large-kernel ConvNeXt blocks, as MONAI builds it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from medseg.core.plan import NetworkPlan
from medseg.networks.adapter import Adapter

KERNEL = 3  # the paper trains with 3 before it goes on with 5
HALVINGS = 4


@dataclass(frozen=True)
class Size:
    """Expansion of channels and blocks per stage; the decoder's are the encoder's in reverse.

    Args:
        expansion: from the finest stage to the coarsest but one.
        bottleneck_expansion: of the coarsest.
        blocks: from the finest stage to the coarsest but one.
        bottleneck_blocks: of the coarsest.
    """

    expansion: tuple[int, int, int, int]
    bottleneck_expansion: int
    blocks: tuple[int, int, int, int]
    bottleneck_blocks: int


# Roy et al., table 1.
SMALL = Size((2, 2, 2, 2), 2, (2, 2, 2, 2), 2)
BASE = Size((2, 3, 4, 4), 4, (2, 2, 2, 2), 2)
MEDIUM = Size((2, 3, 4, 4), 4, (3, 4, 4, 4), 4)
LARGE = Size((3, 4, 8, 8), 8, (3, 4, 8, 8), 8)


def build_mednext(plan: NetworkPlan, inputs: int, outputs: int, *, size: Size) -> nn.Module:
    """A MedNeXt with deep supervision.

    Args:
        plan: its first stage's features are the width, 32 in the paper; the network halves every axis four times,
            whatever the plan's strides.
        inputs: image channels.
        outputs: channels of the logits.
        size: S, B, M or L of the paper.
    Returns:
        the network, for inputs of any size, 2D or 3D as the plan.
    Source: Roy et al., "MedNeXt" (MICCAI 2023), kernel 3; MONAI's ``MedNeXt``.
    """
    from monai.networks.nets.mednext import MedNeXt

    dimensions = len(plan.kernels[0])
    network = MedNeXt(
        spatial_dims=dimensions,
        init_filters=plan.features[0],
        in_channels=inputs,
        out_channels=outputs,
        encoder_expansion_ratio=size.expansion,
        decoder_expansion_ratio=size.expansion[::-1],
        bottleneck_expansion_ratio=size.bottleneck_expansion,
        kernel_size=KERNEL,
        deep_supervision=True,
        use_residual_connection=True,
        blocks_down=size.blocks,
        blocks_bottleneck=size.bottleneck_blocks,
        blocks_up=size.blocks[::-1],
    )
    return Adapter(network, (2**HALVINGS,) * dimensions)
