"""Scoring a folder of masks against a folder of references."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.compute import map_cases
from medseg.core.dataset import MaskSource
from medseg.core.errors import DatasetError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import (
    CaseOutcome,
    hash_file,
    hash_mask,
    label_entries,
    name_time,
    outcome_of_error,
    read_run,
    write_table_run,
)
from medseg.core.records import write_json
from medseg.core.results import Score, rows_as_json, write_rows
from medseg.evaluation.cases import evaluate_case
from medseg.evaluation.definitions import require_definition, settle_tolerances
from medseg.evaluation.instances import ANY_OVERLAP, parse_matching
from medseg.evaluation.metrics import ALL_LABELS, choose_metrics
from medseg.evaluation.probabilities import PROBABILITY_METRICS, Evidence, evaluate_probabilities, write_evidence
from medseg.evaluation.requirements import parse_requirement, require_names
from medseg.evaluation.rules import RULES, settle_regions
from medseg.evaluation.summary import summarise_scores
from medseg.io import find_masks, find_patients, settle_labels
from medseg.io.dicom.reading import DicomReading
from medseg.io.files import list_images
from medseg.io.masks import read_mask
from medseg.io.probabilities import find_probabilities, read_probabilities
from medseg.io.results_input import describe_reading, find_stated_labels, list_patients, name_masks_as

logger = logging.getLogger(__name__)


def evaluate_folders(
    predictions: str | Path,
    references: str | Path,
    output: str | Path,
    *,
    labels: LabelScheme | None = None,
    tolerance_mm: float | Mapping[str, float] | None = None,
    definition: str = "surfel",
    matching: str = ANY_OVERLAP.name,
    rules: str | None = None,
    probabilities: str | Path | None = None,
    require: Sequence[str] = (),
    dicom: DicomReading | None = None,
) -> tuple[list[CaseOutcome], list[Score]]:
    """Score every case that has a prediction and a reference, and write the tables.

    Args:
        predictions, references: folders of masks with the same case names, or of DICOM SEG and RTSTRUCT, whose cases
            are called after the series that they were drawn on, as ``medseg predict`` calls them.
        output: the folder for ``scores.csv``, ``scores.json`` and ``summary.json``; with probabilities also
            ``reliability.csv`` and ``froc.csv``.
        labels: the label scheme; what stands beside the predictions, then the references, where None; else ``label_N``.
        tolerance_mm: how far a surface may lie off, for NSD: one number, or numbers by label; the data set's, else
            1 mm, where None.
        definition: of surfaces and percentiles, ``surfel``, ``voxel`` or ``pooled``.
        matching: by which rule lesions belong together (``instances.parse_matching``).
        rules: of a challenge, a name of ``rules.RULES``, in place of the usual metrics.
        probabilities: what ``predict --save-probabilities`` wrote, to be scored too.
        require: scores that have to be reached (``requirements.parse_requirement``): refused here where they ask for
            what is not scored; ``check_requirements`` looks at the scores.
        dicom: which structures are which label, and where scans are besides in these two folders.
    Returns:
        an outcome per case, a prediction without a reference and the other way round among them; the scores.
    Raises:
        DatasetError: there is no pair.
        PlanError: a definition, matching, set of rules or requirement that is not known.
    """
    required, match = [parse_requirement(text) for text in require], parse_matching(matching)
    chosen = None if rules is None else RULES.get(rules)
    started = name_time()
    problems: list[MedsegError] = []
    reading = dicom or DicomReading()
    stated = find_stated_labels(labels or reading.stated, (predictions, references))
    reading = reading.with_places(stated, predictions, references)
    predicted, referred = (find_masks(folder, problems, dicom=reading) for folder in (predictions, references))
    predicted, referred = name_masks_as(predicted, references), name_masks_as(referred, predictions)
    patients = find_patients(references) | find_patients(predictions) | list_patients(referred)
    common = sorted(predicted.keys() & referred.keys())
    if not common:
        raise _report_no_pairs(predictions, references, predicted, referred, problems)
    sources = [source for case in common for source in (predicted[case], referred[case])]
    scheme = settle_labels(stated, (), sources)
    pairs = {case: (predicted[case], referred[case]) for case in common}
    scored = scheme if chosen is None else settle_regions(scheme, chosen)
    scoring: dict[str, Any] = {
        "tolerance_mm": settle_tolerances(scored, tolerance_mm),
        "definition": require_definition(definition),
        "matching": match.name,
        "rules": rules,
    }
    metrics = [metric.name for metric in (choose_metrics(None) if chosen is None else chosen.metrics)]
    extra = [] if probabilities is None else [metric.name for metric in PROBABILITY_METRICS]
    require_names(required, dict.fromkeys([*scored.names, *scheme.names, ALL_LABELS]), [*metrics, *extra])
    folder = None if probabilities is None else find_probabilities(probabilities)
    outcomes, scores, evidence = _score_pairs(pairs, scheme, patients, {}, folder, scoring)
    outcomes += _name_unpaired(predicted, referred, problems)
    model = read_run(predictions).get("model")
    provenance = describe_pairs(pairs, outcomes, model, **scoring)
    _tell_copies(provenance["inputs"])
    if folder is not None:
        for case, hashes in provenance["inputs"].items():
            hashes["probabilities"] = {path.name: hash_file(path) for path in list_images(folder / case)}
    write_score_tables(output, scores, provenance, evidence)
    done = [source for one in outcomes if one.status == "done" for source in pairs[one.case]]
    details = label_entries(scheme) | describe_reading(reading, outcomes, done)
    write_table_run(output, "evaluate", outcomes, started=started, model=model, **details)
    return outcomes, scores


def _report_no_pairs(
    predictions: str | Path,
    references: str | Path,
    predicted: Mapping[str, MaskSource],
    referred: Mapping[str, MaskSource],
    problems: Sequence[MedsegError],
) -> DatasetError:
    """The error where nothing can be scored; what is wrong with single masks is logged before it."""
    for line in dict.fromkeys(outcome_of_error(problem).line() for problem in problems):
        logger.error("%s", line)
    first = [f", the first {min(found)}" if found else "" for found in (predicted, referred)]
    return DatasetError(
        f"no case of {predictions} ({len(predicted)} masks{first[0]}) has a reference in {references}"
        f" ({len(referred)} masks{first[1]})",
        code="no_pairs",
        remedy="Mend what the lines before name" if problems else "Give both files of a case the same name",
    )  # fmt: skip


def _tell_copies(inputs: Mapping[str, Mapping[str, Any]]) -> None:
    """Say where predictions are their references' own files: scores of 1 then say nothing."""
    copies = [case for case, hashes in inputs.items() if hashes["prediction"] == hashes["reference"]]
    if copies:
        logger.warning(
            "%d of %d predictions are, byte for byte, their references (the first: %s); are these the right folders?",
            len(copies), len(inputs), copies[0],
        )  # fmt: skip


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
        settings: how they were scored: ``tolerance_mm`` by label, ``definition``, ``matching``, ``rules``.
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
    **scoring: Any,
) -> tuple[list[CaseOutcome], list[Score]]:
    """Score masks against references, in threads.

    Args:
        pairs: case to (prediction, reference).
        labels: the label scheme of both.
        patients: case to (patient, day); a case that is missing is its own patient.
        folds: case to the fold whose network predicted it, where one did.
        scoring: ``tolerance_mm``, ``definition``, ``matching``, ``rules``, ``metrics`` of ``evaluate_case``.
    Returns:
        an outcome per case and the scores.
    """
    outcomes, scores, _ = _score_pairs(pairs, labels, patients, folds or {}, None, scoring)
    return outcomes, scores


