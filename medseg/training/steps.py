"""One optimiser step: gradients of some batches, then the move of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medseg.augmentation import Augmentation, Scene
from medseg.core.labels import LabelScheme
from medseg.training.distributed.gradient_sum import GradientSum
from medseg.training.distributed.parallel import Ranks
from medseg.training.losses import Loss, encode_targets, supervise_depths
from medseg.training.patches.inputs import make_inputs
from medseg.training.patches.loader import Batch

Forward = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Learner:
    """What a step needs besides the batches.

    Args:
        network: whose weights are trained; the state is read from here.
        forward: computes the network's logits: itself, or what ``torch.compile`` made of it.
        table: ``LabelScheme.channel_table()`` as float32 on the device.
        scaler: scales the loss of fp16 training; does nothing elsewhere.
        clip_norm: the longest that the gradient may be.
        ranks: the processes that train the network together.
        share: of a batch's samples that are this process's.
        gradients: adds the gradients of all processes.
    """

    network: nn.Module
    forward: Forward
    optimiser: torch.optim.Optimizer
    loss: Loss
    labels: LabelScheme
    table: Tensor
    scene: Scene
    augmentations: Sequence[Augmentation]
    device: torch.device
    precision: torch.dtype
    dimensions: int
    scaler: torch.amp.GradScaler
    clip_norm: float
    ranks: Ranks
    share: float
    gradients: GradientSum


@dataclass(frozen=True)
class Outcome:
    """What came of a step, still on the device, so that nobody has to wait for it.

    Args:
        loss: the mean over the step's batches.
        good: whether loss and gradient were finite; where not, the weights stay as they were.
    """

    loss: Tensor
    good: Tensor


def take_step(learner: Learner, batches: Sequence[Batch], rate: float) -> Outcome:
    """Augment, run forwards and backwards, and move the weights."""
    return move_weights(learner, compute_gradients(learner, batches), rate)


def compute_gradients(learner: Learner, batches: Sequence[Batch]) -> Tensor:
    """Put the gradient of the batches' mean loss into the network's parameters.

    Args:
        learner: the network and what belongs to it; its weights stay as they are.
        batches: the step's, as far as they are this process's; all count alike.
    Returns:
        the mean loss, a scalar on the device; loss and gradients are those of all processes together.
    """
    learner.optimiser.zero_grad(set_to_none=True)
    total = torch.zeros((), device=learner.device)
    for number, batch in enumerate(batches, start=1):
        images, labels = make_inputs(batch, learner.scene, learner.augmentations, learner.device, learner.dimensions)
        loss = compute_loss(learner, learner.forward, images, labels)[0] * learner.share / len(batches)
        with learner.gradients.adding(now=number == len(batches)):
            learner.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return learner.ranks.add(total)


@torch.no_grad()
def move_weights(learner: Learner, loss: Tensor, rate: float) -> Outcome:
    """Move the weights along the gradient, shortened where it is too long; not at all where it is not finite.

    Args:
        learner: with gradients.
        loss: the step's.
        rate: the learning rate.
    Returns:
        what came of the step. In fp16 a gradient that is too large for the number format is no bad step: the scale of
        the loss is halved, as long as it is above 1.
    """
    for group in learner.optimiser.param_groups:
        group["lr"] = rate
    if learner.scaler.is_enabled():
        return _move_scaled(learner, loss)
    norm = _measure_gradient(learner.network)
    good = torch.isfinite(loss) & torch.isfinite(norm)
    # The optimisers' fused kernels divide the gradient by the one and do nothing where the other is 1: no further pass
    # over the weights, and no waiting for the GPU to decide.
    learner.optimiser.grad_scale = (norm / learner.clip_norm).clamp_min(1.0)  # type: ignore[attr-defined]
    learner.optimiser.found_inf = (~good).float()  # type: ignore[attr-defined]
    learner.optimiser.step()
    return Outcome(loss, good)


def _move_scaled(learner: Learner, loss: Tensor) -> Outcome:
    scaler = learner.scaler
    scaler.unscale_(learner.optimiser)
    norm = _measure_gradient(learner.network)
    learner.optimiser.grad_scale = (norm / learner.clip_norm).clamp_min(1.0)  # type: ignore[attr-defined]
    lowest = scaler.get_scale() <= 1.0
    good = torch.isfinite(loss)
    if good:  # the GPU is waited for; fp16 is for cards without bf16
        scaler.step(learner.optimiser)
        good = good & (torch.isfinite(norm) if lowest else True)
    scaler.update()
    return Outcome(loss, good)


def _measure_gradient(network: nn.Module) -> Tensor:
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def copy_buffers(network: nn.Module) -> dict[str, Tensor]:
    """Copies of what a forward pass changes without a gradient: batch statistics. Most networks have none."""
    if next(network.buffers(), None) is None:
        return {}
    kept = network.state_dict().keys()
    return {name: buffer.clone() for name, buffer in network.named_buffers() if name in kept}


@torch.no_grad()
def restore_buffers(network: nn.Module, before: Mapping[str, Tensor], good: Tensor) -> None:
    """Take the buffers of before the step where it was not good."""
    for name, buffer in network.named_buffers():
        if name in before:
            buffer.copy_(torch.where(good, buffer, before[name]))


def compute_loss(
    learner: Learner, forward: Forward, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The loss, the finest logits, the targets and the mask of labelled voxels (None: all)."""
    targets, mask = encode_targets(labels, learner.table, learner.labels.ignore)
    layout = torch.channels_last_3d if learner.dimensions == 3 else torch.channels_last
    enabled = learner.precision != torch.float32
    with torch.autocast(learner.device.type, dtype=learner.precision, enabled=enabled):
        logits = forward(images.contiguous(memory_format=layout))
    return supervise_depths(learner.loss, logits, targets, mask), logits[0].float(), targets, mask
