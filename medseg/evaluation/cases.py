"""Scoring one case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from medseg.core.errors import GeometryError, PlanError
from medseg.core.labels import LabelScheme
from medseg.core.results import Score, Status
from medseg.core.volume import Segmentation
from medseg.evaluation.definitions import require_definition, settle_tolerances
from medseg.evaluation.instances import ANY_OVERLAP, Matching, parse_matching
from medseg.evaluation.metrics import ALL_LABELS, Metric, choose_metrics
from medseg.evaluation.overlap import Counts
from medseg.evaluation.pairs import LabelPair, pair_labels
from medseg.evaluation.rules import RULES, Rules, settle_regions
from medseg.evaluation.strata import score_strata


def evaluate_case(
    prediction: Segmentation,
    reference: Segmentation,
    labels: LabelScheme,
    *,
    case: str,
    patient: str = "",
    day: int | None = None,
    fold: int | None = None,
    tolerance_mm: float | Mapping[str, float] | None = None,
    metrics: Sequence[str | Metric | Callable[[LabelPair], float | None]] | None = None,
    definition: str = "surfel",
    matching: str | Matching = ANY_OVERLAP,
    rules: str | Rules | None = None,
) -> list[Score]:
    """The scores of one predicted label map, for every class and region.

    Where both masks are empty, a value is unknown (status ``both_empty``). Where one is, the status names it; ratios
    then are 0, distances infinite, and what divides by nothing (precision without a prediction, sensitivity without a
    reference) unknown. Voxels with the reference's ignore label count in neither mask.

    Args:
        prediction: the label map to score.
        reference: the label map taken as true.
        labels: the names to score.
        case: the case's name.
        patient: whom it belongs to; the case's name where empty.
        day: days since the patient's first scan.
        fold: the fold whose model predicted it.
        tolerance_mm: how far a surface may lie off, for NSD: one number, or numbers by label; the data set's, else
            1 mm, where None.
        metrics: names, ``Metric`` objects, or functions from a ``LabelPair`` to a value; the default ones where None.
        definition: of surfaces and percentiles, ``surfel``, ``voxel`` or ``pooled`` (``definitions.Definition``).
        matching: by which rule lesions belong together, such as ``iou>=0.5 maximum conn=6`` (``parse_matching``).
        rules: of a challenge, a name of ``RULES``, in place of ``metrics``: its regions, metrics, tolerances and policy
            for empty masks.
    Returns:
        a row per name and metric, in that order; for lesion_dice a row per lesion of the reference; at the end, for
        metrics of all labels together (mean_iou), a row with the label ``all``; where single lesions are scored, a row
        per stratum of lesion volume (``lesion_recall[<1ml]``).
    Raises:
        GeometryError: the two label maps are not on the same grid.
        PlanError: a metric, definition, matching or set of rules that is not known, or metrics besides rules.
        DatasetError: a tolerance for a label that there is not.
    """
    chosen, labels, match = *_settle_rules(rules, metrics, labels), parse_matching(matching)
    _require_same_grid(prediction, reference, case)
    tolerances_mm, surfaces = settle_tolerances(labels, tolerance_mm), require_definition(definition)
    who = (case, patient or case, day, fold)
    scores, counts = [], []
    for label, pair in pair_labels(prediction, reference, labels, tolerances_mm, surfaces):
        counts.append(pair.counts)
        pair = replace(pair, matching=match)
        for metric in chosen:
            stated = _name_definition(metric, pair)
            for instance, value, status in _measure(metric, pair):
                scores.append(Score(*who, label, instance, metric.name, stated, value, metric.unit, status))
    scores += [
        Score(*who, ALL_LABELS, 0, metric.name, metric.definition, *_measure_case(metric, counts))
        for metric in chosen
        if metric.measure_case is not None
    ]
    return scores + score_strata(scores)


def _settle_rules(
    rules: str | Rules | None, metrics: Sequence[Any] | None, labels: LabelScheme
) -> tuple[list[Metric], LabelScheme]:
    """The metrics and the labels to score."""
    if rules is None:
        return choose_metrics(metrics), labels
    if metrics is not None:
        raise PlanError("metrics and rules, of which one decides what is scored", remedy="Give one of them")
    chosen = RULES.get(rules)
    return list(chosen.metrics), settle_regions(labels, chosen)


def _measure(metric: Metric, pair: LabelPair) -> list[tuple[int, float | None, Status]]:
    """The instance, value and status of each row of one metric."""
    status = _tell_emptiness(pair.counts)
    if metric.measure_lesions is not None:
        lesions = metric.measure_lesions(pair)
        return [(number, *_settle(value, status)) for number, value in enumerate(lesions, start=1)]
    if metric.measure is None:
        return []
    if status == "both_empty" and not metric.covers_empty:
        return [(0, None, status)]
    return [(0, *_settle(metric.measure(pair), status))]


def _measure_case(metric: Metric, labels: Sequence[Counts]) -> tuple[float | None, str, Status]:
    """The value, unit and status of one metric of all labels together."""
    emptiness = _tell_emptiness(Counts(0, sum(c.prediction for c in labels), sum(c.reference for c in labels), 0))
    if metric.measure_case is None or emptiness == "both_empty":
        return None, metric.unit, emptiness
    value, status = _settle(metric.measure_case(labels), emptiness)
    return value, metric.unit, status


def _name_definition(metric: Metric, pair: LabelPair) -> str:
    return metric.definition.format(
        surfaces=pair.definition,
        tolerance_mm=pair.tolerance_mm,
        matching=pair.matching.name,
        connectivity=pair.matching.connectivity,
    )


def _settle(value: Any, status: Status) -> tuple[float | None, Status]:
    if value is None or math.isnan(value):
        return None, "not_defined" if status == "ok" else status
    return float(value), status


def _tell_emptiness(counts: Counts) -> Status:
    if counts.prediction and counts.reference:
        return "ok"
    if counts.reference:
        return "prediction_empty"
    return "reference_empty" if counts.prediction else "both_empty"


def _require_same_grid(prediction: Segmentation, reference: Segmentation, case: str) -> None:
    ours, theirs = prediction.geometry, reference.geometry
    if ours.same_grid(theirs):
        return
    reason = f"the prediction is {ours.describe()}, the reference {theirs.describe()}"
    if ours.shape == theirs.shape:
        reason += f", their voxels up to {ours.largest_shift_voxels(theirs):.3g} voxels apart"
    raise GeometryError(
        reason, code="other_grid", case=case, remedy="Predict on the scan that the reference was drawn on"
    )
