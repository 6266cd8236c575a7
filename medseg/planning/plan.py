"""From a fingerprint to a plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from medseg.core.errors import PlanError
from medseg.core.fingerprint import Fingerprint
from medseg.core.plan import Configuration, NormalisationPlan, Plan
from medseg.planning.configuration import Draft, choose_dimensions, finish_configuration
from medseg.planning.normalisation import choose_normalisation, read_window
from medseg.planning.orientation import choose_mirroring
from medseg.planning.presets import PRESETS, Preset
from medseg.planning.spacing import Wanted, read_wanted
from medseg.planning.survey import Survey, survey_cases

USUAL_PRESET = "nnunet"


def check_request(
    preset: str,
    gpu_memory_gb: float | None,
    spacing_mm: Wanted | None,
    window_hu: Sequence[float] | None = None,
    *,
    followed: bool = False,
) -> None:
    """Refuse what ``make_plan`` can make no plan for, whatever the scans are.

    Args:
        preset, gpu_memory_gb, spacing_mm, window_hu: as for ``make_plan``.
        followed: whether a model is followed, which leaves none of them open.
    Raises:
        PlanError: an unknown preset, a spacing, window or memory that cannot work, or any beside a model.
    """
    PRESETS.get(preset)
    if followed and (preset != USUAL_PRESET or any(x is not None for x in (gpu_memory_gb, spacing_mm, window_hu))):
        raise PlanError(
            "a plan like a model's takes preset, memory, spacing and window from the model",
            code="like_a_model",
            remedy="Leave --preset, --gpu-memory-gb, --target-spacing-mm and --window-hu out, or --like",
        )
    if gpu_memory_gb is not None and not (math.isfinite(gpu_memory_gb) and gpu_memory_gb > 0):
        raise PlanError(f"{gpu_memory_gb:g} GB of memory", code="bad_memory", remedy="Give --gpu-memory-gb above 0")
    if spacing_mm is not None:
        read_wanted(spacing_mm)
    if window_hu is not None:
        read_window(window_hu)


def make_plan(
    fingerprint: Fingerprint,
    *,
    preset: str = "nnunet",
    gpu_memory_gb: float | None = None,
    spacing_mm: Wanted | None = None,
    window_hu: Sequence[float] | None = None,
) -> Plan:
    """Every decision about preprocessing, networks and training, each with its reason.

    Args:
        fingerprint: the data set's fingerprint.
        preset: whose rules to follow: ``nnunet`` (nnU-Net's default, for a GPU), ``resenc-m``, ``resenc-l``,
            ``resenc-xl`` (its residual encoders) or ``cpu`` (for two processor cores).
        gpu_memory_gb: the memory target of the GPU presets, GB; None for the preset's own (8; 8, 24, 40); without
            effect on ``cpu``.
        spacing_mm: the target spacing, one number or three along i, j, k in millimetres, or ``isotropic``; chosen
            where None.
        window_hu: the lowest and highest HU that CT is clipped to; chosen where None.
    Returns:
        the plan; pictures get ``2d`` alone; ``3d_lowres`` and ``3d_cascade_fullres`` only where a patch covers too
        little of a scan.
    Raises:
        PlanError: an unknown preset, a spacing, window or memory that cannot work, scans too small for a network.
    Source: Isensee et al., Nature Methods 18 (2021), supplementary note 2, and MICCAI 2024 for the residual encoders;
        ``cpu`` starts from their spacing, axes and normalisation, and fits patch and network to measured times instead
        of memory.
    """
    check_request(preset, gpu_memory_gb, spacing_mm, window_hu)
    survey = survey_cases(fingerprint, spacing_mm)
    return assemble_plan(fingerprint, survey, choose_normalisation(fingerprint, window_hu), preset, gpu_memory_gb)


def assemble_plan(
    fingerprint: Fingerprint,
    survey: Survey,
    normalisation: tuple[tuple[NormalisationPlan, ...], str],
    preset: str,
    gpu_memory_gb: float | None,
) -> Plan:
    """The plan for a data set that is surveyed already.

    Args:
        fingerprint: for the names of data set, channels and labels.
        survey: the data set at the target spacing.
        normalisation: per channel, and the reason.
        preset, gpu_memory_gb: as for ``make_plan``.
    Returns:
        the plan.
    Raises:
        PlanError: as ``make_plan``.
    """
    rules = PRESETS.get(preset)
    memory_gb = gpu_memory_gb or rules.memory_gb or 0.0
    usable, choice_reason = choose_dimensions(survey)
    configurations: dict[str, Configuration] = {}
    reasons = {"axis_order": survey.reasons["axis_order"], "configurations": choice_reason}
    for dimensions in usable:
        for name, draft in rules.draft(survey, dimensions, memory_gb).items():
            mirrored, why_mirrored = _choose_mirroring(rules, draft, survey, fingerprint)
            configurations[name], found = finish_configuration(name, mirrored, survey, normalisation[0])
            why = {"spacing_mm": survey.reasons["spacing_mm"], "normalisation": normalisation[1], **found}
            why["mirror_axes"] = why_mirrored
            reasons |= {f"{name}.{field}": reason for field, reason in why.items()}
    return Plan(
        dataset=fingerprint.dataset,
        preset=preset,
        target=rules.target or f"GPU with {memory_gb:g} GB",
        channels=fingerprint.channels,
        labels=fingerprint.labels,
        axis_order=survey.axis_order,
        orientation=survey.orientation,
        configurations=configurations,
        reasons=reasons,
    )


def _choose_mirroring(rules: Preset, draft: Draft, survey: Survey, fingerprint: Fingerprint) -> tuple[Draft, str]:
    dimensions = len(draft.topology.patch)
    found = choose_mirroring(
        survey.orientation,
        fingerprint.labels,
        dimensions=dimensions,
        flat=dimensions == 2 and survey.is_flat,
        sides_only=rules.mirrors_sides_only,
    )
    chosen = {"mirror_axes": found.axes, "side_axis": found.side_axis, "side_pairs": found.side_pairs}
    return replace(draft, training=draft.training.model_copy(update=chosen)), found.reason
