"""``plans.json`` and ``dataset.json`` of an exported model, as nnU-Net 2.8.1 reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medseg.core.plan import NormalisationPlan, Plan
from medseg.inference.nnunet.export_labels import describe_labels
from medseg.planning.as_nnunet import describe_configuration

PLANS_NAME = "nnUNetPlans"
# The file axes (0 = i, 1 = j, 2 = k) in the order of the arrays that nnU-Net's readers give; our pictures have rows
# along i, columns along j.
VOLUME_AXES = (2, 1, 0)
PICTURE_AXES = (2, 0, 1)
PICTURE_READER = "NaturalImage2DIO"
# The channel names that make nnU-Net's planner choose a normalisation; by any other name it takes the z-score.
KEYWORDS = {
    "ct": "CT",
    "zscore": "zscore",
    "rescale_to_01": "rescale_to_0_1",
    "rgb_to_01": "rgb_to_0_1",
    "none": "noNorm",
}


@dataclass(frozen=True)
class View:
    """How nnU-Net opens scans so that the network sees them as medseg shows them.

    Args:
        reader: nnU-Net's reader.
        file_ending: the files that it reads.
        transpose: of the reader's three axes, the network's first, second and third.
        only: the orientation of the files (where i, j, k run to) that alone are seen so; None where all are.
    """

    reader: str
    file_ending: str
    transpose: tuple[int, ...]
    only: str | None = None


def choose_view(plan: Plan) -> View:
    """The reader and the order of axes that show nnU-Net's network what medseg's sees.

    Args:
        plan: the model's.
    Returns:
        for pictures nnU-Net's picture reader. For volumes whose axes all run to right, anterior or superior the reader
        that turns scans so; otherwise the one that takes scans as they lie, and the orientation that they must have.
    """
    if shows_pictures(plan):
        return View(PICTURE_READER, ".png", tuple(PICTURE_AXES.index(axis) for axis in plan.axis_order))
    if plan.orientation is not None and set(plan.orientation) == set("RAS"):
        return View("NibabelIOWithReorient", ".nii.gz", tuple("SAR".index(letter) for letter in plan.orientation))
    only = None
    if plan.orientation is not None:
        only = "".join(plan.orientation[plan.axis_order.index(axis)] for axis in range(3))
    return View("SimpleITKIO", ".nii.gz", tuple(VOLUME_AXES.index(axis) for axis in plan.axis_order), only)


def shows_pictures(plan: Plan) -> bool:
    """Whether the model is for pictures.

    Args:
        plan: the model's.
    Returns:
        true for slices without depth whose channels are a picture's, and for imported models with a picture's axes.
    """
    if any(configuration.median_shape[0] > 1 for configuration in plan.configurations.values()):
        return False
    if plan.orientation is None:
        return plan.axis_order == PICTURE_AXES
    schemes = {channel.scheme for entry in plan.configurations.values() for channel in entry.normalisation}
    return schemes == {"rgb_to_01"} or all(name.casefold().startswith("picture") for name in plan.channels)


def takes_own_spacing(plan: Plan) -> bool:
    """Whether the plan's spacing is that of its pictures, which nnU-Net, as imported models, takes as 1 mm."""
    return shows_pictures(plan) and plan.orientation is not None


def make_plans(plan: Plan, stages: Sequence[tuple[str, str | None]], dataset_name: str) -> dict[str, Any]:
    """The content of ``plans.json``.

    Args:
        plan: the model's.
        stages: each exported configuration, and the one whose masks it reads or None.
        dataset_name: nnU-Net's name of the data set.
    Returns:
        JSON; what prediction does not need and a model does not know (the scans' own median) is left out.
    Raises:
        PlanError: a network that nnU-Net does not have.
    """
    view = choose_view(plan)
    configurations = {}
    for name, previous in stages:
        configuration = plan.configuration(name)
        median_shape = configuration.median_shape[3 - configuration.dimensions :]
        entry = describe_configuration(configuration, f"{PLANS_NAME}_{name}", median_shape)
        if takes_own_spacing(plan):  # not to be resampled, though nnU-Net takes their pixels as 1 mm
            entry["spacing"] = [1.0] * configuration.dimensions
        readers = [other for other, read in stages if read == name]
        entry |= {"previous_stage": previous} if previous else {}
        entry |= {"next_stage": readers[0] if len(readers) == 1 else readers} if readers else {}
        configurations[name] = entry
    normalisation = plan.configuration(stages[0][0]).normalisation
    return {
        "dataset_name": dataset_name,
        "plans_name": PLANS_NAME,
        "image_reader_writer": view.reader,
        "transpose_forward": list(view.transpose),
        "transpose_backward": [view.transpose.index(axis) for axis in range(3)],
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(index): _describe_intensities(channel) for index, channel in enumerate(normalisation)
        },
    }


def make_dataset_json(plan: Plan, normalisation: Sequence[NormalisationPlan]) -> dict[str, Any]:
    """The content of ``dataset.json``.

    Args:
        plan: the model's.
        normalisation: of each channel.
    Returns:
        JSON. A channel keeps its name where nnU-Net's planner would choose its normalisation by it, and is called
        after its normalisation elsewhere.
    Raises:
        ModelError: nnU-Net cannot express the labels.
    """
    names = {
        str(index): _name_channel(name, channel.scheme)
        for index, (name, channel) in enumerate(zip(plan.channels, normalisation, strict=True))
    }
    return {
        "name": plan.dataset,
        "channel_names": names,
        **describe_labels(plan.labels),
        "file_ending": choose_view(plan).file_ending,
    }


def _name_channel(name: str, scheme: str) -> str:
    known = {keyword.casefold(): asked for asked, keyword in KEYWORDS.items()}
    return name if known.get(name.casefold(), "zscore") == scheme else KEYWORDS[scheme]


def _describe_intensities(channel: NormalisationPlan) -> dict[str, float]:
    """What nnU-Net's CT scheme clips and scales by; no other scheme asks for numbers."""
    if channel.scheme != "ct":
        return {}
    return {
        "mean": channel.mean,
        "std": channel.sd,
        "percentile_00_5": channel.low,
        "percentile_99_5": channel.high,
    }
