"""Network, optimiser, loss and batches as a plan asks for them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from medseg.augmentation import Augmentation, Scene, enlarge_patch
from medseg.compute.devices import choose_device, choose_precision
from medseg.core.plan import TrainingPlan
from medseg.networks import UNETS, build_network, checkpoint_gradients
from medseg.training.distributed.gradient_sum import GradientSum
from medseg.training.distributed.shared_norm import share_batch_norms
from medseg.training.faults import is_out_of_memory, name_faults
from medseg.training.job import Job
from medseg.training.losses import DetailedLoss, Loss, build_loss
from medseg.training.patches.loader import Recipe
from medseg.training.steps import Forward, Learner

logger = logging.getLogger(__name__)

MOMENTUM = 0.99  # nnU-Net's


def make_learner(job: Job) -> Learner:
    """The network with freshly drawn weights, its optimiser and loss, on the job's device."""
    settings, labels, ranks = job.configuration.training, job.plan.labels, job.ranks
    device = choose_device(ranks.place(job.device))
    network = build_network(
        job.configuration,
        job.plan.count_inputs(job.configuration),
        labels.channel_count,
        network=job.network,
        seed=settings.seed,
    ).to(device)
    layout: Any = torch.channels_last_3d if job.configuration.dimensions == 3 else torch.channels_last
    network.to(memory_format=layout)  # type: ignore[call-overload]
    network = share_batch_norms(network.train(), ranks)
    if settings.gradient_checkpointing:
        checkpoint_gradients(network)
    precision = choose_precision(settings.precision, device)
    if device.type == "cpu" and precision == torch.bfloat16 and _has_faulty_gradient(job):
        precision = torch.float32
    loss = build_loss(
        job.loss or settings.loss,
        labels,
        batch_dice=job.configuration.batch_dice,
        class_weights=settings.class_weights,
        spacing_mm=job.configuration.spacing_mm[3 - job.configuration.dimensions :],
        sum_ranks=ranks.add_with_gradient,
    )
    forward: Forward = network
    if settings.compile:
        forward = compile_forward(network, _example_batch(job, device, layout), precision)
    return Learner(
        network=network,
        forward=name_faults(forward, "network", job.network or job.configuration.network.name),
        optimiser=make_optimiser(network, settings),
        loss=_name_faults_of_loss(loss, job.loss or settings.loss),
        labels=labels,
        table=torch.from_numpy(labels.channel_table()).float().to(device),
        scene=make_scene(job),
        augmentations=[_name_faults_of(augmentation) for augmentation in job.augmentations],
        device=device,
        precision=precision,
        dimensions=job.configuration.dimensions,
        scaler=torch.amp.GradScaler(device.type, enabled=precision == torch.float16),
        clip_norm=settings.clip_norm,
        ranks=ranks,
        share=ranks.count_share(job.configuration.batch_size) / job.configuration.batch_size,
        gradients=GradientSum(network, ranks),
    )


def _name_faults_of_loss(loss: Loss, thing: object) -> Loss:
    if isinstance(loss, DetailedLoss):
        return DetailedLoss(name_faults(loss.finest, "loss", thing), name_faults(loss.coarser, "loss", thing))
    return name_faults(loss, "loss", thing)


def _name_faults_of(augmentation: Augmentation) -> Augmentation:
    draw = name_faults(augmentation.draw, "augmentation", augmentation.name)
    return replace(augmentation, draw=draw, apply=name_faults(augmentation.apply, "augmentation", augmentation.name))


def _example_batch(job: Job, device: torch.device, layout: Any) -> Tensor:
    configuration = job.configuration
    shape = configuration.patch_size[3 - configuration.dimensions :]
    channels = job.plan.count_inputs(configuration)
    samples = job.ranks.count_share(configuration.batch_size)
    return torch.zeros(samples, channels, *shape, device=device).contiguous(memory_format=layout)


