"""How far a model's volumes lie from true ones, learnt from the validation cases of its folds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medseg.compute import map_cases
from medseg.core.dataset import Case, Dataset
from medseg.core.labels import LabelScheme
from medseg.core.manifest import hash_file
from medseg.core.model import Member, Rule, VolumeErrors, VolumeStratum
from medseg.core.plan import Plan
from medseg.core.volume import Segmentation
from medseg.core.workspace import Workspace
from medseg.inference.model_folder import weights_path
from medseg.io import read_segmentation
from medseg.io.files import split_ending
from medseg.measurement.conformal import LEVEL, VolumePair, learn_errors
from medseg.planning import read_folds
from medseg.postprocessing import apply_rules
from medseg.shapes.boxes import bound_mask
from medseg.training.splits import Fold
from medseg.training.validation import read_reference

logger = logging.getLogger(__name__)

NO_FOLD = "no case was predicted by a network that had not seen it: train folds (--folds each) in place of all cases"


@dataclass(frozen=True)
class OutOfFold:
    """Volumes of cases that the networks predicting them had not seen.

    Args:
        pairs: by label and fold, a pair per case, in the order of the cases' names.
        left_out: cases whose volumes say nothing.
    """

    pairs: dict[str, dict[Fold, list[VolumePair]]]
    left_out: int


def learn_volume_errors(
    space: Workspace,
    dataset: Dataset,
    plan: Plan,
    member: Member,
    rules: Sequence[Rule],
    *,
    folder: Path | None = None,
) -> VolumeErrors:
    """The errors of a model's volumes.

    Args:
        space: with the validation masks of the member's folds.
        dataset: where the references are.
        plan: with the labels.
        member: the model's only one.
        rules: its postprocessing, which is applied to the masks first.
        folder: where the model's weights are; ``W/model/`` where None.
    Returns:
        for each label its bounds, or the reason why they are not known. Configuration and rules were chosen by the same
        cases, and weights that a training began with may have seen them: both make errors look smaller than they are.
    """
    folds = member.default_folds
    found = collect_volumes(space, dataset, plan, member.configuration, folds, rules)
    networks = [(member.configuration, fold) for fold in folds]
    networks += [(member.previous, fold) for fold in member.previous_folds if member.previous is not None]
    folder = folder or space.model
    files = [weights_path(folder, name, fold) for name, fold in networks]
    labels = []
    for name, values in plan.labels.labels.items():
        pairs = [pair for own in found.pairs[name].values() for pair in own]
        labels.append(learn_errors(name, values, pairs, why_none=NO_FOLD))
    return VolumeErrors.make(
        level=LEVEL,
        labels=tuple(labels),
        configuration=member.configuration,
        folds=folds,
        weights={file.relative_to(folder).as_posix(): hash_file(file) for file in files},
        postprocessing=tuple(rules),
        left_out=found.left_out,
    )


def tell_errors(errors: VolumeErrors) -> dict[str, str]:
    """The errors of each label's volume in a sentence; why they are not known where they are not."""
    told = {}
    for own in errors.labels:
        parts = [
            f"{stratum.low:.2f} to {stratum.high:.2f} times the predicted volume{_name_range(stratum)} "
            f"({stratum.patients} patients)"
            for stratum in own.strata
        ]
        known = f"in {errors.level:.0%} of patients the true volume is {', '.join(parts)}"
        known += f"; cases with it that were missed altogether: {own.missed}" if own.missed else ""
        told[own.label] = f"{own.label}: {known if parts else f'no error bars of volumes: {own.reason}'}"
    return told


def _name_range(stratum: VolumeStratum) -> str:
    low = f" from {stratum.from_ml:g}" if stratum.from_ml is not None else ""
    high = f" below {stratum.to_ml:g}" if stratum.to_ml is not None else ""
    return f" where that is{low}{' and' if low and high else ''}{high} ml" if low or high else ""


def collect_volumes(
    space: Workspace,
    dataset: Dataset,
    plan: Plan,
    configuration: str,
    folds: Sequence[Fold],
    rules: Sequence[Rule] = (),
) -> OutOfFold:
    """The predicted and the true volumes of the validation cases of some folds.

    Args:
        space: with their validation masks.
        dataset: where the references are.
        plan: with the labels.
        configuration: whose folds.
        folds: which; ``all`` has no validation cases.
        rules: postprocessing that is applied to the masks first.
    Returns:
        the volumes by counting voxels. Left out are cases whose reference leaves voxels unlabelled, since their true
        volume is not known, and those whose patient was among the fold's training cases. A mask that cannot be read is
        named in one line and left out too.
    """
    cases, labels = {case.name: case for case in dataset.cases}, plan.labels
    trained = _list_trained_patients(space, cases, folds)
    items = [(fold, path) for fold in folds for path in _list_masks(space, configuration, fold)]

    def measure(item: tuple[Fold, Path]) -> tuple[Fold, dict[str, VolumePair]] | None:
        fold, path = item
        case = cases[split_ending(path)[0]]
        if case.patient in trained[fold]:
            return None
        reference = read_reference(case, plan, dataset)
        if labels.ignore is not None and (reference.array == labels.ignore).any():
            return None
        mask = read_segmentation(path, labels=labels, case=case.name, spacing_mm=dataset.spacing_mm)
        mask = apply_rules(mask, labels, rules)
        predicted, true = measure_volumes(mask, labels), measure_volumes(reference, labels)
        return fold, {name: VolumePair(case.patient, predicted[name], true[name]) for name in labels.names}

    known = [item for item in items if split_ending(item[1])[0] in cases]
    results, _ = map_cases(measure, known, lambda item: split_ending(item[1])[0])
    found = [result for result in results if result is not None]
    pairs = {name: {fold: [own[name] for at, own in found if at == fold] for fold in folds} for name in labels.names}
    return OutOfFold(pairs, len(items) - len(found))


def measure_volumes(segmentation: Segmentation, labels: LabelScheme) -> dict[str, float]:
    """The volume of each class and region by counting voxels, millilitres."""
    box = bound_mask(segmentation.array) or (slice(0, 0),) * 3
    counts = np.bincount(segmentation.array[box].ravel(), minlength=max(labels.values) + 1)
    voxel_ml = segmentation.geometry.voxel_volume_ml
    return {name: int(counts[list(values)].sum()) * voxel_ml for name, values in labels.labels.items()}


def _list_masks(space: Workspace, configuration: str, fold: Fold) -> list[Path]:
    folder = space.run(configuration, fold) / "validation"
    return [path for path in sorted(folder.iterdir()) if split_ending(path)[1]]


def _list_trained_patients(space: Workspace, cases: Mapping[str, Case], folds: Sequence[Fold]) -> dict[Fold, set[str]]:
    """By fold the patients of its training cases."""
    numbers = [fold for fold in folds if isinstance(fold, int)]
    divided = read_folds(space) if numbers else []
    trained: dict[Fold, set[str]] = {fold: set() for fold in folds}
    for fold in numbers:
        if fold < len(divided):
            trained[fold] = {cases[case].patient for case in divided[fold]["train"] if case in cases}
    return trained
