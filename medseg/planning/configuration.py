"""A configuration put together from its parts, with a reason for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medseg.core.errors import PlanError
from medseg.core.plan import Configuration, NetworkPlan, NormalisationPlan, TrainingPlan
from medseg.planning.memory import estimate_memory_gb
from medseg.planning.spacing import format_mm
from medseg.planning.survey import Survey
from medseg.planning.topology import Topology, can_pool, format_shape

SLICES, FULL, LOW, CASCADE = "2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"


@dataclass(frozen=True)
class Draft:
    """What a preset decides for one configuration; axes are the last ``dimensions`` ones of the survey.

    Args:
        spacing_mm: per axis of the patch, millimetres.
        median_shape: the median case's voxels at that spacing.
        topology: patch and pooling.
        network: the U-Net.
        batch_size: patches per step.
        batch_dice: whether the Dice loss is taken over the batch.
        training: optimiser, length.
        bytes_per_element: of a feature map in training.
        reasons: ``spacing_mm``, ``patch_size``, ``batch_size``, ``batch_dice``, ``training``.
        logit_floor, uncapped_batch_size, previous: as in the configuration.
    """

    spacing_mm: Sequence[float]
    median_shape: Sequence[float]
    topology: Topology
    network: NetworkPlan
    batch_size: int
    batch_dice: bool
    training: TrainingPlan
    bytes_per_element: int
    reasons: dict[str, str]
    logit_floor: float | None = None
    uncapped_batch_size: int | None = None
    previous: str | None = None


def view_axes(survey: Survey, dimensions: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Target spacing and median shape along the axes that a 2D (the last two) or 3D network sees."""
    return survey.spacing_mm[-dimensions:], survey.median_shape[-dimensions:]


def choose_dimensions(survey: Survey) -> tuple[tuple[Literal[2, 3], ...], str]:
    """Which configurations to plan: 2D and 3D, as far as the data allow.

    Args:
        survey: the data set at the target spacing.
    Returns:
        2, 3 or both, and the reason.
    Raises:
        PlanError: the scans are too small for either.
    """
    known: tuple[Literal[2, 3], ...] = (2,) if survey.is_flat else (2, 3)
    usable = tuple(dimensions for dimensions in known if can_pool(*view_axes(survey, dimensions)))
    if not usable:
        raise PlanError(
            f"the median case, {format_shape(survey.median_shape)} voxels at {format_mm(survey.spacing_mm)} (network's "
            "order), is too small for a network to pool even once",
            code="scans_too_small",
            remedy="Give a finer --spacing-mm or larger images",
        )
    if survey.is_flat:
        return usable, "2d alone: the median case has one voxel along the first axis."
    if len(usable) == 1:
        missing = "2d" if usable == (3,) else "3d_fullres"
        return (
            usable,
            f"No {missing}: the median case, {format_shape(survey.median_shape)} voxels, is too small for it.",
        )
    return usable, "2d and 3d_fullres: the cases have three dimensions."


def finish_configuration(
    name: str, draft: Draft, survey: Survey, normalisation: tuple[NormalisationPlan, ...]
) -> tuple[Configuration, dict[str, str]]:
    """The configuration of a draft, with its predicted memory, and all its reasons.

    Args:
        name: ``2d``, ``3d_fullres``, ``3d_lowres``, ``3d_cascade_fullres``.
        draft: what the preset decided.
        survey: for the axes that a 2D network does not see.
        normalisation: per channel.
    Returns:
        the configuration and the reasons by the field they are for.
    """
    dimensions = len(draft.topology.patch)
    memory_gb = estimate_memory_gb(
        draft.network,
        draft.topology.patch,
        draft.batch_size,
        survey.input_channels + (survey.mask_channels if draft.previous else 0),
        survey.output_channels,
        draft.training,
        bytes_per_element=draft.bytes_per_element,
    )
    spacing: tuple[float | None, ...] = (*(None for _ in range(3 - dimensions)), *draft.spacing_mm)
    median = (*survey.median_shape[: 3 - dimensions], *draft.median_shape)
    patch = (*(1 for _ in range(3 - dimensions)), *draft.topology.patch)
    configuration = Configuration(
        name=name,
        dimensions=3 if dimensions == 3 else 2,
        spacing_mm=(spacing[0], float(draft.spacing_mm[-2]), float(draft.spacing_mm[-1])),
        median_shape=(round(median[0]), round(median[1]), round(median[2])),
        patch_size=(patch[0], patch[1], patch[2]),
        batch_size=draft.batch_size,
        batch_dice=draft.batch_dice,
        normalisation=normalisation,
        network=draft.network,
        training=draft.training,
        memory_gb=memory_gb,
        logit_floor=draft.logit_floor,
        uncapped_batch_size=draft.uncapped_batch_size,
        previous=draft.previous,
    )
    weights = (
        f"batch {draft.batch_size} of {format_shape(draft.topology.patch)}, {8 * draft.bytes_per_element} bit features"
    )
    reasons = {
        **draft.reasons,
        "network": explain_network(draft),
        "memory_gb": f"Predicted for {weights}: {memory_gb:g} GB.",
    }
    return configuration, reasons


def explain_network(draft: Draft) -> str:
    """Why the network has its depth, strides, kernels and channels, in a sentence."""
    network, patch = draft.network, draft.topology.patch
    coarsest = [size // divisor for size, divisor in zip(patch, draft.topology.divisors, strict=True)]
    flat = sum(any(size == 1 for size in kernel) for kernel in network.kernels)
    kernels = (
        f"; kernels are 1 along the coarse axis at the {flat} finest, until the spacings come within 2 times"
        if flat
        else ""
    )
    blocks = ""
    if network.name == "residual_unet":
        blocks = f" with {', '.join(map(str, network.convolutions))} residual blocks"
    features = ", ".join(map(str, network.features))
    return (
        f"{len(network.features)} stages of {features} channels{blocks}: axes within 2 times of the finest spacing are "
        f"halved while they keep 4 voxels, down to {format_shape(coarsest)}{kernels}."
    )
