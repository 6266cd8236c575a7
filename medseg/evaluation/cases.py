"""Scoring one case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medseg.core.errors import GeometryError
from medseg.core.labels import LabelScheme
from medseg.core.results import Score, Status
from medseg.core.volume import Segmentation
from medseg.evaluation.definitions import require_definition, settle_tolerances
from medseg.evaluation.metrics import Metric, choose_metrics
from medseg.evaluation.overlap import Counts
from medseg.evaluation.pairs import LabelPair, pair_labels


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
    Returns:
        a row per name and metric, in that order; for lesion_dice a row per lesion of the reference.
    Raises:
        GeometryError: the two label maps are not on the same grid.
        PlanError: a metric or a definition that is not known.
        DatasetError: a tolerance for a label that there is not.
    """
    chosen = choose_metrics(metrics)
    _require_same_grid(prediction, reference, case)
    tolerances_mm, surfaces = settle_tolerances(labels, tolerance_mm), require_definition(definition)
    scores = []
    for label, pair in pair_labels(prediction, reference, labels, tolerances_mm, surfaces):
        for metric in chosen:
            stated = metric.definition.format(surfaces=surfaces, tolerance_mm=pair.tolerance_mm)
            for instance, value, status in _measure(metric, pair):
                scores.append(
                    Score(
                        case, patient or case, day, fold, label, instance, metric.name, stated,
                        value, metric.unit, status,
                    )
                )  # fmt: skip
    return scores


def _measure(metric: Metric, pair: LabelPair) -> list[tuple[int, float | None, Status]]:
    """The instance, value and status of each row of one metric."""
    status = _tell_emptiness(pair.counts)
    if metric.measure_lesions is not None:
        lesions = metric.measure_lesions(pair)
        return [(number, *_settle(value, status)) for number, value in enumerate(lesions, start=1)]
    if status == "both_empty" or metric.measure is None:
        return [(0, None, status)]
    return [(0, *_settle(metric.measure(pair), status))]


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
