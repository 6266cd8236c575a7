"""What ``medseg run`` decides and does between the steps: which folds, how long each, and masks to report on."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from medseg.compute.devices import choose_device, choose_precision
from medseg.core.dataset import Case, Dataset, MaskSource
from medseg.core.errors import DatasetError, PlanError
from medseg.core.manifest import CaseOutcome, label_entries, name_time, write_run
from medseg.core.results import Measurement, Score
from medseg.core.workspace import Workspace, read_plan
from medseg.evaluation.folders import describe_pairs, evaluate_pairs, write_score_tables
from medseg.inference import Predictor, open_model
from medseg.inference.folders import predict_cases
from medseg.io import find_masks, read_segmentation, write_segmentation
from medseg.measurement.folders import describe_masks, measure_masks, write_measurement_tables
from medseg.planning import read_folds
from medseg.postprocessing import apply_rules
from medseg.preprocessing import open_prepared, read_index
from medseg.training.budget import predict_seconds, share_budget, time_window
from medseg.training.runs import refuse_second_stage, run_fold
from medseg.training.splits import Fold
from medseg.training.validation import mask_ending

logger = logging.getLogger(__name__)

Job = tuple[str, Fold]


def check_folds(folds: str | None) -> None:
    """Refuse words for ``--folds`` that mean nothing, whatever the data set.

    Args:
        folds: the user's; None where they gave none.
    Raises:
        PlanError: it is neither numbers nor ``each`` nor ``all``.
    """
    if folds is None or folds in ("each", "all"):
        return
    if not all(part.strip().isdigit() for part in folds.split(",")):
        raise PlanError(f"folds {folds!r}", code="unknown_fold", remedy="Give 0 or 0,1 or each or all")


def choose_jobs(space: Workspace, configurations: Sequence[str] | None, folds: str | None, *, timed: bool) -> list[Job]:
    """Which networks ``medseg run`` trains.

    Args:
        space: with a plan and folds.
        configurations: the user's; with a budget the 3D one where there is one, else all, where None.
        folds: ``0``, ``0,1``, ``each`` or ``all``; ``0`` with a budget, ``each`` without, where None.
        timed: whether there is a budget.
    Returns:
        configuration and fold of each network, in the order of training.
    Raises:
        PlanError: a fold or configuration that is not there.
    """
    plan, count = read_plan(space), len(read_folds(space))
    every = [name for name, found in plan.configurations.items() if found.previous is None]
    names = list(configurations or ([name for name in every if name.startswith("3d")][:1] if timed else []) or every)
    for name in names:
        refuse_second_stage(plan.configuration(name))
    left = [name for name in plan.configurations if name not in every]
    if left:
        logger.info("%s: not trained, as it reads the masks of a stage before it", ", ".join(left))
    wanted = folds or ("0" if timed else "each")
    if wanted == "all" or count == 0:
        numbers: list[Fold] = ["all"]
    elif wanted == "each":
        numbers = list(range(count))
    else:
        parts = wanted.split(",")
        if not all(part.strip().isdigit() and int(part) < count for part in parts):
            raise PlanError(
                f"folds {wanted!r}", code="unknown_fold", remedy=f"Give some of 0 to {count - 1}, each or all"
            )
        numbers = [int(part) for part in parts]
    return [(name, number) for name in names for number in numbers]


def train_jobs(
    space: Workspace,
    dataset: Dataset,
    jobs: Sequence[Job],
    *,
    budget_s: float | None = None,
    epochs: int | None = None,
    device: str = "auto",
    settings: Mapping[str, str] | None = None,
) -> list[CaseOutcome]:
    """Train and validate one network after the other.

    Args:
        space: with plan, folds and prepared cases.
        dataset: of the workspace.
        jobs: configuration and fold of each, in order.
        budget_s: wall-clock for them and for prediction and report after them; None for ``epochs``.
        epochs: how many each; the plan's where both are None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        settings: other values for keys of the configurations.
    Returns:
        an outcome per network and validation case.
    Raises:
        PlanError: the budget is too short, or a run stands that was made with other settings.
    """
    began, outcomes = time.monotonic(), []
    for number, (name, fold) in enumerate(jobs):
        seconds = None
        if budget_s is not None:
            seconds = share_time(space, dataset, jobs[number:], budget_s - (time.monotonic() - began), device)
            logger.info("%s fold %s: %.0f s of training", name, fold, seconds)
        outcomes += run_fold(
            space, dataset, name, fold, seconds=seconds, epochs=epochs, device=device, settings=settings
        )[0]
    return outcomes


def share_time(space: Workspace, dataset: Dataset, jobs: Sequence[Job], left_s: float, device: str) -> float:
    """Seconds of training for the first of the networks that are still to be trained.

    Args:
        space: with plan, folds and prepared cases.
        dataset: its test cases are predicted at the end.
        jobs: the networks to train, this one first.
        left_s: what is left of the budget.
        device: where it will run.
    Returns:
        an equal share of what validation, prediction and report leave.
    Raises:
        PlanError: nothing is left to train in.
    """
    plan, folds = read_plan(space), read_folds(space)
    later = 0.0
    for name in dict.fromkeys(name for name, _ in jobs):
        configuration = plan.configuration(name)
        each = time_window(plan, configuration, device)
        known = set(read_index(space.prepared(name)))
        held_out = {
            case
            for other, fold in jobs
            if other == name and isinstance(fold, int)
            for case in folds[fold]["validation"]
        }
        shapes = [open_prepared(space.prepared(name), case).shape for case in sorted(held_out & known)]
        later += predict_seconds(configuration, shapes, each)
        tests = [configuration.median_shape] * len(dataset.test_cases)
        later += predict_seconds(configuration, tests, each, networks=len(jobs))
    return share_budget(left_s, later, len(jobs))


def predict_own(space: Workspace, dataset: Dataset, *, device: str) -> list[CaseOutcome]:
    """Masks to report on in ``W/predictions/``: of the test cases, else of the cases that no network had seen.

    Args:
        space: with a model.
        dataset: of the workspace.
        device: where to predict.
    Returns:
        an outcome per case.
    Raises:
        DatasetError: there are neither test cases nor validation cases, or no test case can be read.
    """
    if dataset.test_cases:
        # In the precision of training, as the folds were validated: what is reported is what was chosen by.
        chosen = choose_device(device)
        dtype = choose_precision("auto", chosen)
        predictor = Predictor.load(space.model, device=device, precision="exact" if dtype == torch.float32 else "bf16")
        found = Dataset(dataset.root, dataset.name, dataset.layout, dataset.test_cases, spacing_mm=dataset.spacing_mm)
        outcomes = predict_cases(predictor, found, space.predictions)
        if not any(outcome.status in ("done", "skipped") for outcome in outcomes):
            raise DatasetError(
                f"no test case could be segmented; the first: {outcomes[0].line()}", code="no_cases",
                remedy=f"The model is ready in {space.model}; correct the scans and use medseg predict",
            )  # fmt: skip
        return outcomes
    return _collect_validation(space, dataset)


def fold_of_cases(space: Workspace) -> dict[str, int]:
    """For each case that a fold of the model validated, that fold; empty for a model of all cases."""
    model = open_model(space.model)
    folds = read_folds(space)
    numbers = [fold for fold in model.record.members[0].folds if isinstance(fold, int)]
    return {case: number for number in numbers for case in folds[number]["validation"]}


def pair_references(space: Workspace, dataset: Dataset) -> dict[str, tuple[MaskSource, MaskSource]]:
    """Each predicted case that has a reference: case to (prediction, reference)."""
    cases = dataset.test_cases or dataset.cases
    pairs = {}
    for case in cases:
        path = _mask_path(space, case)
        if case.mask is not None and path.is_file():
            pairs[case.name] = (MaskSource(path), case.mask)
    return pairs


def tabulate_own(space: Workspace, dataset: Dataset) -> tuple[list[CaseOutcome], list[Score], list[Measurement]]:
    """Score and measure the masks in ``W/predictions/`` and write the workspace's tables.

    Args:
        space: with predictions.
        dataset: of the workspace; a case without a reference is measured alone.
    Returns:
        the outcomes of both, the scores and the measurements.
    """
    cases = {case.name: case for case in (*dataset.cases, *dataset.test_cases)}
    patients = {name: (case.patient, case.day) for name, case in cases.items()}
    labels = read_plan(space).labels
    folds = {} if dataset.test_cases else fold_of_cases(space)
    model = open_model(space.model).digest
    pairs, masks = pair_references(space, dataset), find_masks(space.predictions)
    scored, scores = evaluate_pairs(pairs, labels, patients, folds=folds)
    write_score_tables(space.root, scores, describe_pairs(pairs, scored, model))
    measured, rows, diameters = measure_masks(masks, labels, patients, cases, dataset.channels)
    write_measurement_tables(space.root, rows, diameters, describe_masks(masks, measured, model))
    return scored + measured, scores, rows


def _mask_path(space: Workspace, case: Case) -> Path:
    return space.predictions / f"{case.name}{mask_ending(case)}"


def _collect_validation(space: Workspace, dataset: Dataset) -> list[CaseOutcome]:
    model = open_model(space.model)
    name = model.record.members[0].configuration
    outcomes, started = [], name_time()
    shutil.rmtree(space.predictions, ignore_errors=True)
    for case in dataset.cases:
        fold = fold_of_cases(space).get(case.name)
        source = space.run(name, fold if fold is not None else "all") / "validation" / _mask_path(space, case).name
        if source.is_file():
            mask = read_segmentation(source, labels=model.plan.labels, case=case.name, spacing_mm=dataset.spacing_mm)
            mask = apply_rules(mask, model.plan.labels, model.record.postprocessing)
            write_segmentation(_mask_path(space, case), mask)
            outcomes.append(CaseOutcome(case.name, "done"))
    if not outcomes:
        raise DatasetError(
            "there is no case to report on: every case was trained on and there are no test cases", code="no_cases",
            remedy="Use --folds 0 or each, or add imagesTs",
        )  # fmt: skip
    write_run(
        space.predictions, "run", outcomes, started=started, model=model.digest, **label_entries(model.plan.labels)
    )
    return outcomes


def note_run(
    space: Workspace, dataset: Dataset, outcomes: Sequence[CaseOutcome], notes: Sequence[str], started: str
) -> None:
    """Write the workspace's ``run.json``.

    Args:
        space: with a model.
        dataset: of the workspace.
        outcomes: of all steps, one per case and fault.
        notes: what was chosen and why.
        started: when, from ``name_time``.
    """
    details = {"notes": [*dataset.notes, *notes], "model": open_model(space.model).digest}
    write_run(space.root, "run", outcomes, started=started, **details, **label_entries(dataset.labels))