def compile_forward(network: nn.Module, example: Tensor, precision: torch.dtype) -> Forward:
    """What ``torch.compile`` makes of a network, tried once forwards and backwards.

    Args:
        network: in training mode; its weights and buffers are left as they were.
        example: a batch, (batch, channel, ...).
        precision: of the arithmetic.
    Returns:
        a function that computes the logits; the network itself where it cannot be compiled, with one warning.
    """
    buffers = [buffer.clone() for buffer in network.buffers()]
    try:
        compiled: Forward = torch.compile(network)
        with torch.autocast(example.device.type, dtype=precision, enabled=precision != torch.float32):
            logits = compiled(example)
        sum(stage.float().mean() for stage in logits).backward()  # type: ignore[union-attr]
    except Exception as error:  # a compiler's faults are of any kind: none on the machine, too old, an unknown layer
        if is_out_of_memory(error):
            raise
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        logger.warning("torch.compile does not work here (%s); training goes on without it", reason)
        compiled = network
    network.zero_grad(set_to_none=True)
    with torch.no_grad():
        for buffer, before in zip(network.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return compiled


def _has_faulty_gradient(job: Job) -> bool:
    # On a CPU, PyTorch 2.13 (oneDNN) reads memory that nobody wrote when it computes gradients in bf16 of some
    # convolutions: of 3x3x3 ones on feature maps of two slices, of dilated ones. Our own measurement,
    # tests/training/test_learner.py. Of other networks than our U-Nets nobody knows what is in them.
    configuration = job.configuration
    if job.network is not None or configuration.network.name not in UNETS:
        return True
    if configuration.dimensions == 2:
        return False
    slices = configuration.patch_size[0]
    for stride, kernel in zip(configuration.network.strides, configuration.network.kernels, strict=True):
        slices = -(-slices // stride[0])
        if slices == 2 and kernel[0] == 3:
            return True
    return False


def make_optimiser(network: nn.Module, settings: TrainingPlan) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum, or AdamW, as fused kernels.

    Args:
        network: on its device.
        settings: optimiser, rate and weight decay.
    Returns:
        the optimiser; SGD's momentum is 0 at once, in the weights' own layout in memory, which the kernels need.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    sgd = torch.optim.SGD(parameters, lr=rate, momentum=MOMENTUM, nesterov=True, weight_decay=decay, fused=True)
    for parameter in parameters:
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def _is_flat(patch_size: Sequence[int]) -> bool:
    # nnU-Net's rule: where the patch is three times longer in the plane, rotating out of it would mix thick slices.
    return patch_size[0] > 1 and max(patch_size) / patch_size[0] > 3


def make_scene(job: Job) -> Scene:
    """What drawing the job's augmentations depends on."""
    configuration, settings = job.configuration, job.configuration.training
    first = 3 - configuration.dimensions  # a slice's axes are the last two
    side = settings.side_axis
    return Scene(
        patch_size=configuration.patch_size[first:],
        channels=len(job.plan.channels),
        flat_rotation=configuration.dimensions == 3 and _is_flat(configuration.patch_size),
        mirror_axes=tuple(axis - first for axis in settings.mirror_axes if axis >= first),
        masked_channels=tuple(i for i, channel in enumerate(configuration.normalisation) if channel.inside_mask),
        side_axis=side - first if side is not None and side >= first else None,
        side_pairs=settings.side_pairs,
        previous_values=job.plan.labels.foreground if configuration.previous else (),
    )


def make_recipe(job: Job) -> Recipe:
    """What the job's batches are made of."""
    patch = job.configuration.patch_size
    spatial = any(augmentation.cuts for augmentation in job.augmentations)
    return Recipe(
        patch_size=patch,
        read_size=enlarge_patch(patch, flat_rotation=_is_flat(patch)) if spatial else patch,
        batch_size=job.configuration.batch_size,
        foreground_share=job.configuration.training.foreground_share,
        seed=job.configuration.training.seed,
        sampling=job.configuration.training.sampling,
        labels=job.plan.labels,
        rank=job.ranks.rank,
        ranks=job.ranks.count,
    )
