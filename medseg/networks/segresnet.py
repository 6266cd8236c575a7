"""SegResNet: a residual encoder with a light decoder, as MONAI builds it."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from medseg.core.plan import NetworkPlan
from medseg.networks.adapter import Adapter

BLOCKS = (1, 2, 2, 4, 4)  # per stage, as Auto3DSeg's
GROUPS = 8  # of the group norm, as in the paper


def build_segresnet(plan: NetworkPlan, inputs: int, outputs: int) -> nn.Module:
    """A SegResNet with deep supervision.

    Args:
        plan: its first stage's features, to the next multiple of 8, are the width (32 in the paper); no more stages
            than the plan has; an axis that the plan does not halve at first is not halved here either, and its kernels
            are 1 until then.
        inputs: image channels.
        outputs: channels of the logits.
    Returns:
        the network, for inputs of any size, 2D or 3D as the plan.
    Source: Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization" (BrainLes 2018), without the
        autoencoder; MONAI's ``SegResNetDS``, with five stages as in Auto3DSeg and the paper's group norm.
    """
    from monai.networks.nets.segresnet_ds import SegResNetDS

    dimensions = len(plan.kernels[0])
    network: Any = SegResNetDS(
        spatial_dims=dimensions,
        init_filters=GROUPS * max(1, math.ceil(plan.features[0] / GROUPS)),
        in_channels=inputs,
        out_channels=outputs,
        norm=("group", {"num_groups": GROUPS}),
        blocks_down=BLOCKS[: len(plan.features)],
        dsdepth=min(len(BLOCKS), len(plan.features)) - 1,
        resolution=_resolve(plan),
    )
    return Adapter(network, [int(factor) for factor in network.shape_factor()])


def _resolve(plan: NetworkPlan) -> tuple[float, ...] | None:
    """The axes' spacings as the plan's first strides tell them; None where all are halved from the first."""
    spacings = []
    for steps in zip(*plan.strides[1:], strict=True):
        whole = next((index for index, step in enumerate(steps) if step > 1), len(steps))
        spacings.append(2.0**whole)
    return tuple(spacings) if max(spacings) > min(spacings) else None
