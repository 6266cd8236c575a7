"""From a fingerprint to a plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from medseg.core.errors import PlanError
from medseg.core.fingerprint import Fingerprint
from medseg.core.plan import Plan
from medseg.core.registry import Registry
from medseg.planning.configuration import Draft, choose_dimensions, finish_configuration
from medseg.planning.cpu import CPU_TARGET, draft_cpu
from medseg.planning.nnunet import draft_nnunet
from medseg.planning.normalisation import choose_normalisation
from medseg.planning.orientation import choose_mirror_axes
from medseg.planning.spacing import read_wanted
from medseg.planning.survey import Survey, survey_cases

# From a survey, 2 or 3 dimensions and a GPU's memory in GB to a draft of that configuration.
Preset = Callable[[Survey, Literal[2, 3], float], Draft]

NAMES: dict[Literal[2, 3], str] = {2: "2d", 3: "3d_fullres"}

PRESETS: Registry[Preset] = Registry("preset")


PRESETS.add("nnunet")(draft_nnunet)
PRESETS.add("cpu")(draft_cpu)


def check_request(preset: str, gpu_memory_gb: float, spacing_mm: Sequence[float] | None) -> None:
    """Refuse what ``make_plan`` can make no plan for, whatever the scans are.

    Args:
        preset, gpu_memory_gb, spacing_mm: as for ``make_plan``.
    Raises:
        PlanError: an unknown preset, a spacing or memory that cannot work.
    """
    PRESETS.get(preset)
    if not math.isfinite(gpu_memory_gb) or gpu_memory_gb <= 0:
        raise PlanError(f"{gpu_memory_gb:g} GB of memory", code="bad_memory", remedy="Give --gpu-memory-gb above 0")
    if spacing_mm is not None:
        read_wanted(spacing_mm)


def make_plan(
    fingerprint: Fingerprint,
    *,
    preset: str = "nnunet",
    gpu_memory_gb: float = 8.0,
    spacing_mm: Sequence[float] | None = None,
) -> Plan:
    """Every decision about preprocessing, networks and training, each with its reason.

    Args:
        fingerprint: the data set's fingerprint.
        preset: whose rules to follow: ``nnunet`` (nnU-Net's, for a GPU) or ``cpu`` (for two processor cores).
        gpu_memory_gb: the memory target of the GPU presets, GB; without effect on ``cpu``.
        spacing_mm: the target spacing, one number or three along i, j, k in millimetres; chosen where None.
    Returns:
        the plan; pictures get ``2d`` alone.
    Raises:
        PlanError: an unknown preset, a spacing or memory that cannot work, scans too small for a network.
    Source: Isensee et al., Nature Methods 18 (2021), supplementary note 2, for ``nnunet``; ``cpu`` starts from its
        spacing, axes and normalisation, and fits patch and network to measured times instead of memory.
    """
    check_request(preset, gpu_memory_gb, spacing_mm)
    draft_configuration = PRESETS.get(preset)
    survey = survey_cases(fingerprint, spacing_mm)
    normalisation, normalisation_reason = choose_normalisation(fingerprint)
    usable, choice_reason = choose_dimensions(survey)
    configurations, reasons = {}, {"axis_order": survey.reasons["axis_order"], "configurations": choice_reason}
    for dimensions in usable:
        name, draft = NAMES[dimensions], draft_configuration(survey, dimensions, gpu_memory_gb)
        axes, why_mirrored = choose_mirror_axes(
            survey.orientation, fingerprint.labels, flat=dimensions == 2 and survey.is_flat, sides_only=preset == "cpu"
        )
        axes = tuple(axis for axis in axes if dimensions == 3 or axis > 0)
        draft = replace(draft, training=draft.training.model_copy(update={"mirror_axes": axes}))
        configuration, why = finish_configuration(name, draft, survey, normalisation)
        why["mirror_axes"] = why_mirrored
        why = {"spacing_mm": survey.reasons["spacing_mm"], "normalisation": normalisation_reason, **why}
        configurations[name] = configuration
        reasons |= {f"{name}.{field}": reason for field, reason in why.items()}
    return Plan(
        dataset=fingerprint.dataset,
        preset=preset,
        target=CPU_TARGET if preset == "cpu" else f"GPU with {gpu_memory_gb:g} GB",
        channels=fingerprint.channels,
        labels=fingerprint.labels,
        axis_order=survey.axis_order,
        orientation=survey.orientation,
        configurations=configurations,
        reasons=reasons,
    )
