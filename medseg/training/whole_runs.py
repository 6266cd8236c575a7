"""What ``medseg run`` does once its networks are trained: masks of the workspace's own cases, and a report on them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from medseg.compute.devices import choose_device, choose_precision
from medseg.core.dataset import Case, Dataset, MaskSource
from medseg.core.errors import DatasetError
from medseg.core.manifest import CaseOutcome, StepResult, hash_file, label_entries, name_time, unite_outcomes, write_run
from medseg.core.results import Measurement, Score
from medseg.core.workspace import Workspace, read_plan
from medseg.evaluation.definitions import DEFAULT_DEFINITION, settle_tolerances
from medseg.evaluation.folders import describe_pairs, evaluate_pairs, write_score_tables
from medseg.inference import Predictor, open_model
from medseg.inference.folders import predict_cases
from medseg.inference.volume_errors import describe_errors
from medseg.io import find_masks, read_segmentation, write_segmentation
from medseg.measurement.folders import describe_masks, measure_masks, write_measurement_tables
from medseg.planning import read_folds
from medseg.postprocessing import apply_rules
from medseg.reporting import format_score_table, format_volume_table
from medseg.reporting.folders import report_folder
from medseg.training.validation import mask_ending

logger = logging.getLogger(__name__)


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
    settings = {"tolerance_mm": settle_tolerances(labels), "definition": DEFAULT_DEFINITION}
    write_score_tables(space.root, scores, describe_pairs(pairs, scored, model, **settings))
    measured, rows, diameters = measure_masks(masks, labels, patients, cases, dataset.channels)
    provenance = describe_masks(masks, measured, model, scans=cases, rows=rows, labels=labels)
    write_measurement_tables(space.root, rows, diameters, provenance)
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
            target = _mask_path(space, case)
            write_segmentation(target, mask)
            outcomes.append(CaseOutcome(case.name, "done", outputs={target.name: hash_file(target)}))
    if not outcomes:
        raise DatasetError(
            "there is no case to report on: every case was trained on and there are no test cases", code="no_cases",
            remedy="Use --folds 0 or each, or add imagesTs",
        )  # fmt: skip
    errors = describe_errors(model.record.volume_errors, "")  # learnt from these very masks
    details = {"model": model.digest, "volume_errors": errors, **label_entries(model.plan.labels)}
    write_run(space.predictions, "run", outcomes, started=started, **details)
    return outcomes


def report_own(
    space: Workspace, dataset: Dataset, outcomes: Sequence[CaseOutcome], notes: Sequence[str], started: str
) -> StepResult:
    """Score, measure and report on the masks in ``W/predictions/``, and note the whole run in ``W/run.json``.

    Args:
        space: with a model and predictions.
        dataset: of the workspace.
        outcomes: of the steps before.
        notes: what was chosen and why.
        started: when, from ``name_time``.
    Returns:
        the outcomes of all steps; the table of scores and volumes, and the report's path.
    """
    more, scores, rows = tabulate_own(space, dataset)
    united = unite_outcomes([*outcomes, *more])
    details = {"notes": [*dataset.notes, *notes], "model": open_model(space.model).digest}
    write_run(space.root, "run", united, started=started, **details, **label_entries(dataset.labels))
    _, page = report_folder(space.root)
    text = f"{format_score_table(scores)}\n{format_volume_table(rows)}\nReport: {page}"
    return StepResult(united, text, {"report": str(page), "scores": len(scores), "measurements": len(rows)})
