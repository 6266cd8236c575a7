"""The model of a workspace: chosen among the trained configurations, and put together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.compute import map_cases
from medseg.core.atomic import atomic_folder
from medseg.core.channel_rules import keep_rules
from medseg.core.dataset import Dataset
from medseg.core.errors import MedsegError, ModelError
from medseg.core.fingerprint import Fingerprint
from medseg.core.label_codes import keep_codes
from medseg.core.model import Familiar, Member, ModelRecord, Rule
from medseg.core.plan import Configuration, Plan
from medseg.core.results import Score, read_rows
from medseg.core.workspace import Workspace, read_plan
from medseg.inference import finish_model, write_weights
from medseg.inference.familiarity import describe_familiar
from medseg.inference.self_test import add_self_test
from medseg.io import read_segmentation
from medseg.io.files import split_ending
from medseg.postprocessing import choose_rules, tabulate_case
from medseg.training.checkpoint import load_checkpoint
from medseg.training.choosing import Candidate, Choice, choose_candidate, rate_candidates
from medseg.training.fine_tuning.transfer import describe_start
from medseg.training.origin import read_plugins
from medseg.training.splits import Fold, finished_folds
from medseg.training.validation import read_reference
from medseg.training.volume_errors import learn_volume_errors, tell_errors

logger = logging.getLogger(__name__)


def build_model(space: Workspace, dataset: Dataset, configurations: Sequence[str] | None = None) -> Choice:
    """Choose among the trained configurations and write ``W/choice.json`` and ``W/model/``.

    Args:
        space: with trained folds.
        dataset: where the references are.
        configurations: among which; all that were trained where None.
    Returns:
        the choice.
    Raises:
        ModelError: nothing is trained yet.
    """
    plan = read_plan(space)
    names = [name for name in configurations or plan.configurations if name in plan.configurations]
    trained = {name: folds for name in names if (folds := finished_folds(space, name))}
    scores = {name: {fold: _read_scores(space, name, fold) for fold in folds} for name, folds in trained.items()}
    candidates = rate_candidates(scores)
    best, reason = choose_candidate(candidates)
    rules, words = _choose_postprocessing(space, dataset, plan, best.configuration, best.folds)
    member = _make_member(space, plan, best)
    networks = [(best.configuration, fold) for fold in best.folds]
    networks += [(member.previous, fold) for fold in member.previous_folds if member.previous is not None]
    # As they were trained, which may be with other settings than the plan's.
    used = {name: Configuration.read(space.run(name, fold) / "configuration.json") for name, fold in reversed(networks)}
    final = plan.model_copy(update={"configurations": {**plan.configurations, **used}})
    # A model that stands there already stays usable until this one is whole.
    with atomic_folder(space.model) as folder:
        for name, fold in networks:
            _copy_weights(space, name, fold, folder)
        errors = learn_volume_errors(space, dataset, plan, member, rules, folder=folder)
        record = ModelRecord(
            labels=plan.labels,
            channels=plan.channels,
            members=(member,),
            mirror_axes=used[best.configuration].training.prediction_axes,
            postprocessing=rules,
            provenance=_describe_origin(dataset, best.cases)
            | describe_start(space.run(best.configuration, best.folds[0])),
            plugins=read_plugins([space.run(name, fold) for name, fold in networks]),
            card={
                "validation_dice": "unknown" if best.mean_dice is None else f"{best.mean_dice:.4f}",
                "choice": reason,
            },
            familiar=_describe_training(space, plan, used[best.configuration]),
            volume_errors=errors,
            channel_rules=keep_rules(dataset.channel_rules, plan.channels),
            codes=keep_codes(dataset.codes, plan.labels.names),
        )
        finish_model(folder, final, record)
        add_self_test(folder)
    choice = Choice(
        chosen=best,
        candidates=tuple(candidates),
        reason=reason,
        postprocessing=words,
        volume_errors=tell_errors(errors),
    )
    choice.write(space.choice)
    return choice


def _make_member(space: Workspace, plan: Plan, chosen: Candidate) -> Member:
    """What is averaged; in a cascade the first stage's folds, which gave the masks that the second learned from."""
    first = plan.configuration(chosen.configuration).previous
    if first is None:
        return Member(configuration=chosen.configuration, folds=chosen.folds)
    numbered = tuple(fold for fold in finished_folds(space, first) if isinstance(fold, int))
    return Member(configuration=chosen.configuration, folds=chosen.folds, previous=first, previous_folds=numbered)


def _read_scores(space: Workspace, name: str, fold: Fold) -> list[Score]:
    return read_rows(space.run(name, fold) / "validation" / "scores.csv", Score)


def _copy_weights(space: Workspace, name: str, fold: Fold, folder: Path) -> Path:
    run = space.run(name, fold)
    checkpoint = load_checkpoint(run / "checkpoints")
    remedy = f"Run medseg train --configuration {name} --fold {fold} again; it goes on from the last whole checkpoint"
    if checkpoint is None:
        raise ModelError("its checkpoint is missing or damaged", file=run, remedy=remedy)
    progress = checkpoint.facts["progress"]
    if progress["step"] < (progress["total"] or 0):  # the scores beside it are those of other weights
        reason = f"its newest whole checkpoint is of step {progress['step']} of {progress['total']}"
        raise ModelError(reason, code="unfinished", file=run, remedy=remedy)
    weights = {k.removeprefix("average."): v for k, v in checkpoint.tensors.items() if k.startswith("average.")}
    return write_weights(folder, name, fold, weights)


def _choose_postprocessing(
    space: Workspace, dataset: Dataset, plan: Plan, name: str, folds: Sequence[Fold]
) -> tuple[tuple[Rule, ...], dict[str, str]]:
    by_name = {case.name: case for case in dataset.cases}
    files = [path for fold in folds for path in sorted((space.run(name, fold) / "validation").iterdir())]
    files = [path for path in files if split_ending(path)[1]]

    def tabulate(path: Path) -> Any:
        case = by_name[split_ending(path)[0]]
        prediction = read_segmentation(path, labels=plan.labels, case=case.name, spacing_mm=dataset.spacing_mm)
        return tabulate_case(prediction, read_reference(case, plan, dataset), plan.labels)

    tables, _ = map_cases(tabulate, files, lambda path: path.name)
    rules, evidence = choose_rules(tables)
    return rules, {entry.label: f"{entry.label}: {entry.reason}" for entry in evidence}


def _describe_training(space: Workspace, plan: Plan, configuration: Configuration) -> Familiar | None:
    """What the training scans looked like; None where the workspace has no fingerprint of these channels."""
    try:
        fingerprint = Fingerprint.read(space.fingerprint)
    except MedsegError as error:
        logger.warning("%s: scans unlike those of the training cannot be told: %s", space.fingerprint, error.reason)
        return None
    if fingerprint.channels != plan.channels:
        return None
    patch, flipped = configuration.patch_size, configuration.training.mirror_axes
    mirrored = [plan.axis_order[axis] for axis in flipped if patch[axis] > 1]
    return describe_familiar(fingerprint, orientation=plan.orientation, mirrored_axes=mirrored)


def _describe_origin(dataset: Dataset, validated: int) -> dict[str, str]:
    from medseg import __version__

    cases = f"{len(dataset.cases)} cases, {validated} of them validated"
    return {"medseg": __version__, "dataset": dataset.name, "cases": cases}
