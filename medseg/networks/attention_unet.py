"""Attention U-Net: a U-Net whose skip connections are weighted by what lies below, as MONAI builds it."""

from __future__ import annotations

import math

from torch import nn

from medseg.core.plan import NetworkPlan
from medseg.networks.adapter import Adapter


def build_attention_unet(plan: NetworkPlan, inputs: int, outputs: int) -> nn.Module:
    """An attention U-Net; it has no deep supervision, and batch norm.

    Args:
        plan: its features and strides; kernels are 3 at every stage.
        inputs: image channels.
        outputs: channels of the logits.
    Returns:
        the network, for inputs of any size, 2D or 3D as the plan.
    Source: Oktay et al., "Attention U-Net" (MIDL 2018); MONAI's ``AttentionUnet``.
    """
    from monai.networks.nets.attentionunet import AttentionUnet

    network = AttentionUnet(
        spatial_dims=len(plan.kernels[0]),
        in_channels=inputs,
        out_channels=outputs,
        channels=plan.features,
        strides=plan.strides[1:],  # type: ignore[arg-type]  # passed on to convolutions, which take one per axis
    )
    return Adapter(network, [math.prod(steps) for steps in zip(*plan.strides, strict=True)])
