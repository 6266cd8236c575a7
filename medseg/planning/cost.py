"""How long a training step takes on two processor cores, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medseg.core.plan import NetworkPlan
from medseg.planning.memory import count_feature_elements, stage_voxels

# Our own measurement: U-Nets of 8 to 256 channels in 2D and 3D, forward and backward in bf16, channels last,
# PyTorch 2.13, two cores of an AMD EPYC with AVX512-BF16. Two rates describe the eight networks to within 20 %: one for
# moving feature maps through memory, which rules narrow networks, one for multiplying, which rules wide ones.
# (40, 56, 40) x 4 patches: 8 to 64 channels 0.22 s, 16 to 128 0.46 s, 32 to 256 1.6 s;
# (48, 64, 64) x 2, 16 to 128: 0.66 s; 2D 256 x 256 x 8, 16 to 128: 0.92 s.
ELEMENTS_PER_SECOND = 160e6
PRODUCTS_PER_SECOND = 75e9


def predict_step_seconds(
    network: NetworkPlan, patch: Sequence[int], batch_size: int, input_channels: int, output_channels: int
) -> float:
    """The time of one training step on two processor cores.

    Args:
        network: the U-Net.
        patch: voxels per axis of the network.
        batch_size: patches per step.
        input_channels: of the image.
        output_channels: of the logits.
    Returns:
        seconds; measured ones differ by up to 20 %.
    """
    moving = count_feature_elements(network, patch, output_channels) / ELEMENTS_PER_SECOND
    multiplying = count_products(network, patch, input_channels) / PRODUCTS_PER_SECOND
    return batch_size * (moving + multiplying)


def count_products(network: NetworkPlan, patch: Sequence[int], input_channels: int) -> int:
    """Multiplications of one forward pass for one patch (convolutions and transposed ones; heads left out).

    Args:
        network: the U-Net.
        patch: voxels per axis of the network.
        input_channels: of the image.
    Returns:
        how many.
    """
    voxels, features = stage_voxels(network, patch), network.features
    total, incoming = 0, input_channels
    for stage, convolutions in enumerate(network.convolutions):
        per_output = math.prod(network.kernels[stage])
        for _ in range(convolutions):
            total += voxels[stage] * features[stage] * incoming * per_output
            incoming = features[stage]
    for stage, convolutions in enumerate(network.decoder_convolutions):
        per_output, here = math.prod(network.kernels[stage]), features[stage]
        total += voxels[stage] * here * features[stage + 1]
        total += voxels[stage] * here * here * per_output * (convolutions + 1)
    return total
