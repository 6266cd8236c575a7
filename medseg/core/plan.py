"""The plan: every decision about preprocessing, networks and training, each with its reason."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from medseg.core.errors import PlanError
from medseg.core.labels import LabelScheme
from medseg.core.records import Record

FORMAT = "medseg-plan-1"
# A whole-body scan has 5 * 10^8 voxels, and a patch is a part of one: more is a damaged or a made-up plan.
LARGEST_PATCH_VOXELS = 2**28

Axis = Annotated[int, Field(ge=0, le=2)]
Count = Annotated[int, Field(ge=1)]
Spacing = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class NormalisationPlan(Record):
    """How one channel's intensities are made comparable.

    Args:
        scheme: ``ct`` (clip to low..high, subtract mean, divide by sd of the whole data set's foreground),
            ``zscore`` (each scan by its own mean and sd), ``rescale_to_01``, ``rgb_to_01``, ``none``.
        mean, sd, low, high: the numbers for ``ct``, in the file's unit (HU); 0, 1, 0, 0 elsewhere.
        inside_mask: for ``zscore``: statistics from voxels that are not zero, the rest set to 0.
    """

    scheme: Literal["ct", "zscore", "rescale_to_01", "rgb_to_01", "none"]
    mean: float = 0.0
    sd: float = 1.0
    low: float = 0.0
    high: float = 0.0
    inside_mask: bool = False


class NetworkPlan(Record):
    """A U-Net's shape, stage by stage from the finest to the coarsest.

    Args:
        name: an entry of the table of networks.
        features: channels per stage.
        strides: per stage, per axis of the patch; the first is all ones.
        kernels: per stage, per axis of the patch.
        convolutions: convolutions (plain) or blocks (residual) per encoder stage.
        decoder_convolutions: convolutions per decoder stage, from the finest to the coarsest.
        bias: whether convolutions have one (the heads always do).
        norm: ``instance``, or ``batch`` for networks that were trained elsewhere.
        norm_epsilon: what the norm adds to the variance.
        slope: of the leaky ReLU below 0.
    """

    name: str = "plain_unet"
    features: tuple[Count, ...]
    strides: tuple[tuple[Count, ...], ...]
    kernels: tuple[tuple[Count, ...], ...]
    convolutions: tuple[Count, ...]
    decoder_convolutions: tuple[Count, ...]
    bias: bool = True
    norm: Literal["instance", "batch"] = "instance"
    norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5
    slope: Annotated[float, Field(ge=0)] = 1e-2

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        stages = len(self.features)
        wanted = {"strides": stages, "kernels": stages, "convolutions": stages, "decoder_convolutions": stages - 1}
        for name, count in wanted.items():
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries, expected {count} for {stages} stages")
        axes = {len(entry) for entry in (*self.strides, *self.kernels)}
        if len(axes) != 1 or not axes <= {2, 3}:
            raise ValueError(f"strides and kernels have {sorted(axes)} axes, expected 2 or 3 throughout")
        return self


class TrainingPlan(Record):
    """How the network is trained.

    Args:
        optimiser: ``sgd`` (Nesterov, momentum 0.99) or ``adamw``.
        learning_rate: the highest; ``schedule`` brings it down to 0.
        schedule: ``polynomial`` (exponent 0.9, nnU-Net's) or ``cosine``.
        warm_up_steps: first steps over which the rate rises to ``learning_rate``.
        epochs: how many, where neither a budget nor ``--epochs`` says otherwise.
        iterations_per_epoch: optimiser steps between two validations.
        foreground_share: share of patches that are placed on a labelled voxel.
        ema_decay: of the averaged weights that are validated and kept; 0 for none.
        precision: ``auto`` (bf16 or fp16 where the hardware has it), ``float32``, ``bf16``, ``fp16``.
        loss: an entry of the table of losses, or ``auto`` by the label scheme.
        class_weights: of each name of the label scheme, in its order, in losses that know classes; empty for 1 each.
        clip_norm: of the gradient.
        accumulation: batches whose gradients make one step.
        gradient_checkpointing: compute features twice instead of keeping them; less memory, a third more time.
        compile: let ``torch.compile`` make the network faster; its first steps take minutes.
        sampling: ``foreground`` (nnU-Net's: a label of the case, then one of its voxels) or ``lesion`` (one of the
            label's components, whatever its size, then one of its voxels).
        patience_epochs: stop where the averaged validation loss has not fallen for so many epochs; 0 for never.
        mirror_axes: the patch's axes that are flipped.
        side_axis: the one of them that runs from left to right, where labels have a side.
        side_pairs: label values that change places where ``side_axis`` is flipped.
        seed: the seed of everything random.
    """

    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-2
    weight_decay: Annotated[float, Field(ge=0)] = 3e-5
    epochs: Count = 1000
    iterations_per_epoch: Count = 250
    foreground_share: Annotated[float, Field(ge=0, le=1)] = 0.33
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    loss: str = "auto"
    schedule: Literal["polynomial", "cosine"] = "polynomial"
    warm_up_steps: Annotated[int, Field(ge=0)] = 0
    class_weights: tuple[Annotated[float, Field(gt=0)], ...] = ()
    clip_norm: Annotated[float, Field(gt=0)] = 12.0
    accumulation: Count = 1
    gradient_checkpointing: bool = False
    compile: bool = False
    sampling: Literal["foreground", "lesion"] = "foreground"
    patience_epochs: Annotated[int, Field(ge=0)] = 0
    mirror_axes: tuple[Axis, ...] = (0, 1, 2)
    side_axis: Axis | None = None
    side_pairs: tuple[tuple[int, int], ...] = ()
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def prediction_axes(self) -> tuple[int, ...]:
        """The axes that prediction may flip: not the side axis, whose flip would swap the channels of sided labels."""
        return tuple(axis for axis in self.mirror_axes if axis != self.side_axis)


class Configuration(Record):
    """One way to look at the data: a spacing, a patch, a network. Axes are in the plan's order.

    Args:
        dimensions: 2 or 3; a 2D configuration sees slices across the first axis.
        spacing_mm: the voxels' spacing; None along an axis that keeps the scan's own spacing.
        median_shape: the median scan's voxels at that spacing.
        patch_size: voxels that the network sees at once; 1 along the first axis in 2D.
        batch_size: patches per step.
        uncapped_batch_size: what the preset's rules give, where our cap by the size of the data set makes it smaller.
        batch_dice: whether the Dice loss is taken over the whole batch together.
        normalisation: per channel.
        memory_gb: predicted peak of a training step; None for a network whose memory has no closed form.
        measured_memory_gb: the same as a dry run measured it before training; None where there was none, as in a plan
            that nothing was trained by and on a CPU.
        logit_floor: on the way back to the scan's grid, logits become log-probabilities of at least this; a far surer
            neighbour then does not push a border away from it. None: plain logits, as nnU-Net does.
        previous: the configuration whose masks it reads besides the images (the first stage of a cascade).
    """

    name: str
    dimensions: Literal[2, 3]
    spacing_mm: tuple[Spacing | None, Spacing, Spacing]
    median_shape: tuple[int, int, int]
    patch_size: tuple[Count, Count, Count]
    batch_size: Count
    batch_dice: bool
    normalisation: tuple[NormalisationPlan, ...]
    network: NetworkPlan
    training: TrainingPlan
    memory_gb: float | None
    measured_memory_gb: float | None = None
    logit_floor: float | None = None
    uncapped_batch_size: Count | None = None
    previous: str | None = None

    @field_validator("patch_size")
    @classmethod
    def _check_patch(cls, patch_size: tuple[int, int, int]) -> tuple[int, int, int]:
        if math.prod(patch_size) > LARGEST_PATCH_VOXELS:
            voxels = " x ".join(map(str, patch_size))
            raise ValueError(f"a patch of {voxels} voxels, expected at most {LARGEST_PATCH_VOXELS} in all")
        return patch_size

    @model_validator(mode="after")
    def _check_axes(self) -> Self:
        axes = len(self.network.kernels[0])
        if axes != self.dimensions:
            raise ValueError(f"the network's kernels have {axes} axes, expected {self.dimensions} by dimensions")
        if self.dimensions == 2 and self.patch_size[0] != 1:
            raise ValueError(f"a patch of {self.patch_size[0]} slices, expected 1 by dimensions")
        return self


class Plan(Record):
    """A data set's plan.

    Args:
        preset: whose rules it follows: ``nnunet``, ``resenc-m``, ``resenc-l``, ``resenc-xl``, ``cpu``.
        target: what it was made for, in words: ``GPU with 8 GB``.
        axis_order: the file axes (0 = i, 1 = j, 2 = k) in the network's order, the coarsest first.
        orientation: the directions that the network's axes run to, such as ``SPL``; scans that lie otherwise are
            turned. None: file axes are taken as they come (``axis_order`` alone), as nnU-Net does.
        configurations: by name.
        reasons: why, for each choice: ``3d_fullres.patch_size`` to one sentence.
    """

    format: str = FORMAT
    dataset: str
    preset: str
    target: str
    channels: tuple[str, ...]
    labels: LabelScheme
    axis_order: tuple[int, int, int]
    orientation: str | None = None
    configurations: dict[str, Configuration]
    reasons: dict[str, str]

    def configuration(self, name: str) -> Configuration:
        """The configuration called ``name``; raises PlanError listing those there are."""
        if name not in self.configurations:
            known = ", ".join(self.configurations)
            raise PlanError(f"the plan has no configuration {name!r}", remedy=f"It has: {known}")
        return self.configurations[name]

    def count_inputs(self, configuration: Configuration) -> int:
        """How many channels its network reads: the image's, and those of the stage before it in a cascade."""
        return len(self.channels) + (len(self.labels.foreground) if configuration.previous else 0)
