"""Whole validation scans of a fold: predicted, written and scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from medseg.compute.devices import choose_device, choose_precision
from medseg.core.dataset import Case, Dataset
from medseg.core.errors import MedsegError
from medseg.core.plan import Configuration, Plan
from medseg.core.results import Score
from medseg.core.volume import Segmentation
from medseg.evaluation import evaluate_case
from medseg.inference import as_forward, stream_logits
from medseg.inference.folders.limits import RunSettings, step_down
from medseg.inference.sliding_window import Forward
from medseg.inference.streaming import choose_together
from medseg.io import read_segmentation, write_segmentation
from medseg.io.files import PICTURE_ENDINGS, split_ending
from medseg.networks import BuildNetwork, build_network
from medseg.preprocessing import PreparedCase, restore_blocks
from medseg.preprocessing.previous import PreviousMask


@dataclass(frozen=True)
class Validator:
    """A trained network as it is used on whole scans.

    Args:
        network: on the device, in evaluation mode.
        forward: the network as a function of windows, on whatever device both are.
        fold: for the scores' table; None where all cases were trained on.
    """

    plan: Plan
    configuration: Configuration
    network: nn.Module
    forward: Forward
    device: torch.device
    fold: int | None


def make_validator(
    plan: Plan,
    configuration: Configuration,
    weights: Mapping[str, Tensor],
    *,
    fold: int | None,
    device: str = "auto",
    network: str | BuildNetwork | None = None,
) -> Validator:
    """A validator with a fold's weights, in the precision of its training.

    Args:
        plan, configuration: what was trained.
        weights: the network's state, as ``train_fold`` gives it.
        fold: for the scores' table; None where all cases were trained on.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        network: the name or function that training was given; the plan's where None.
    Returns:
        the network on its device, ready for ``validate_case``.
    Raises:
        ResourceError: the device is not there.
    """
    chosen = choose_device(device)
    module = build_network(configuration, plan.count_inputs(configuration), plan.labels.channel_count, network=network)
    module.load_state_dict(dict(weights))
    module.to(chosen)
    precision = choose_precision(configuration.training.precision, chosen)
    forward = as_forward(module, configuration.dimensions, precision)
    return Validator(plan, configuration, module, forward, chosen, fold)


def validate_case(
    validator: Validator,
    case: Case,
    prepared: PreparedCase,
    read_reference: Callable[[Case], Segmentation],
    target: Path,
    *,
    previous: PreviousMask | None = None,
) -> list[Score]:
    """Predict a validation case from its prepared arrays, write the mask and score it.

    Args:
        validator: the network.
        case: for names and the reference.
        prepared: the case as the network sees it.
        read_reference: gives the reference on the scan's own grid.
        target: where the mask goes.
        previous: for the second stage of a cascade, the first stage's mask.
    Returns:
        the default scores, with the fold's number.
    Raises:
        FormatError, GeometryError: the reference cannot be read or lies on another grid.
    """
    image, _ = prepared.read_all()
    if previous is not None:
        image = np.concatenate([image, previous.read_patch((0, 0, 0), prepared.shape)])
    labels = validator.plan.labels
    prediction = _segment(validator, torch.from_numpy(image), prepared, case.name)
    write_segmentation(target, prediction)
    return evaluate_case(
        prediction,
        read_reference(case),
        labels,
        case=case.name,
        patient=case.patient,
        day=case.day,
        fold=validator.fold,
    )


def _segment(validator: Validator, image: Tensor, prepared: PreparedCase, name: str) -> Segmentation:
    """The mask of a prepared scan; where memory runs out, with fewer windows at a time, at last on the CPU."""
    configuration, labels = validator.configuration, validator.plan.labels

    def run(settings: RunSettings) -> Segmentation:
        validator.network.to(settings.device)
        blocks = stream_logits(
            [validator.forward],
            image,
            configuration.patch_size,
            labels.channel_count,
            mirror_axes=configuration.training.prediction_axes,
            device=settings.device,
            together=settings.together,
            sum_device=settings.sum_device,
        )
        return restore_blocks(blocks, prepared.grid, labels, floor=configuration.logit_floor)

    together = choose_together(configuration.patch_size, validator.device)
    return step_down(run, RunSettings(validator.device, together, validator.device), name)[0]


def read_reference(case: Case, plan: Plan, dataset: Dataset) -> Segmentation:
    """A case's reference on the image's own grid; raises DatasetError where it has none."""
    if case.mask is None:
        raise MedsegError("there is no reference", code="missing_mask", case=case.name)
    return read_segmentation(case.mask, labels=plan.labels, case=case.name, spacing_mm=dataset.spacing_mm)


def mask_ending(case: Case) -> str:
    """``.png`` for pictures, ``.nii.gz`` for all else."""
    return ".png" if split_ending(case.images[0].path)[1] in PICTURE_ENDINGS else ".nii.gz"
