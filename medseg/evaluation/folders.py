"""Scoring a folder of masks against a folder of references."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.compute import map_cases
from medseg.core.dataset import MaskSource
from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, hash_mask, label_entries, name_time, read_run, write_table_run
from medseg.core.records import write_json
from medseg.core.results import Score, rows_as_json, write_rows
from medseg.evaluation.cases import evaluate_case
from medseg.evaluation.definitions import require_definition, settle_tolerances
from medseg.evaluation.summary import summarise_scores
from medseg.io import find_masks, find_patients, read_segmentation, settle_labels

logger = logging.getLogger(__name__)


def evaluate_folders(
    predictions: str | Path,
    references: str | Path,
    output: str | Path,
    *,
    labels: LabelScheme | None = None,
    tolerance_mm: float | Mapping[str, float] | None = None,
    definition: str = "surfel",
) -> tuple[list[CaseOutcome], list[Score]]:
    """Score every case that has a prediction and a reference, and write the tables.

    Args:
        predictions, references: folders of masks with the same case names.
        output: the folder for ``scores.csv``, ``scores.json`` and ``summary.json``.
        labels: the label scheme; what stands beside the predictions, then the references, where None; else ``label_N``.
        tolerance_mm: how far a surface may lie off, for NSD: one number, or numbers by label; the data set's, else
            1 mm, where None.
        definition: of surfaces and percentiles, ``surfel``, ``voxel`` or ``pooled``.
    Returns:
        an outcome per case, a prediction without a reference and the other way round among them; the scores.
    Raises:
        DatasetError: there is no pair.
    """
    started = name_time()
    predicted, referred = find_masks(predictions), find_masks(references)
    patients = find_patients(references) | find_patients(predictions)
    common = sorted(predicted.keys() & referred.keys())
    if not common:
        raise DatasetError(
            f"no case of {predictions} has a reference in {references}", code="no_pairs",
            remedy="Give both files of a case the same name",
        )  # fmt: skip
    sources = [source for case in common for source in (predicted[case], referred[case])]
    scheme = settle_labels(labels, (predictions, references), sources)
    pairs = {case: (predicted[case], referred[case]) for case in common}
    scoring: dict[str, Any] = {"tolerance_mm": settle_tolerances(scheme, tolerance_mm), "definition": definition}
    require_definition(definition)
    outcomes, scores = evaluate_pairs(pairs, scheme, patients, **scoring)
    outcomes += _name_unpaired(predicted, referred)
    model = read_run(predictions).get("model")
    write_score_tables(output, scores, describe_pairs(pairs, outcomes, model, **scoring))
    write_table_run(output, "evaluate", outcomes, started=started, model=model, **label_entries(scheme))
    return outcomes, scores


def describe_pairs(
    pairs: Mapping[str, tuple[MaskSource, MaskSource]],
    outcomes: Sequence[CaseOutcome],
    model: str | None,
    **settings: Any,
) -> dict[str, Any]:
    """What scores come from, for their JSON twin.

    Args:
        pairs: case to (prediction, reference).
        outcomes: of scoring them.
        model: the hash of the model that predicted, where known.
        settings: how they were scored: ``tolerance_mm`` by label, ``definition``.
    Returns:
        ``model``, ``settings``, and ``inputs``: by scored case the hash of each file; no path and no time.
    """
    done = {outcome.case for outcome in outcomes if outcome.status == "done"}
    inputs = {
        case: {"prediction": hash_mask(prediction), "reference": hash_mask(reference)}
        for case, (prediction, reference) in pairs.items()
        if case in done
    }
    return {"model": model, "settings": settings, "inputs": inputs}


def evaluate_pairs(
    pairs: Mapping[str, tuple[MaskSource, MaskSource]],
    labels: LabelScheme,
    patients: Mapping[str, tuple[str, int | None]],
    *,
    folds: Mapping[str, int] | None = None,
    tolerance_mm: float | Mapping[str, float] | None = None,
    definition: str = "surfel",
) -> tuple[list[CaseOutcome], list[Score]]:
    """Score masks against references, in threads.

    Args:
        pairs: case to (prediction, reference).
        labels: the label scheme of both.
        patients: case to (patient, day); a case that is missing is its own patient.
        folds: case to the fold whose network predicted it, where one did.
        tolerance_mm: how far a surface may lie off, for NSD: one number, or numbers by label; the data set's, else
            1 mm, where None.
        definition: of surfaces and percentiles, ``surfel``, ``voxel`` or ``pooled``.
    Returns:
        an outcome per case and the scores.
    """

    def score(case: str) -> list[Score]:
        prediction_source, reference_source = pairs[case]
        reference = read_segmentation(reference_source, labels=labels, case=case)
        prediction = read_segmentation(
            prediction_source, labels=labels, like=reference.geometry, grid_of="reference", case=case
        )
        patient, day = patients.get(case, (case, None))
        return evaluate_case(
            prediction, reference, labels, case=case, patient=patient, day=day, fold=(folds or {}).get(case),
            tolerance_mm=tolerance_mm, definition=definition,
        )  # fmt: skip

    results, failures = map_cases(score, list(pairs), str, title="evaluate")
    scores = [row for rows in results for row in rows]
    done = [
        CaseOutcome(case, "done", inputs=tuple(str(source.path) for source in pairs[case]))
        for case in dict.fromkeys(row.case for row in scores)
    ]
    return done + failures, scores


def write_score_tables(output: str | Path, scores: list[Score], provenance: Mapping[str, Any]) -> None:
    """Write ``scores.csv``, ``scores.json`` (with ``provenance``) and ``summary.json`` into a folder."""
    from medseg import __version__

    folder = Path(output)
    write_rows(folder / "scores.csv", scores, Score)
    write_json(folder / "scores.json", {"version": __version__, **provenance, "scores": rows_as_json(scores)})
    write_json(folder / "summary.json", {"version": __version__, **summarise_scores(scores)})


def _name_unpaired(predicted: dict[str, MaskSource], referred: dict[str, MaskSource]) -> list[CaseOutcome]:
    outcomes = []
    for case in sorted(predicted.keys() ^ referred.keys()):
        source = predicted.get(case) or referred[case]
        missing = "reference" if case in predicted else "prediction"
        outcomes.append(
            CaseOutcome(case, "refused", f"no_{missing}", (str(source.path),), f"it has no {missing}", "Add the file")
        )
        logger.error("%s", outcomes[-1].line())
    return outcomes
