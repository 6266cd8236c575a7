"""nnU-Net's ``plans.json`` and ``dataset.json`` as a plan of ours with one configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from medseg.core.errors import FormatError, ModelError
from medseg.core.plan import LARGEST_PATCH_VOXELS, Axis, Configuration, NormalisationPlan, Plan, TrainingPlan
from medseg.inference.nnunet.architecture import read_network
from medseg.inference.nnunet.dataset_json import read_channels, read_labels
from medseg.inference.nnunet.json_files import MEND, Kept, parse_part, read_object
from medseg.planning.memory import estimate_memory_gb

PLANS, DATASET = "plans.json", "dataset.json"
PRESET, TARGET = "nnunet", "a model that nnU-Net trained"
GPU_BYTES_PER_ELEMENT = 2  # nnU-Net trains in half precision

# The file axes (0 = i, 1 = j, 2 = k) in the order of each reader's arrays, and where it turns scans. Pictures have rows
# along i and columns along j in our files, pages along k.
VOLUME_AXES, PICTURE_AXES = (2, 1, 0), (2, 0, 1)
READERS: dict[str, tuple[tuple[int, int, int], str | None]] = {
    "SimpleITKIO": (VOLUME_AXES, None),
    "NibabelIO": (VOLUME_AXES, None),
    "SimpleITKIOWithReorient": (VOLUME_AXES, "RAS"),
    "NibabelIOWithReorient": (VOLUME_AXES, "RAS"),
    "NaturalImage2DIO": (PICTURE_AXES, None),
    "Tiff3DIO": (PICTURE_AXES, None),
}
SCHEMES: dict[str, Literal["ct", "zscore", "rescale_to_01", "rgb_to_01", "none"]] = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "RescaleTo01Normalization": "rescale_to_01",
    "RGBTo01Normalization": "rgb_to_01",
    "NoNormalization": "none",
}
# How our preprocessing and our way back resample; other settings would give other masks.
RESAMPLING = "resample_data_or_seg_to_shape"
ORDERS = {"data": 3, "seg": 1, "probabilities": 1}

# Bounds on what a file may claim.
SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 2e-4, 500.0  # as for scans, medseg.io.guard

Size = Annotated[int, Field(ge=1, le=65536)]
Spacing = Annotated[float, Field(ge=SMALLEST_SPACING_MM, le=LARGEST_SPACING_MM)]
Number = Annotated[float, Field(ge=-1e12, le=1e12)]


class _Intensities(Kept):
    mean: Number
    std: Annotated[float, Field(ge=0, le=1e12)]
    percentile_00_5: Number
    percentile_99_5: Number


class _Plans(Kept):
    dataset_name: str = ""
    plans_name: str = "nnUNetPlans"
    image_reader_writer: str
    transpose_forward: tuple[Axis, Axis, Axis]
    label_manager: Literal["LabelManager"] = "LabelManager"
    original_median_shape_after_transp: tuple[Annotated[float, Field(gt=0, le=1e6)], ...] = ()
    configurations: dict[str, dict[str, Any]]


class _Configuration(Kept):
    preprocessor_name: Literal["DefaultPreprocessor"] = "DefaultPreprocessor"
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 2
    batch_dice: bool = False
    patch_size: Annotated[tuple[Size, ...], Field(min_length=2, max_length=3)]
    spacing: tuple[Spacing, ...]
    median_image_size_in_voxels: tuple[Annotated[float, Field(gt=0, le=1e6)], ...] = ()
    normalization_schemes: Annotated[tuple[str, ...], Field(max_length=1000)]
    use_mask_for_norm: tuple[bool, ...]
    previous_stage: str | None = None


@dataclass(frozen=True)
class SourcePlan:
    """One configuration of an nnU-Net model.

    Args:
        plan: ours, with that configuration alone.
        name: of the plans.
        previous: the configuration whose masks it reads besides the images; None outside cascades.
        reader_axes: the file axes in the order of the reader's arrays.
        reader_orientation: where the reader turns scans: the directions that i, j, k then run to.
    """

    plan: Plan
    name: str
    previous: str | None
    reader_axes: tuple[int, int, int]
    reader_orientation: str | None


def read_source_plan(
    folder: str | Path, configuration: str, *, mirror_axes: tuple[int, ...] = (), batch_norm: bool = False
) -> SourcePlan:
    """The plan in an nnU-Net model's folder.

    Args:
        folder: with ``plans.json`` (the present format or the older one) and ``dataset.json``.
        configuration: which of its configurations.
        mirror_axes: that the checkpoint allows, of the network's patch (two axes in 2D).
        batch_norm: whether the trainer built the network with batch norms whatever the plan says.
    Returns:
        the plan, preset ``nnunet``: axes, spacing, normalisation and network as nnU-Net used them.
    Raises:
        FormatError: a file is missing or damaged, or holds absurd numbers.
        ModelError: a network, reader, normalisation, preprocessor or resampling that medseg does not have.
    """
    file, dataset_file = Path(folder) / PLANS, Path(folder) / DATASET
    whole = read_object(file)
    plans = parse_part(_Plans, whole, file)
    dataset = read_object(dataset_file)
    channels, labels = read_channels(dataset, dataset_file), read_labels(dataset, dataset_file)
    content = _resolve_inheritance(plans.configurations, configuration, file)
    _check_resampling(content, file)
    part = parse_part(_Configuration, content, file)
    dimensions = len(part.patch_size)
    _check_configuration(part, len(channels), mirror_axes, file)
    network = read_network(content, part.patch_size, file)
    if batch_norm:
        network = network.model_copy(update={"norm": "batch", "norm_epsilon": 1e-5})
    axes, orientation = _read_axes(plans, file)
    inputs = len(channels) + (len(labels.foreground) if part.previous_stage else 0)
    training = TrainingPlan(mirror_axes=tuple(axis + 3 - dimensions for axis in mirror_axes))
    ours = Configuration(
        name=configuration,
        dimensions=2 if dimensions == 2 else 3,
        spacing_mm=_prepend(None, part.spacing, dimensions),
        median_shape=_read_median(plans, part),
        patch_size=_prepend(1, part.patch_size, dimensions),
        batch_size=part.batch_size,
        batch_dice=part.batch_dice,
        normalisation=_read_normalisation(part, whole, file),
        network=network,
        training=training,
        memory_gb=estimate_memory_gb(
            network, part.patch_size, part.batch_size, inputs, labels.channel_count, training,
            bytes_per_element=GPU_BYTES_PER_ELEMENT,
        ),
    )  # fmt: skip
    forward = plans.transpose_forward
    plan = Plan(
        dataset=plans.dataset_name,
        preset=PRESET,
        target=TARGET,
        channels=channels,
        labels=labels,
        axis_order=(axes[forward[0]], axes[forward[1]], axes[forward[2]]),
        # The reader's arrays run along k, j, i of the turned scan: upwards, forwards, to the right.
        orientation=orientation and "".join(orientation[axes[place]] for place in forward),
        configurations={configuration: ours},
        reasons={configuration: f"As nnU-Net planned it ({plans.plans_name})."},
    )
    return SourcePlan(plan, plans.plans_name, part.previous_stage, axes, orientation)


def _prepend(first: Any, values: tuple[Any, ...], dimensions: int) -> Any:
    """Three entries: slices have a first axis that nnU-Net's numbers leave out."""
    return (first, *values) if dimensions == 2 else values


