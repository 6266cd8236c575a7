"""A plan that follows a model, so that its network can be fine-tuned on other data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medseg.core.errors import PlanError
from medseg.core.fingerprint import Fingerprint
from medseg.core.geometry import match_axes
from medseg.core.plan import Configuration, NormalisationPlan, Plan, TrainingPlan
from medseg.planning.axes import AXIS_NAMES
from medseg.planning.batch import LARGEST_SHARE_OF_DATASET
from medseg.planning.configuration import Draft, finish_configuration
from medseg.planning.nnunet import BYTES_PER_ELEMENT
from medseg.planning.nnunet_rules import SMALLEST_BATCH
from medseg.planning.normalisation import choose_normalisation
from medseg.planning.orientation import choose_mirroring, choose_orientation
from medseg.planning.spacing import format_mm
from medseg.planning.survey import Survey, survey_cases
from medseg.planning.topology import Topology, format_shape

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Template:
    """A model whose plan another one follows.

    Args:
        plan: the model's, with the configurations alone that it has networks of.
        digest: what tells the model from all others.
    """

    plan: Plan
    digest: str

    @property
    def preset(self) -> str:
        """The preset of plans that follow it: ``like-`` and the first 16 letters of its digest."""
        return f"like-{self.digest[:16]}"


def plan_like(fingerprint: Fingerprint, template: Template) -> Plan:
    """A plan for a data set that follows a model's, so that the model's weights fit.

    Args:
        fingerprint: the data set's fingerprint.
        template: the model.
    Returns:
        the plan: axes, spacing, patch, network and training are the model's, and so is the normalisation of channels
        that it knows by name. Channels, labels, the other channels' normalisation, the cap of the batch and what the
        labels forbid to mirror are the data set's; loss and class weights go by the labels anew.
    Raises:
        PlanError: there is no case, the model's networks see volumes and the data are pictures, or the scans cannot be
            brought to the model's spacing.
    """
    model = template.plan
    axes = _choose_axes(fingerprint, model)
    configurations: dict[str, Configuration] = {}
    order = ", ".join(AXIS_NAMES[axis] for axis in axes[0])
    reasons = {"axis_order": f"{order}: as the model of {model.dataset} sees scans."}
    for name, theirs in model.configurations.items():
        survey = _survey_like(fingerprint, theirs, *axes)
        if survey.is_flat and theirs.dimensions == 3:
            continue
        normalisation, why_normalised = _choose_normalisation(fingerprint, model, theirs)
        training, why_mirrored = _choose_training(theirs, survey, fingerprint)
        draft = _draft_like(theirs, survey, training, model.dataset)
        made, found = finish_configuration(name, draft, survey, normalisation)
        found |= {"normalisation": why_normalised, "mirror_axes": why_mirrored}
        found["network"] = f"The model's {theirs.network.name}: {found['network'].partition(':')[0]}."
        if theirs.memory_gb is None:
            made = made.model_copy(update={"memory_gb": None})
            found["memory_gb"] = f"Not predicted: the memory of {theirs.network.name} has no closed form."
        configurations[name] = made
        reasons |= {f"{name}.{field}": reason for field, reason in found.items()}
    if not configurations:
        raise PlanError(
            f"the networks of the model of {model.dataset} see volumes, and the data set has pictures",
            code="other_dimensions",
            remedy="Take a model of pictures, or plan without --like",
        )
    return Plan(
        dataset=fingerprint.dataset,
        preset=template.preset,
        target=f"fine-tuning a model of {model.dataset}",
        channels=fingerprint.channels,
        labels=fingerprint.labels,
        axis_order=axes[0],
        orientation=axes[1],
        configurations=configurations,
        reasons=reasons,
    )


def _choose_axes(fingerprint: Fingerprint, model: Plan) -> tuple[Triple, str | None]:
    """The model's; the data set's own where they cannot be the model's."""
    own, common = survey_cases(fingerprint), choose_orientation(fingerprint)
    order, orientation = model.axis_order, model.orientation
    if orientation is not None:
        if common is None:  # pictures, and scans that do not say how they lie
            return own.axis_order, None
        order = match_axes(common, orientation)[0]
    # A picture's one slice comes first, whatever the model's volumes are.
    return (own.axis_order, None) if own.is_flat and order[0] != own.axis_order[0] else (order, orientation)


