"""Planning from nnU-Net's own files, in our words or in its."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medseg.core.errors import FormatError, PlanError
from medseg.core.plan import NormalisationPlan, Plan
from medseg.core.records import write_json
from medseg.planning.as_nnunet import PLAIN_PLANS, describe_plans
from medseg.planning.configuration import FULL, LOW, SLICES
from medseg.planning.nnunet_files import READERS, NnunetData, read_nnunet_data
from medseg.planning.nnunet_rules import RULES, Rules
from medseg.planning.normalisation import CROPPED_SHARE_FOR_MASK, SCHEMES, choose_normalisation, read_window
from medseg.planning.plan import assemble_plan, check_request, make_plan
from medseg.planning.spacing import Wanted
from medseg.planning.survey import Survey, survey_cases


def plan_from_nnunet(
    fingerprint: str | Path,
    dataset_json: str | Path,
    *,
    preset: str = "nnunet",
    gpu_memory_gb: float | None = None,
    spacing_mm: Wanted | None = None,
    window_hu: Sequence[float] | None = None,
    as_nnunet: bool = False,
) -> Plan | dict[str, Any]:
    """The plan for a data set that nnU-Net fingerprinted.

    Args:
        fingerprint: its ``dataset_fingerprint.json``.
        dataset_json: its ``dataset.json``.
        preset, gpu_memory_gb, spacing_mm, window_hu: as for ``make_plan``.
        as_nnunet: in nnU-Net's layout, with its count of cases, its reading of channel names and its batch.
    Returns:
        our plan, or the content of nnU-Net's ``plans.json``, equal to what nnU-Net 2.8 writes for these files.
    Raises:
        FormatError: a file is missing or damaged, or names no files' ending that nnU-Net reads.
        PlanError: as ``make_plan``, or a preset that is none of nnU-Net's.
    """
    check_request(preset, gpu_memory_gb, spacing_mm, window_hu)
    if not as_nnunet:
        found = read_nnunet_data(fingerprint, dataset_json).fingerprint
        return make_plan(found, preset=preset, gpu_memory_gb=gpu_memory_gb, spacing_mm=spacing_mm, window_hu=window_hu)
    if preset not in RULES:
        raise PlanError(
            f"nnU-Net has no preset {preset!r}",
            code="not_expressible",
            remedy=f"Plan with --preset {', '.join(RULES)}, or without --as-nnunet",
        )
    data = read_nnunet_data(fingerprint, dataset_json, as_read=True)
    if not data.reader:
        endings = sorted({ending for known in READERS.values() for ending in known})
        raise FormatError(
            "it names no file_ending that nnU-Net reads", code="bad_record", file=dataset_json,
            remedy=f"Write one of {', '.join(endings)}",
        )  # fmt: skip
    survey = survey_cases(data.fingerprint, spacing_mm)
    survey = replace(survey, case_count=data.training_cases, output_channels=data.label_entries)
    normalisation = _choose_by_full_name(data, window_hu)
    plan = assemble_plan(data.fingerprint, survey, normalisation, preset, gpu_memory_gb)
    return _describe(plan, survey, data, RULES[preset], window_hu)


def write_plan_from_nnunet(
    fingerprint: str | Path, dataset_json: str | Path, output: str | Path, **request: Any
) -> dict[str, Any]:
    """Plan for a data set that nnU-Net fingerprinted, and write the plan.

    Args:
        fingerprint, dataset_json: nnU-Net's files.
        output: the file to write.
        request: as for ``plan_from_nnunet``.
    Returns:
        the file's content.
    Raises:
        FormatError: as ``plan_from_nnunet``.
        PlanError: as ``plan_from_nnunet``.
    """
    made = plan_from_nnunet(fingerprint, dataset_json, **request)
    content = made.model_dump(mode="json") if isinstance(made, Plan) else made
    write_json(output, content)
    return content


def _choose_by_full_name(
    data: NnunetData, window_hu: Sequence[float] | None
) -> tuple[tuple[NormalisationPlan, ...], str]:
    """As ``choose_normalisation``, but ``CT_1`` is no CT: nnU-Net takes a channel's whole name."""
    plans, reason = choose_normalisation(data.fingerprint, window_hu)
    inside = data.fingerprint.cropped_share < CROPPED_SHARE_FOR_MASK
    other = NormalisationPlan(scheme="zscore", inside_mask=inside)
    known = [name.casefold() in SCHEMES for name in data.fingerprint.channels]
    return tuple(plan if named else other for plan, named in zip(plans, known, strict=True)), reason


def _describe(
    plan: Plan, survey: Survey, data: NnunetData, rules: Rules, window_hu: Sequence[float] | None
) -> dict[str, Any]:
    forward = [2 - axis for axis in plan.axis_order]  # nnU-Net's arrays run along k, j, i
    spacings = np.array([case.spacing_mm[::-1] for case in data.fingerprint.cases], dtype=np.float64)
    shapes = np.array([case.cropped_shape[::-1] for case in data.fingerprint.cases], dtype=np.float64)
    head = {
        "dataset_name": data.name,
        "plans_name": rules.plans_name,
        "original_median_spacing_after_transp": np.median(spacings, axis=0)[forward].tolist(),
        "original_median_shape_after_transp": [round(size) for size in np.median(shapes, axis=0)[forward].tolist()],
        "image_reader_writer": data.reader,
        "transpose_forward": forward,
        "transpose_backward": [forward.index(axis) for axis in range(3)],
    }
    tail = {
        "experiment_planner_used": rules.planner,
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": _note_window(plan, data.intensities, window_hu),
    }
    # The residual presets prepare data as the default one does and share it, except at low resolution.
    shared = (SLICES, FULL)
    return describe_plans(
        plan.configurations,
        head=head,
        identifiers={
            name: f"{PLAIN_PLANS if name in shared else rules.plans_name}_{name}" for name in plan.configurations
        },
        medians={
            SLICES: survey.median_shape[1:],
            FULL: survey.median_shape,
            LOW: plan.configurations[LOW].median_shape if LOW in plan.configurations else (),
        },
        tail=tail,
    )


def _note_window(
    plan: Plan, intensities: Mapping[str, dict[str, float]], window_hu: Sequence[float] | None
) -> dict[str, dict[str, float]]:
    """nnU-Net clips CT to these percentiles, so a window that was asked for stands in their place."""
    if window_hu is None:
        return dict(intensities)
    low, high = read_window(window_hu)
    channels = next(iter(plan.configurations.values())).normalisation
    clip = {"percentile_00_5": low, "percentile_99_5": high}
    return {
        key: {**found, **clip} if channels[int(key)].scheme == "ct" else found for key, found in intensities.items()
    }