def _resolve_inheritance(configurations: Mapping[str, Any], name: str, file: Path) -> dict[str, Any]:
    """A configuration with what it takes over from others."""
    visited: list[str] = []
    content: dict[str, Any] = {}
    wanted: Any = name
    while wanted is not None:
        if wanted in visited:
            raise ModelError(f"the configuration {wanted!r} inherits from itself", code="bad_plan", file=file)
        if not isinstance(wanted, str) or wanted not in configurations:
            known = ", ".join(configurations)[:200] or "none"
            raise ModelError(
                f"there is no configuration {str(wanted)[:80]!r}", code="bad_plan", file=file, remedy=f"It has: {known}"
            )
        visited.append(wanted)
        content = {**configurations[wanted], **content}
        wanted = configurations[wanted].get("inherits_from")
    return content


def _check_resampling(content: Mapping[str, Any], file: Path) -> None:
    for what, order in ORDERS.items():
        if what == "seg" and not content.get("previous_stage"):
            continue  # only a cascade resamples masks to predict
        name = content.get(f"resampling_fn_{what}", RESAMPLING)
        arguments = content.get(f"resampling_fn_{what}_kwargs", {})
        expected = {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}
        if name != RESAMPLING or not isinstance(arguments, dict) or {**expected, **arguments} != expected:
            raise ModelError(
                f"it resamples {what} with {str(name)[:80]}, {str(arguments)[:120]}, which is not supported",
                code="other_resampling",
                file=file,
                remedy=f"Supported: {RESAMPLING} with nnU-Net's usual settings",
            )