def _survey_like(fingerprint: Fingerprint, theirs: Configuration, order: Triple, orientation: str | None) -> Survey:
    """The data set at the model's spacing, along the network's axes as the model has them."""
    own = survey_cases(fingerprint)
    own_mm = dict(zip(own.axis_order, own.spacing_mm, strict=True))
    wanted = {axis: mm or own_mm[axis] for axis, mm in zip(order, theirs.spacing_mm, strict=True)}
    found = survey_cases(fingerprint, [wanted[axis] for axis in range(3)])
    shape = dict(zip(found.axis_order, found.median_shape, strict=True))
    first, second, third = order
    return Survey(
        axis_order=order,
        orientation=orientation,
        spacing_mm=(wanted[first], wanted[second], wanted[third]),
        median_shape=(shape[first], shape[second], shape[third]),
        case_count=found.case_count,
        input_channels=found.input_channels,
        output_channels=found.output_channels,
        mask_channels=found.mask_channels,
        is_flat=shape[first] == 1,
        reasons={},
    )


def _choose_normalisation(
    fingerprint: Fingerprint, model: Plan, theirs: Configuration
) -> tuple[tuple[NormalisationPlan, ...], str]:
    """The model's for channels of the same name, numbers of CT included; the data set's own for the others."""
    own, _ = choose_normalisation(fingerprint)
    known = dict(zip((name.casefold() for name in model.channels), theirs.normalisation, strict=True))
    plans = tuple(known.get(name.casefold(), plan) for name, plan in zip(fingerprint.channels, own, strict=True))
    words = []
    for name, plan in zip(fingerprint.channels, plans, strict=True):
        why = "as the model has it" if name.casefold() in known else "which the model does not know, by the data set"
        numbers = f" ({plan.low:g} to {plan.high:g}, mean {plan.mean:.4g}, sd {plan.sd:.4g})"
        words.append(f"{name}, {why}: {plan.scheme}{numbers if plan.scheme == 'ct' else ''}.")
    return plans, " ".join(words)


def _choose_training(theirs: Configuration, survey: Survey, fingerprint: Fingerprint) -> tuple[TrainingPlan, str]:
    """The model's training; what hangs on the labels goes by the data set's."""
    found = choose_mirroring(
        survey.orientation, fingerprint.labels, dimensions=theirs.dimensions, flat=survey.is_flat, sides_only=False
    )
    axes = tuple(axis for axis in found.axes if axis in theirs.training.mirror_axes)
    reason = found.reason if axes == found.axes else f"{found.reason} Of these, those that the model saw flipped."
    sided = found.side_axis in axes
    changes = {
        "mirror_axes": axes,
        "side_axis": found.side_axis if sided else None,
        "side_pairs": found.side_pairs if sided else (),
        "loss": "auto",
        "class_weights": (),
    }
    return theirs.training.model_copy(update=changes), reason


def _draft_like(theirs: Configuration, survey: Survey, training: TrainingPlan, dataset: str) -> Draft:
    dimensions, patch = theirs.dimensions, theirs.patch_size[3 - theirs.dimensions :]
    batch, why_batch = _choose_batch(theirs.batch_size, patch, survey)
    spacing = theirs.spacing_mm[3 - dimensions :]
    model = f"the model of {dataset}"
    return Draft(
        spacing_mm=[mm for mm in spacing if mm is not None],
        median_shape=survey.median_shape[3 - dimensions :],
        topology=Topology(patch, theirs.network.strides, theirs.network.kernels),
        network=theirs.network,
        batch_size=batch,
        batch_dice=theirs.batch_dice,
        training=training,
        bytes_per_element=BYTES_PER_ELEMENT,
        logit_floor=theirs.logit_floor,
        previous=theirs.previous,
        reasons={
            "spacing_mm": f"{format_mm(theirs.spacing_mm)} (network's order), which {model} was trained at.",
            "patch_size": f"{format_shape(patch)} voxels, as {model} saw; --set patch_size=... takes another.",
            "batch_size": why_batch,
            "batch_dice": f"As {model}.",
            "training": f"As {model}, loss and class weights by the labels; --set learning_rate=... takes a lower one.",
        },
    )


def _choose_batch(planned: int, patch: Sequence[int], survey: Survey) -> tuple[int, str]:
    share_voxels = survey.case_count * survey.median_voxels * LARGEST_SHARE_OF_DATASET
    most = max(SMALLEST_BATCH, round(share_voxels / math.prod(patch)))
    if planned <= most:
        return planned, f"{planned}, the model's."
    share = f"{100 * LARGEST_SHARE_OF_DATASET:g} % of the data set's voxels"
    return most, f"{most} in place of the model's {planned}: a step sees {share} at most, but {SMALLEST_BATCH} patches."
