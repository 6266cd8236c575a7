"""How much memory a U-Net needs to train, in closed form; no network is built."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medseg.core.plan import NetworkPlan, TrainingPlan

# Our own estimate, from what PyTorch keeps for the backward pass of convolution, instance norm, leaky ReLU in place:
# the input of the convolution (its predecessor's output) and the input of the norm. In a residual block the input of
# the convolution after it is the sum with the shortcut; a shortcut that projects keeps the averaged map and its norm's
# input besides.
KEPT_TENSORS_PER_CONVOLUTION = 2
CONVOLUTIONS_PER_BLOCK = {"residual_unet": 2}  # of an encoder stage; elsewhere each counts by itself
# Per voxel and output channel at each resolution: logits in the network's type, then probabilities, target and
# gradient of the loss in float32.
LOSS_FLOATS_PER_LOGIT = 3
# The image in float32, and as much again twice while augmentation resamples it.
IMAGE_FLOATS_PER_VOXEL = 3
# float32 weights, gradients and the optimiser's momenta (one for SGD, two for AdamW); averaged weights are one more.
WEIGHT_COPIES = {"sgd": 3, "adamw": 4}
# The CUDA context with its libraries' handles and workspaces; on a CPU the interpreter with torch loaded.
FIXED_GB = 0.6
BYTES_PER_GB = 1e9


def count_feature_elements(network: NetworkPlan, patch: Sequence[int], output_channels: int) -> int:
    """Elements of the feature maps that a U-Net computes for one patch, as nnU-Net counts them.

    Args:
        network: the U-Net.
        patch: voxels per axis; 2 axes for a 2D network.
        output_channels: labels with the background.
    Returns:
        the outputs of all convolutions, of the transposed ones and of the last layer, in elements. With residual blocks
        also of the stem and of each shortcut that changes the map, whether it projects or averages alone.
    Source: nnU-Net 2.8.1 with dynamic_network_architectures, ``compute_conv_feature_map_size``.
    """
    voxels = stage_voxels(network, patch)
    maps = [features * size for features, size in zip(network.features, voxels, strict=True)]
    each = CONVOLUTIONS_PER_BLOCK.get(network.name, 1)
    encoder = sum(each * n * size for n, size in zip(network.convolutions, maps, strict=True))
    if network.name in CONVOLUTIONS_PER_BLOCK:
        encoder += maps[0] + sum(
            size for size, changes in zip(maps, _changing_shortcuts(network), strict=True) if changes
        )
    decoder = sum(
        (n + 1) * f * v
        for n, f, v in zip(network.decoder_convolutions, network.features[:-1], voxels[:-1], strict=True)
    )
    return encoder + decoder + output_channels * voxels[0]


def stage_voxels(network: NetworkPlan, patch: Sequence[int]) -> list[int]:
    """Voxels of the feature maps at each stage, from the finest to the coarsest."""
    voxels, size = [], list(patch)
    for strides in network.strides:
        size = [length // stride for length, stride in zip(size, strides, strict=True)]
        voxels.append(math.prod(size))
    return voxels


def _changing_shortcuts(network: NetworkPlan) -> list[bool]:
    """For each encoder stage whether the shortcut of its first residual block has other channels or voxels."""
    before = (network.features[0], *network.features)
    return [
        own != previous or max(strides) > 1
        for own, previous, strides in zip(network.features, before, network.strides, strict=False)
    ]


def count_weights(network: NetworkPlan, input_channels: int, output_channels: int) -> int:
    """Weights and biases of the convolutions, and the two numbers per channel of each norm.

    Args:
        network: a plain or residual U-Net.
        input_channels: of the image.
        output_channels: of the logits.
    Returns:
        how many; norms' running statistics are not counted.
    """
    features, total, incoming = network.features, 0, input_channels
    beside = 2 + network.bias  # per channel: scale and shift of the norm, and the bias
    residual = network.name in CONVOLUTIONS_PER_BLOCK
    if residual:
        total += features[0] * (incoming * math.prod(network.kernels[0]) + beside)  # the stem
        incoming = features[0]
    for stage, convolutions in enumerate(network.convolutions):
        taps, here = math.prod(network.kernels[stage]), features[stage]
        for _ in range(convolutions):
            total += here * (incoming * taps + beside)
            if residual:
                total += here * (here * taps + beside)
                total += here * (incoming + 2) if incoming != here else 0  # the shortcut's projection has no bias
            incoming = here
    for stage, convolutions in enumerate(network.decoder_convolutions):
        taps, here = math.prod(network.kernels[stage]), features[stage]
        total += here * (features[stage + 1] * math.prod(network.strides[stage + 1]) + network.bias)  # transposed
        total += here * (2 * here * taps + beside) + (convolutions - 1) * here * (here * taps + beside)
        total += output_channels * (here + 1)  # a head per resolution, for deep supervision
    return total


def estimate_memory_gb(
    network: NetworkPlan,
    patch: Sequence[int],
    batch_size: int,
    input_channels: int,
    output_channels: int,
    training: TrainingPlan,
    *,
    bytes_per_element: int,
) -> float:
    """The peak memory of one training step in GB (10^9 bytes): features, losses, image, weights and a fixed part.

    Args:
        network: the U-Net.
        patch: voxels per axis of the network.
        batch_size: patches per step.
        input_channels: of the image.
        output_channels: of the logits.
        training: its optimiser and averaging decide how often the weights are kept, its gradient checkpointing which
            features are.
        bytes_per_element: of a feature map: 2 in bf16 or fp16, 4 in float32.
    Returns:
        gigabytes.
    """
    per_patch = estimate_patch_bytes(
        network, patch, input_channels, output_channels, bytes_per_element, twice=training.gradient_checkpointing
    )
    copies = WEIGHT_COPIES[training.optimiser] + (training.ema_decay > 0)
    weights = 4 * copies * count_weights(network, input_channels, output_channels)
    return round(FIXED_GB + (batch_size * per_patch + weights) / BYTES_PER_GB, 2)


def estimate_patch_bytes(
    network: NetworkPlan,
    patch: Sequence[int],
    input_channels: int,
    output_channels: int,
    bytes_per_element: int,
    *,
    twice: bool = False,
) -> int:
    """The bytes that one patch takes at the peak of a training step: features, loss and image.

    Args:
        network: the U-Net.
        patch: voxels per axis of the network.
        input_channels: of the image.
        output_channels: of the logits.
        bytes_per_element: of a feature map: 2 in bf16 or fp16, 4 in float32.
        twice: features are computed twice (gradient checkpointing): each stage keeps its result, and the largest one
            all it computes, while it is run again.
    Returns:
        bytes.
    """
    voxels = stage_voxels(network, patch)
    encoder = _count_kept_by_encoder(network, voxels)
    maps = [features * size for features, size in zip(network.features, voxels, strict=True)]
    # The first convolution keeps its input of twice the channels: skip and upsampled map joined.
    decoder = [
        (KEPT_TENSORS_PER_CONVOLUTION * n + 1) * size
        for n, size in zip(network.decoder_convolutions, maps[:-1], strict=True)
    ]
    elements = sum(maps) + sum(maps[:-1]) + max(encoder + decoder) if twice else sum(encoder) + sum(decoder)
    if network.name in CONVOLUTIONS_PER_BLOCK:
        elements += KEPT_TENSORS_PER_CONVOLUTION * maps[0]  # the stem
    # While going back, the gradients of the two largest maps exist beside what is kept.
    elements += 2 * 2 * maps[0]
    logits = output_channels * sum(voxels[: max(1, len(network.decoder_convolutions))])
    image = input_channels * voxels[0]
    return elements * bytes_per_element + 4 * (LOSS_FLOATS_PER_LOGIT * logits + IMAGE_FLOATS_PER_VOXEL * image)


def _count_kept_by_encoder(network: NetworkPlan, voxels: Sequence[int]) -> list[int]:
    """Elements that each encoder stage keeps: its convolutions' and those of a shortcut that projects."""
    each = CONVOLUTIONS_PER_BLOCK.get(network.name, 1)
    kept, before = [], network.features[0]
    for convolutions, features, size in zip(network.convolutions, network.features, voxels, strict=True):
        projected = (before + features) * size if each > 1 and before != features else 0
        kept.append(KEPT_TENSORS_PER_CONVOLUTION * each * convolutions * features * size + projected)
        before = features
    return kept
