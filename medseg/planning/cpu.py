"""The ``cpu`` preset: what two processor cores can train in about a quarter of an hour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

from medseg.core.errors import PlanError
from medseg.core.plan import NetworkPlan, TrainingPlan
from medseg.planning.configuration import Draft, view_axes
from medseg.planning.cost import predict_step_seconds
from medseg.planning.lowres import coarsen
from medseg.planning.nnunet import explain_patch
from medseg.planning.spacing import format_mm
from medseg.planning.survey import Survey
from medseg.planning.topology import Topology, fit_patch, format_shape, make_network

# 13 of 15 minutes go into training; below about 1500 steps a U-Net from scratch is not yet good (on hippocampus nnU-Net
# with this network gains 4 points of Dice between 5 and 13 minutes).
CPU_TARGET = "two CPU cores, 13 minutes of training"
TRAINING_SECONDS = 780.0
FEWEST_STEPS = 1500
STEP_SECONDS = TRAINING_SECONDS / FEWEST_STEPS
ITERATIONS_PER_EPOCH = 50
MOST_EPOCHS = 200  # a tiny network would repeat its data thousands of times in 13 minutes
BASE_FEATURES = (16, 8)  # the narrower network only where the wider one takes too long at any useful patch
MOST_FEATURES = 128
BATCH = {2: (8, 12), 3: (2, 4)}  # smallest, largest
LARGEST_EDGE_2D = 256
SMALLEST_USEFUL_PATCH = {2: 64**2, 3: 32**3}
# Log-probability: a voxel is never surer than 98 %. Our own measurement on the phantoms: from -3 to plain probabilities
# the volume of restored tumours changes by less than 1 %, plain logits lose 3 to 5 %.
LOGIT_FLOOR = -4.0
BYTES_PER_ELEMENT = 4  # a core without bf16 instructions trains in float32


def draft_cpu(survey: Survey, dimensions: Literal[2, 3], gpu_memory_gb: float) -> Draft:
    """The configuration that two processor cores can train in about 13 minutes.

    Args:
        survey: the data set at nnU-Net's target spacing.
        dimensions: 2 for slices, 3 for volumes; the spacing of volumes is coarser than the survey's where a patch
            would cover less than a quarter of the median case.
        gpu_memory_gb: without effect; time is what limits a CPU.
    Returns:
        the draft.
    Raises:
        PlanError: even the narrow network takes too long.
    """
    spacing, median_shape = view_axes(survey, dimensions)
    base, topology = _choose_width(survey, spacing, median_shape)
    reasons = {}
    view = None
    if dimensions == 3:
        view = coarsen(spacing, median_shape, topology, partial(_plan_patch, survey, base))
    if view is not None:
        reasons["spacing_mm"] = (
            f"{format_mm(view.spacing_mm)} (network's order), coarser than {format_mm(spacing)}: there a patch of "
            f"{format_shape(topology.patch)} would cover {100 * topology.voxels / survey.median_voxels:.1f} % of the "
            f"median case, now it covers {100 * view.topology.voxels / view.median_voxels:.0f} %."
        )
        spacing, median_shape, topology = view.spacing_mm, view.median_shape, view.topology
    network = make_network(topology, base, MOST_FEATURES)
    batch, batch_reason = _choose_batch(survey, network, topology)
    seconds = _step_seconds(survey, network, topology, batch)
    training = _make_training(seconds)
    whole = math.prod(median_shape)
    batch_dice = dimensions == 2 or topology.voxels < whole
    return Draft(
        spacing_mm=spacing,
        median_shape=median_shape,
        topology=topology,
        network=network,
        batch_size=batch,
        batch_dice=batch_dice,
        training=training,
        bytes_per_element=BYTES_PER_ELEMENT,
        logit_floor=LOGIT_FLOOR,
        reasons={
            **reasons,
            "patch_size": explain_patch(
                topology, median_shape, f"{BATCH[dimensions][0]} take {STEP_SECONDS:.2f} s or less a step on two cores"
            ),
            "batch_size": batch_reason,
            "batch_dice": "A patch may hold no foreground, so the Dice loss is taken over the batch."
            if batch_dice
            else "A patch covers the whole median case, so the Dice loss is taken patch by patch.",
            "training": _explain_training(seconds, training),
            "logit_floor": f"Log-probabilities not below {LOGIT_FLOOR:g} keep small lesions from shrinking.",
        },
    )


def _choose_width(survey: Survey, spacing: Sequence[float], median_shape: Sequence[float]) -> tuple[int, Topology]:
    limits = [min(size, LARGEST_EDGE_2D) if len(spacing) == 2 else size for size in median_shape]
    useful = min(SMALLEST_USEFUL_PATCH[len(spacing)], math.prod(limits) / 2)  # small scans have small patches
    for base in BASE_FEATURES:
        topology = _plan_patch(survey, base, spacing, median_shape)
        if topology.voxels >= useful:
            return base, topology
    raise PlanError(
        f"{survey.input_channels} channels and {survey.output_channels} labels leave two cores only patches of "
        f"{format_shape(topology.patch)} voxels",
        code="target_too_small",
        remedy="Plan for a GPU with --preset nnunet",
    )


def _plan_patch(survey: Survey, base: int, spacing: Sequence[float], median_shape: Sequence[float]) -> Topology:
    dimensions = len(spacing)

    def fits(topology: Topology) -> bool:
        network = make_network(topology, base, MOST_FEATURES)
        return _step_seconds(survey, network, topology, BATCH[dimensions][0]) <= STEP_SECONDS

    return fit_patch(spacing, median_shape, fits, LARGEST_EDGE_2D if dimensions == 2 else math.inf)


def _choose_batch(survey: Survey, network: NetworkPlan, topology: Topology) -> tuple[int, str]:
    smallest, largest = BATCH[len(topology.patch)]
    single = _step_seconds(survey, network, topology, 1)
    batch = min(max(int(STEP_SECONDS / single), smallest), largest)
    return batch, (
        f"A patch takes {single:.3f} s on two cores by our measurement, and {FEWEST_STEPS} steps in "
        f"{TRAINING_SECONDS / 60:g} minutes leave {STEP_SECONDS:.2f} s each; between {smallest} and {largest} patches."
    )


def _step_seconds(survey: Survey, network: NetworkPlan, topology: Topology, batch_size: int) -> float:
    return predict_step_seconds(network, topology.patch, batch_size, survey.input_channels, survey.output_channels)


def _make_training(step_seconds: float) -> TrainingPlan:
    epochs = min(MOST_EPOCHS, round(TRAINING_SECONDS / step_seconds / ITERATIONS_PER_EPOCH))
    return TrainingPlan(
        optimiser="adamw",
        learning_rate=3e-3,
        weight_decay=1e-2,
        epochs=epochs,
        iterations_per_epoch=ITERATIONS_PER_EPOCH,
        foreground_share=0.5,
        ema_decay=0.995,
        # AdamW's averages mean little in its first steps; a short ramp keeps them from throwing the network off.
        warm_up_steps=20,
    )


def _explain_training(step_seconds: float, training: TrainingPlan) -> str:
    steps, minutes, epoch = TRAINING_SECONDS / step_seconds, TRAINING_SECONDS / 60, training.iterations_per_epoch
    return (
        f"By our measurement a step takes {step_seconds:.2f} s on two cores and {minutes:g} minutes hold {steps:.0f}: "
        f"{training.epochs} epochs of {epoch}; AdamW at {training.learning_rate:g} with averaged weights learns fast "
        "in so few steps."
    )
