"""Network, optimiser, loss and batches as a plan asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from medseg.augmentation import Scene, enlarge_patch
from medseg.compute.devices import choose_device, choose_precision
from medseg.core.plan import Configuration
from medseg.networks import build_network
from medseg.training.job import Job
from medseg.training.losses import build_loss
from medseg.training.patches.loader import Recipe
from medseg.training.steps import Learner

MOMENTUM = 0.99  # nnU-Net's


def make_learner(job: Job) -> Learner:
    """The network with freshly drawn weights, its optimiser and loss, on the job's device."""
    settings, labels = job.configuration.training, job.plan.labels
    device = choose_device(job.device)
    network = build_network(
        job.configuration,
        job.plan.count_inputs(job.configuration),
        labels.channel_count,
        network=job.network,
        seed=settings.seed,
    ).to(device)
    layout: Any = torch.channels_last_3d if job.configuration.dimensions == 3 else torch.channels_last
    network.to(memory_format=layout)  # type: ignore[call-overload]
    precision = choose_precision(settings.precision, device)
    if device.type == "cpu" and precision == torch.bfloat16 and _has_faulty_gradient(job.configuration):
        precision = torch.float32
    return Learner(
        network=network.train(),
        optimiser=_make_optimiser(network, job.configuration),
        loss=build_loss(job.loss or settings.loss, labels, batch_dice=job.configuration.batch_dice),
        labels=labels,
        table=torch.from_numpy(labels.channel_table()).float().to(device),
        scene=_make_scene(job),
        augmentations=job.augmentations,
        device=device,
        precision=precision,
        dimensions=job.configuration.dimensions,
        scaler=torch.amp.GradScaler(device.type, enabled=precision == torch.float16),
    )


def _has_faulty_gradient(configuration: Configuration) -> bool:
    # On a CPU, PyTorch 2.13 (oneDNN) reads memory that nobody wrote when it computes the weights' gradient of a 3x3x3
    # convolution in bf16 on feature maps of two slices: our own measurement, tests/training/test_learner.py.
    if configuration.dimensions == 2:
        return False
    slices = configuration.patch_size[0]
    for stride, kernel in zip(configuration.network.strides, configuration.network.kernels, strict=True):
        slices = -(-slices // stride[0])
        if slices == 2 and kernel[0] == 3:
            return True
    return False


def _make_optimiser(network: nn.Module, configuration: Configuration) -> torch.optim.Optimizer:
    settings = configuration.training
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=True
        )
    return torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=settings.weight_decay,
        foreach=True,
    )


def _is_flat(patch_size: Sequence[int]) -> bool:
    # nnU-Net's rule: where the patch is three times longer in the plane, rotating out of it would mix thick slices.
    return patch_size[0] > 1 and max(patch_size) / patch_size[0] > 3


def _make_scene(job: Job) -> Scene:
    patch = job.configuration.patch_size
    axes = job.configuration.training.mirror_axes
    if job.configuration.dimensions == 2:
        return Scene(patch[1:], len(job.plan.channels), False, tuple(axis - 1 for axis in axes if axis > 0))
    return Scene(patch, len(job.plan.channels), _is_flat(patch), axes)


def make_recipe(job: Job) -> Recipe:
    """What the job's batches are made of."""
    patch = job.configuration.patch_size
    spatial = any(augmentation.name == "spatial" for augmentation in job.augmentations)
    return Recipe(
        patch_size=patch,
        read_size=enlarge_patch(patch, flat_rotation=_is_flat(patch)) if spatial else patch,
        batch_size=job.configuration.batch_size,
        foreground_share=job.configuration.training.foreground_share,
        seed=job.configuration.training.seed,
    )