def _score_pairs(
    pairs: Mapping[str, tuple[MaskSource, MaskSource]],
    labels: LabelScheme,
    patients: Mapping[str, tuple[str, int | None]],
    folds: Mapping[str, int],
    probabilities: Path | None,
    scoring: Mapping[str, Any],
) -> tuple[list[CaseOutcome], list[Score], list[dict[str, Evidence]]]:
    """As ``evaluate_pairs``, with what each case's probabilities show where there is a folder of them."""
    doubts: dict[str, tuple[str, ...]] = {}

    def score(case: str) -> tuple[list[Score], dict[str, Evidence]]:
        prediction_source, reference_source = pairs[case]
        reference, notes = read_mask(reference_source, labels=labels, case=case)
        prediction, own_notes = read_mask(
            prediction_source, labels=labels, like=reference.geometry, grid_of="reference", case=case
        )
        doubts[case] = tuple(dict.fromkeys((*notes, *own_notes)))
        for note in doubts[case]:
            logger.warning("%s: %s", case, note)
        patient, day = patients.get(case, (case, None))
        who: dict[str, Any] = {"case": case, "patient": patient, "day": day, "fold": folds.get(case)}
        rows = evaluate_case(prediction, reference, labels, **who, **scoring)
        if probabilities is None:
            return rows, {}
        read = read_probabilities(probabilities, case, labels, reference.geometry)
        more, evidence = evaluate_probabilities(read, prediction, reference, labels, **who)
        return rows + more, evidence

    results, failures = map_cases(score, list(pairs), str, title="evaluate")
    scores = [row for rows, _ in results for row in rows]
    done = [
        CaseOutcome(
            case,
            "done",
            inputs=tuple(str(source.path) for source in pairs[case]),
            reason="; ".join(doubts[case]),
        )
        for case in dict.fromkeys(row.case for row in scores)
    ]
    return done + failures, scores, [evidence for _, evidence in results if evidence]


def write_score_tables(
    output: str | Path,
    scores: list[Score],
    provenance: Mapping[str, Any],
    evidence: Sequence[Mapping[str, Evidence]] = (),
) -> None:
    """Write ``scores.csv``, ``scores.json`` and ``summary.json`` into a folder.

    Args:
        output: the folder.
        scores: of all cases.
        provenance: what they come from, for ``scores.json``.
        evidence: by case, what each label's probabilities show: ``probabilities`` in the summary, and the tables
            ``reliability.csv`` and ``froc.csv``.
    """
    from medseg import __version__

    folder = Path(output)
    summary = summarise_scores(scores)
    if evidence:
        summary["probabilities"] = write_evidence(folder, evidence)
    write_rows(folder / "scores.csv", scores, Score)
    write_json(folder / "scores.json", {"version": __version__, **provenance, "scores": rows_as_json(scores)})
    write_json(folder / "summary.json", {"version": __version__, **summary})


def _name_unpaired(
    predicted: dict[str, MaskSource], referred: dict[str, MaskSource], problems: Sequence[MedsegError]
) -> list[CaseOutcome]:
    outcomes = [outcome_of_error(problem) for problem in problems]
    for outcome in outcomes:
        logger.error("%s", outcome.line())
    twice = {problem.case for problem in problems}  # of which neither mask is taken
    for case in sorted((predicted.keys() ^ referred.keys()) - twice):
        source = predicted.get(case) or referred[case]
        missing = "reference" if case in predicted else "prediction"
        outcomes.append(
            CaseOutcome(case, "refused", f"no_{missing}", (str(source.path),), f"it has no {missing}", "Add the file")
        )
        logger.error("%s", outcomes[-1].line())
    return outcomes