def _check_configuration(part: _Configuration, channels: int, mirror_axes: tuple[int, ...], file: Path) -> None:
    dimensions = len(part.patch_size)
    faults = []
    if math.prod(part.patch_size) > LARGEST_PATCH_VOXELS:
        voxels = " x ".join(map(str, part.patch_size))
        faults.append(f"a patch of {voxels} voxels, expected at most {LARGEST_PATCH_VOXELS} in all")
    if len(part.spacing) != dimensions:
        faults.append(f"a spacing of {len(part.spacing)} axes, {list(part.spacing)}, for a patch of {dimensions}")
    if any(axis >= dimensions for axis in mirror_axes):
        faults.append(f"mirror axes {list(mirror_axes)} for a patch of {dimensions} axes")
    for name, found in (("normalization_schemes", part.normalization_schemes), ("masks", part.use_mask_for_norm)):
        if len(found) != channels:
            faults.append(f"{len(found)} {name} for {channels} channels")
    if faults:
        raise FormatError("; ".join(faults), code="bad_plan", file=file, remedy=MEND)


def _read_axes(plans: _Plans, file: Path) -> tuple[tuple[int, int, int], str | None]:
    if sorted(plans.transpose_forward) != [0, 1, 2]:
        found = list(plans.transpose_forward)
        raise FormatError(
            f"transpose_forward is {found}, expected 0, 1, 2 in some order", code="bad_plan", file=file, remedy=MEND
        )
    if plans.image_reader_writer not in READERS:
        raise ModelError(
            f"the reader {plans.image_reader_writer[:80]!r} is not supported",
            code="other_reader",
            file=file,
            remedy=f"Supported: {', '.join(READERS)}",
        )
    return READERS[plans.image_reader_writer]


def _read_median(plans: _Plans, part: _Configuration) -> tuple[int, int, int]:
    """The median scan at the configuration's spacing; where older plans name none, the patch stands for it."""
    dimensions = len(part.patch_size)
    found = [*part.median_image_size_in_voxels]
    if len(found) != dimensions:
        found = [*map(float, part.patch_size)]
    if dimensions == 2:
        whole = plans.original_median_shape_after_transp
        found = [whole[0] if len(whole) == 3 else 1.0, *found]
    i, j, k = (max(1, round(value)) for value in found)
    return i, j, k


def _read_normalisation(part: _Configuration, plans: Mapping[str, Any], file: Path) -> tuple[NormalisationPlan, ...]:
    names = ("foreground_intensity_properties_per_channel", "foreground_intensity_properties_by_modality")
    statistics: dict[str, Any] = next((plans[name] for name in names if isinstance(plans.get(name), dict)), {})
    schemes = []
    for channel, (name, masked) in enumerate(zip(part.normalization_schemes, part.use_mask_for_norm, strict=True)):
        scheme = SCHEMES.get(name)
        if scheme is None:
            raise ModelError(
                f"the normalisation {name[:80]!r} is not supported",
                code="other_normalisation",
                file=file,
                remedy=f"Supported: {', '.join(SCHEMES)}",
            )
        if scheme != "ct":
            schemes.append(NormalisationPlan(scheme=scheme, inside_mask=masked and scheme == "zscore"))
            continue
        if not isinstance(statistics.get(str(channel)), dict):
            raise FormatError(
                f"{name} needs foreground intensities of channel {channel}, and there are none", code="bad_plan",
                file=file, remedy=MEND,
            )  # fmt: skip
        found = parse_part(_Intensities, statistics[str(channel)], file)
        if found.percentile_00_5 > found.percentile_99_5:
            limits = f"{found.percentile_00_5:g} to {found.percentile_99_5:g}"
            raise FormatError(
                f"channel {channel} is clipped from high to low: {limits}", code="bad_plan", file=file, remedy=MEND
            )
        schemes.append(
            NormalisationPlan(
                scheme="ct", mean=found.mean, sd=found.std, low=found.percentile_00_5, high=found.percentile_99_5
            )
        )
    return tuple(schemes)
