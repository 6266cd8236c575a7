"""The trainer's batches for other code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from medseg.compute import choose_device
from medseg.core.dataset import read_dataset
from medseg.core.errors import PlanError
from medseg.core.workspace import Workspace, read_plan
from medseg.preprocessing.previous import PreviousMask
from medseg.training.cascade import add_previous, gather_previous
from medseg.training.job import Job
from medseg.training.learner import make_recipe, make_scene
from medseg.training.patches.inputs import make_inputs
from medseg.training.patches.loader import iterate_batches
from medseg.training.patches.memory_cases import hold_in_memory
from medseg.training.settings import change_settings
from medseg.training.splits import split_cases


class TrainingBatch(NamedTuple):
    """What the trainer gives to the network.

    Args:
        images: normalised intensities, (batch, channel, ...), float32; 2 or 3 axes of the patch.
        labels: label values, (batch, ...), uint8 or int32.
        cases: the name of each sample's case.
    """

    images: Tensor
    labels: Tensor
    cases: list[str]


def batches(
    workspace: str | Path,
    configuration: str,
    fold: int | str,
    seed: int | None = None,
    *,
    device: str = "auto",
    settings: Mapping[str, str] | None = None,
) -> Iterator[TrainingBatch]:
    """The exact batches that training a fold gives to the network, after augmentation, from the first step on.

    Args:
        workspace: with a plan, folds and prepared cases.
        configuration: of the plan.
        fold: its number, or ``all``.
        seed: in place of the plan's.
        device: where they are augmented and given: ``auto``, ``cpu``, ``cuda``, ``cuda:1``. Another device gives the
            same patches and the same parameters of augmentation, and intensities that differ by rounding.
        settings: other values for keys of the plan, as ``medseg train --set``: ``{"sampling": "lesion"}``.
    Returns:
        batches without an end; a step of training takes as many as the plan's ``accumulation``. A damaged case is
        named in one line and replaced as the trainer replaces it.
    Raises:
        PlanError: an unknown configuration, fold or setting, nothing is prepared, or the fold has no training case.
        DatasetError: every case is damaged.
    """
    space = Workspace(Path(workspace))
    plan = read_plan(space)
    changed = dict(settings or {}) | ({} if seed is None else {"seed": str(seed)})
    chosen = change_settings(plan.configuration(configuration), changed)
    training = split_cases(space, configuration, fold).training
    masks: dict[str, PreviousMask] = {}
    if chosen.previous is not None:
        masks, _ = gather_previous(space, read_dataset(space.cases), plan, chosen, training)
        training = [case for case in training if case.name in masks]
    if not training:
        raise PlanError("the fold has no training case", remedy="Give at least two patients, or the fold all")
    sources = add_previous(hold_in_memory(training), masks)
    return _augment(Job(plan, chosen, sources, (), space.root, "", device=device))


def _augment(job: Job) -> Iterator[TrainingBatch]:
    device, scene = choose_device(job.device), make_scene(job)
    for batch in iterate_batches(job.training, make_recipe(job), 0, None, device=device):
        images, labels = make_inputs(batch, scene, job.augmentations, device, job.configuration.dimensions)
        yield TrainingBatch(images, labels, [job.training[case].name for case in batch.cases])
