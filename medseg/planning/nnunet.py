"""nnU-Net's rules under a memory target: 2D, 3D at full and at low resolution, and the cascade of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from medseg.core.plan import TrainingPlan
from medseg.planning.batch import choose_batch
from medseg.planning.configuration import CASCADE, FULL, LOW, SLICES, Draft, view_axes
from medseg.planning.lowres import SMALLEST_PATCH_SHARE, SMALLEST_REDUCTION, CoarseView, coarsen, needs_lowres
from medseg.planning.memory import count_feature_elements
from medseg.planning.nnunet_rules import Rules
from medseg.planning.spacing import format_mm
from medseg.planning.survey import Survey
from medseg.planning.topology import Topology, fit_patch, format_shape

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


@dataclass(frozen=True)
class _Request:
    """Whose rules, for which data set and how much memory, GB."""

    rules: Rules
    survey: Survey
    memory_gb: float

    def plan_patch(self, spacing_mm: Sequence[float], median_shape: Sequence[float]) -> Topology:
        """The largest patch, with its pooling, of which enough fit the memory."""

        def fits(topology: Topology) -> bool:
            return self.rules.fits(self.count_elements(topology), len(spacing_mm), self.memory_gb)

        return fit_patch(spacing_mm, median_shape, fits)

    def count_elements(self, topology: Topology) -> int:
        """Feature map elements of one patch."""
        return count_feature_elements(self.rules.build(topology), topology.patch, self.survey.output_channels)


def draft_by(rules: Rules) -> Callable[[Survey, Literal[2, 3], float], dict[str, Draft]]:
    """A preset that drafts as one of nnU-Net's planners plans."""
    return lambda survey, dimensions, memory_gb: draft_nnunet(rules, survey, dimensions, memory_gb)


def draft_nnunet(rules: Rules, survey: Survey, dimensions: Literal[2, 3], gpu_memory_gb: float) -> dict[str, Draft]:
    """The configurations that nnU-Net plans for the data set.

    Args:
        rules: of the planner.
        survey: the data set at the target spacing.
        dimensions: 2 for slices, 3 for volumes.
        gpu_memory_gb: the memory target, GB.
    Returns:
        drafts by name: ``2d``; or ``3d_fullres``, and ``3d_lowres`` with ``3d_cascade_fullres`` where a patch covers
        less than a quarter of the median case and a coarser spacing at which it covers that halves the voxels at least.
    Raises:
        PlanError: not even the smallest patch fits the memory.
    Source: Isensee et al., Nature Methods 18 (2021), supplementary note 2; numbers as in nnU-Net 2.8.1,
        ``ExperimentPlanner.plan_experiment``.
    """
    request = _Request(rules, survey, gpu_memory_gb)
    spacing, median_shape = view_axes(survey, dimensions)
    topology = request.plan_patch(spacing, median_shape)
    finest = CoarseView(spacing, median_shape, survey.median_voxels, topology)
    if dimensions == 2:
        reason = "Slices often hold no foreground, so the Dice loss is taken over the batch."
        return {SLICES: _draft(request, finest, batch_dice=True, reasons={"batch_dice": reason})}
    coarse = coarsen(spacing, median_shape, topology, request.plan_patch)
    if coarse is None or not needs_lowres(survey.median_voxels, coarse):
        return {FULL: _draft(request, finest, batch_dice=False, reasons={"batch_dice": _explain_dice(finest, coarse)})}
    full = _draft(request, finest, batch_dice=True, reasons={"batch_dice": _explain_dice(finest, coarse)})
    low = _draft(request, coarse, batch_dice=False, reasons=_explain_lowres(finest, coarse))
    return {FULL: full, LOW: low, CASCADE: _follow(full)}


def _follow(full: Draft) -> Draft:
    """The second stage of a cascade: as at full resolution, with the masks of the first as further input."""
    reason = (
        f"It sees the masks of {LOW}, which sees more of the scan at once, beside the images; all else is as in {FULL}."
    )
    return replace(full, previous=LOW, reasons={**full.reasons, "previous": reason})


def _draft(request: _Request, view: CoarseView, *, batch_dice: bool, reasons: Mapping[str, str]) -> Draft:
    topology, memory_gb = view.topology, request.memory_gb
    network = request.rules.build(topology)
    batch = choose_batch(
        request.rules,
        request.count_elements(topology),
        topology.patch,
        view.median_voxels * request.survey.case_count,
        memory_gb,
    )
    fewest = request.rules.fewest_patches[len(topology.patch)]
    limit = f"{'two' if fewest == 2 else fewest} fit {memory_gb:g} GB"
    return Draft(
        spacing_mm=view.spacing_mm,
        median_shape=view.median_shape,
        topology=topology,
        network=network,
        batch_size=batch.size,
        uncapped_batch_size=batch.uncapped,
        batch_dice=batch_dice,
        training=TRAINING,
        bytes_per_element=BYTES_PER_ELEMENT,
        reasons={
            **reasons,
            "patch_size": explain_patch(topology, view.median_shape, limit),
            **batch.reasons,
            "training": TRAINING_REASON,
        },
    )


def _explain_dice(finest: CoarseView, coarse: CoarseView | None) -> str:
    share = f"a patch covers {100 * finest.topology.voxels / finest.median_voxels:.0f} % of the median case"
    limit = f"(limit {100 * SMALLEST_PATCH_SHARE:g} %)"
    if coarse is None:
        return f"The Dice loss is taken patch by patch: {share} {limit}."
    if needs_lowres(finest.median_voxels, coarse):
        return f"The Dice loss is taken over the batch: {share} {limit}."
    fewer = f"{finest.median_voxels / coarse.median_voxels:.1f} times fewer voxels"
    return (
        f"The Dice loss is taken patch by patch: {share} {limit}, but scans with {fewer} would do "
        f"(a low resolution is worth it from {SMALLEST_REDUCTION:g} times on)."
    )


def _explain_lowres(finest: CoarseView, coarse: CoarseView) -> dict[str, str]:
    covers = f"{100 * finest.topology.voxels / finest.median_voxels:.1f} % of the median case"
    fewer = f"{finest.median_voxels / coarse.median_voxels:.1f} times fewer voxels"
    return {
        "spacing_mm": (
            f"{format_mm(coarse.spacing_mm)} (network's order): at {format_mm(finest.spacing_mm)} a patch covers "
            f"{covers}, and here, with {fewer}, {100 * coarse.topology.voxels / coarse.median_voxels:.0f} % "
            f"(limit {100 * SMALLEST_PATCH_SHARE:g} %)."
        ),
        "batch_dice": "The Dice loss is taken patch by patch: a patch covers enough of a scan.",
    }


def explain_patch(topology: Topology, median_shape: Sequence[float], limit: str) -> str:
    """Why the patch has its size, in a sentence; ``limit`` says what it had to fit."""
    return (
        f"{format_shape(topology.patch)} voxels: the largest patch in the proportions of the median case "
        f"({format_shape(median_shape)}) of which {limit}; each axis a multiple of {format_shape(topology.divisors)}."
    )
