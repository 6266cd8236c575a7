"""From a fingerprint to a plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from medseg.core.errors import PlanError
from medseg.core.fingerprint import Fingerprint
from medseg.core.plan import Plan
from medseg.core.registry import Registry
from medseg.planning.configuration import Draft, finish_configuration
from medseg.planning.cpu import draft_cpu
from medseg.planning.nnunet import draft_nnunet
from medseg.planning.normalisation import choose_normalisation
from medseg.planning.survey import Survey, survey_cases

Preset = Callable[[Survey, float], tuple[str, dict[str, Draft]]]

PRESETS: Registry[Preset] = Registry("preset")


@PRESETS.add("nnunet")
def _plan_nnunet(survey: Survey, gpu_memory_gb: float) -> tuple[str, dict[str, Draft]]:
    return f"GPU with {gpu_memory_gb:g} GB", draft_nnunet(survey, gpu_memory_gb)


@PRESETS.add("cpu")
def _plan_cpu(survey: Survey, gpu_memory_gb: float) -> tuple[str, dict[str, Draft]]:
    return "two CPU cores, 13 minutes of training", draft_cpu(survey)


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
    if not math.isfinite(gpu_memory_gb) or gpu_memory_gb <= 0:
        raise PlanError(f"{gpu_memory_gb:g} GB of memory", code="bad_memory", remedy="Give --gpu-memory-gb above 0")
    draft_configurations = PRESETS.get(preset)
    survey = survey_cases(fingerprint, spacing_mm)
    normalisation, normalisation_reason = choose_normalisation(fingerprint)
    target, drafts = draft_configurations(survey, gpu_memory_gb)
    configurations, reasons = (
        {},
        {"axis_order": survey.reasons["axis_order"], "configurations": _explain_choice(survey)},
    )
    for name, draft in drafts.items():
        configuration, why = finish_configuration(name, draft, survey, normalisation)
        why = {"spacing_mm": survey.reasons["spacing_mm"], "normalisation": normalisation_reason, **why}
        configurations[name] = configuration
        reasons |= {f"{name}.{field}": reason for field, reason in why.items()}
    return Plan(
        dataset=fingerprint.dataset,
        preset=preset,
        target=target,
        channels=fingerprint.channels,
        labels=fingerprint.labels,
        axis_order=survey.axis_order,
        configurations=configurations,
        reasons=reasons,
    )


def _explain_choice(survey: Survey) -> str:
    if survey.is_flat:
        return "2d alone: the median case has one voxel along the first axis."
    return "2d and 3d_fullres: the cases have three dimensions."
