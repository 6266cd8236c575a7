"""Folds and models in a workspace: train, validate on whole scans, choose, and put the model together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.compute import map_cases
from medseg.core.dataset import Case, Dataset
from medseg.core.errors import MedsegError, ModelError, PlanError
from medseg.core.fingerprint import Fingerprint
from medseg.core.manifest import CaseOutcome, label_entries, name_time, write_run
from medseg.core.model import Familiar, Member, ModelRecord, Rule
from medseg.core.plan import Configuration, Plan
from medseg.core.records import read_json
from medseg.core.results import Score, read_rows, write_rows
from medseg.core.volume import Segmentation
from medseg.core.workspace import Workspace, read_plan
from medseg.inference import finish_model, write_weights
from medseg.inference.familiarity import describe_familiar
from medseg.io import read_segmentation
from medseg.io.files import PICTURE_ENDINGS, split_ending
from medseg.postprocessing import choose_rules, tabulate_case
from medseg.preprocessing import PreparedCase, open_prepared, read_index
from medseg.training.checkpoint import load_checkpoint
from medseg.training.choosing import Choice, choose_candidate, rate_candidate
from medseg.training.folds import train_fold
from medseg.training.settings import change_settings
from medseg.training.validation import make_validator, validate_case

logger = logging.getLogger(__name__)

Fold = int | str


def run_fold(
    space: Workspace,
    dataset: Dataset,
    name: str,
    fold: Fold,
    *,
    seconds: float | None = None,
    epochs: int | None = None,
    device: str = "auto",
    restart: bool = False,
    settings: Mapping[str, str] | None = None,
    **objects: Any,
) -> tuple[list[CaseOutcome], list[Score]]:
    """Train a fold of a workspace and validate it on whole scans.

    Args:
        space: with plan, folds and prepared cases.
        dataset: where the references are.
        name: the configuration.
        fold: its number, or ``all``.
        seconds, epochs, device, restart: as for ``train_fold``.
        settings: other values for keys of the configuration.
        objects: ``loss``, ``network``, ``augmentations``, ``callbacks`` of ``train_fold``.
    Returns:
        an outcome per validation case and their scores, which also stand in ``validation/scores.csv``.
    Raises:
        PlanError: an unknown configuration, fold or setting; no training case; an incompatible run.
    """
    if seconds is not None and epochs is not None:
        raise PlanError("a budget and a number of epochs", code="bad_setting", remedy="Give --budget or --epochs")
    started, plan = name_time(), read_plan(space)
    refuse_second_stage(plan.configuration(name))
    configuration = change_settings(plan.configuration(name), settings or {})
    training, validation = split_cases(space, name, fold)
    folder = space.run(name, fold)
    trained = train_fold(
        plan, configuration, training, validation, folder, title=f"{name} fold {fold}", seconds=seconds, epochs=epochs,
        device=device, restart=restart, **objects,
    )  # fmt: skip
    # The configuration as trained, so that the model predicts with the network that was trained.
    configuration.write(folder / "configuration.json")
    validator = make_validator(
        plan, configuration, trained.weights, fold=fold if isinstance(fold, int) else None, device=device,
        network=objects.get("network"),
    )  # fmt: skip
    cases = {case.name: case for case in dataset.cases}

    def validate(prepared: PreparedCase) -> list[Score]:
        case = cases[prepared.name]
        target = folder / "validation" / f"{case.name}{mask_ending(case)}"
        return validate_case(validator, case, prepared, lambda c: read_reference(c, plan, dataset), target)

    results, failures = map_cases(validate, validation, lambda case: case.name, threads=1, title=f"{name} validate")
    scores = [score for rows in results for score in rows]
    write_rows(folder / "validation" / "scores.csv", scores, Score)
    done = sorted({score.case for score in scores})
    outcomes = [CaseOutcome(case, "done") for case in done] + failures
    write_run(folder, "train", outcomes, started=started, settings=dict(settings or {}), **label_entries(plan.labels))
    return outcomes, scores


def refuse_second_stage(configuration: Configuration) -> None:
    """Refuse to train what reads the masks of a stage before it, which training cannot give it yet.

    Args:
        configuration: of a plan.
    Raises:
        PlanError: it is the second stage of a cascade.
    """
    if configuration.previous is not None:
        raise PlanError(
            f"{configuration.name} is the second stage of a cascade, which cannot be trained yet", code="cascade",
            remedy=f"Train {configuration.previous} or 3d_fullres; nnU-Net's own cascades can be imported",
        )  # fmt: skip


def split_cases(space: Workspace, name: str, fold: Fold) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """The prepared training and validation cases of a fold.

    Args:
        space: with ``folds.json`` and prepared cases.
        name: the configuration.
        fold: its number, or ``all`` for every case and no validation.
    Returns:
        training and validation; cases that were refused while preparing are in neither.
    Raises:
        PlanError: nothing is prepared yet, or there is no such fold.
    """
    folder = space.prepared(name)
    if not (folder / "index.json").is_file():
        remedy = f"Run medseg preprocess --workspace {space.root} first"
        raise PlanError(f"no case is prepared for {name} yet", code="not_prepared", file=folder, remedy=remedy)
    known = set(read_index(folder))
    if fold == "all":
        return [open_prepared(folder, case) for case in sorted(known)], []
    folds = read_json(space.folds)
    if not isinstance(fold, int) or not 0 <= fold < len(folds):
        listed = ", ".join(map(str, range(len(folds)))) or "none"
        raise PlanError(f"there is no fold {fold!r}", code="unknown_fold", remedy=f"There are: {listed}, all")
    split = folds[fold]
    val = split.get("validation", split.get("val", []))  # nnU-Net's splits_final.json says val
    training = [open_prepared(folder, case) for case in split["train"] if case in known]
    return training, [open_prepared(folder, case) for case in val if case in known]


def read_reference(case: Case, plan: Plan, dataset: Dataset) -> Segmentation:
    """A case's reference on the image's own grid; raises DatasetError where it has none."""
    if case.mask is None:
        raise MedsegError("there is no reference", code="missing_mask", case=case.name)
    return read_segmentation(case.mask, labels=plan.labels, case=case.name, spacing_mm=dataset.spacing_mm)


def mask_ending(case: Case) -> str:
    """``.png`` for pictures, ``.nii.gz`` for all else."""
    return ".png" if split_ending(case.images[0].path)[1] in PICTURE_ENDINGS else ".nii.gz"


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
    trained = {
        name: finished_folds(space, name)
        for name in configurations or plan.configurations
        if name in plan.configurations
    }
    scores = {
        name: {fold: _read_scores(space, name, fold) for fold in folds} for name, folds in trained.items() if folds
    }
    candidates = [rate_candidate(name, by_fold) for name, by_fold in scores.items()]
    best, reason = choose_candidate(candidates)
    rules, words = _choose_postprocessing(space, dataset, plan, best.configuration, best.folds)
    for fold in best.folds:
        _copy_weights(space, best.configuration, fold)
    used = Configuration.read(space.run(best.configuration, best.folds[0]) / "configuration.json")
    final = plan.model_copy(update={"configurations": {**plan.configurations, used.name: used}})
    record = ModelRecord(
        labels=plan.labels,
        channels=plan.channels,
        members=(Member(configuration=best.configuration, folds=best.folds),),
        mirror_axes=used.training.mirror_axes,
        postprocessing=rules,
        provenance=_describe_origin(dataset, best.cases),
        card={"validation_dice": "unknown" if best.mean_dice is None else f"{best.mean_dice:.4f}", "choice": reason},
        familiar=_describe_training(space, plan, used),
    )
    finish_model(space.model, final, record)
    choice = Choice(chosen=best, candidates=tuple(candidates), reason=reason, postprocessing=words)
    choice.write(space.choice)
    return choice


def finished_folds(space: Workspace, name: str) -> list[Fold]:
    """The folds of a configuration whose training and validation are complete."""
    folders = sorted((space.root / "runs" / name).glob("fold_*"))
    done = [folder for folder in folders if (folder / "validation" / "scores.csv").is_file()]
    numbers = [folder.name.removeprefix("fold_") for folder in done]
    return [int(number) if number.isdigit() else number for number in numbers]


def _read_scores(space: Workspace, name: str, fold: Fold) -> list[Score]:
    return read_rows(space.run(name, fold) / "validation" / "scores.csv", Score)


def _copy_weights(space: Workspace, name: str, fold: Fold) -> Path:
    checkpoint = load_checkpoint(space.run(name, fold) / "checkpoints")
    if checkpoint is None:
        raise ModelError("its checkpoint is missing or damaged", file=space.run(name, fold), remedy="Train it again")
    weights = {k.removeprefix("average."): v for k, v in checkpoint.tensors.items() if k.startswith("average.")}
    return write_weights(space.model, name, fold, weights)


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
