"""Swin UNETR: a shifted-window transformer as encoder and a convolutional decoder, as MONAI builds it."""

from __future__ import annotations

from torch import nn

from medseg.core.plan import NetworkPlan
from medseg.networks.adapter import Adapter

DIVISOR = 32  # patches of two voxels, merged four times
GRAIN = 12  # channels come in multiples of it: three heads, and halves for relative positions
# The paper's 48 where nnU-Net's plans begin with 32 features.
WIDTH_PER_FEATURE = 1.5


def build_swin_unetr(plan: NetworkPlan, inputs: int, outputs: int) -> nn.Module:
    """A Swin UNETR; it has no deep supervision.

    Args:
        plan: its first stage's features set the width: the paper's 48 for 32, in steps of 12. The network halves every
            axis five times, whatever the plan's strides.
        inputs: image channels.
        outputs: channels of the logits.
    Returns:
        the network, for inputs of any size, which are padded to multiples of 32; 2D or 3D as the plan.
    Source: Hatamizadeh et al., "Swin UNETR" (BrainLes 2021); MONAI's ``SwinUNETR``.
    """
    from monai.networks.nets.swin_unetr import SwinUNETR

    dimensions = len(plan.kernels[0])
    network = SwinUNETR(
        in_channels=inputs,
        out_channels=outputs,
        feature_size=GRAIN * max(1, round(WIDTH_PER_FEATURE * plan.features[0] / GRAIN)),
        spatial_dims=dimensions,
    )
    return Adapter(network, (DIVISOR,) * dimensions)
