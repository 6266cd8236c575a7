"""The ``nnunet`` preset: nnU-Net's rules for 2D and 3D full resolution under a memory target."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from medseg.core.plan import TrainingPlan
from medseg.planning.batch import choose_batch
from medseg.planning.configuration import Draft, view_axes
from medseg.planning.lowres import SMALLEST_PATCH_SHARE, coarsen, needs_lowres
from medseg.planning.memory import count_feature_elements, fits_memory
from medseg.planning.survey import Survey
from medseg.planning.topology import Topology, fit_patch, format_shape, make_network

BASE_FEATURES = 32
MOST_FEATURES = {2: 512, 3: 320}
BYTES_PER_ELEMENT = 2  # a GPU trains in bf16 or fp16
TRAINING = TrainingPlan(
    optimiser="sgd",
    learning_rate=1e-2,
    weight_decay=3e-5,
    epochs=1000,
    iterations_per_epoch=250,
    foreground_share=0.33,
)
TRAINING_REASON = (
    "nnU-Net's training: 1000 epochs of 250 steps, SGD with Nesterov momentum 0.99 from 0.01 down, "
    "a third of the patches on foreground."
)


def draft_nnunet(survey: Survey, dimensions: Literal[2, 3], gpu_memory_gb: float) -> Draft:
    """The configuration that nnU-Net plans for the data set.

    Args:
        survey: the data set at the target spacing.
        dimensions: 2 for slices, 3 for volumes at full resolution.
        gpu_memory_gb: the memory target, GB.
    Returns:
        the draft.
    Raises:
        PlanError: not even the smallest patch fits the memory.
    Source: Isensee et al., Nature Methods 18 (2021), supplementary note 2; numbers as in nnU-Net 2.8.1.
    """
    spacing, median_shape = view_axes(survey, dimensions)
    plan_patch = partial(_plan_patch, memory_gb=gpu_memory_gb, output_channels=survey.output_channels)
    topology = plan_patch(spacing, median_shape)
    network = make_network(topology, BASE_FEATURES, MOST_FEATURES[dimensions])
    elements = count_feature_elements(network, topology.patch, survey.output_channels)
    batch, batch_reason = choose_batch(
        elements, topology.patch, survey.median_voxels * survey.case_count, gpu_memory_gb
    )
    batch_dice, dice_reason = True, "Slices often hold no foreground, so the Dice loss is taken over the batch."
    if dimensions == 3:
        view = coarsen(spacing, median_shape, topology, plan_patch)
        batch_dice = needs_lowres(survey.median_voxels, view)
        share = f"a patch covers {100 * topology.voxels / survey.median_voxels:.0f} % of the median case"
        rule = "over the batch" if batch_dice else "patch by patch"
        dice_reason = f"The Dice loss is taken {rule}: {share} (limit {100 * SMALLEST_PATCH_SHARE:g} %)."
    return Draft(
        spacing_mm=spacing,
        median_shape=median_shape,
        topology=topology,
        network=network,
        batch_size=batch,
        batch_dice=batch_dice,
        training=TRAINING,
        bytes_per_element=BYTES_PER_ELEMENT,
        reasons={
            "patch_size": explain_patch(topology, median_shape, f"two fit {gpu_memory_gb:g} GB"),
            "batch_size": batch_reason,
            "batch_dice": dice_reason,
            "training": TRAINING_REASON,
        },
    )


def _plan_patch(
    spacing_mm: Sequence[float], median_shape: Sequence[float], *, memory_gb: float, output_channels: int
) -> Topology:
    dimensions = len(spacing_mm)

    def fits(topology: Topology) -> bool:
        network = make_network(topology, BASE_FEATURES, MOST_FEATURES[dimensions])
        return fits_memory(count_feature_elements(network, topology.patch, output_channels), dimensions, memory_gb)

    return fit_patch(spacing_mm, median_shape, fits)


def explain_patch(topology: Topology, median_shape: Sequence[float], limit: str) -> str:
    """Why the patch has its size, in a sentence; ``limit`` says what it had to fit."""
    return (
        f"{format_shape(topology.patch)} voxels: the largest patch in the proportions of the median case "
        f"({format_shape(median_shape)}) of which {limit}; each axis a multiple of {format_shape(topology.divisors)}."
    )
