"""Scores of probabilities: calibration, and lesions in the order of how sure the prediction is of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core import atomic
from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.core.results import Score, Status, format_csv
from medseg.core.volume import Segmentation
from medseg.evaluation import calibration
from medseg.evaluation.instances import (
    Detections,
    FrocPoint,
    detect_lesions,
    measure_average_precision,
    measure_froc_mean,
    pool_detections,
    score_instances,
    trace_froc,
)
from medseg.evaluation.instances.detection import CANDIDATES, FROC_RATES, INSTANCES
from medseg.evaluation.metrics import Better


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one label's probabilities show, of one scan or several.

    Args:
        reliability: its voxels by probability.
        lesions: the lesions of the mask, each with its mean probability.
        candidates: everything that may be a lesion, each with its largest probability.
    """

    reliability: calibration.Reliability
    lesions: Detections
    candidates: Detections


@dataclass(frozen=True)
class ProbabilityMetric:
    """One way to score probabilities: its name, its column ``definition``, how it is worked out, which is better."""

    name: str
    definition: str
    measure: Callable[[Evidence], float | None]
    better: Better = "lower"


_VOXELS = "scan"
PROBABILITY_METRICS = (
    ProbabilityMetric("ece", f"{_VOXELS} bins={calibration.BINS}", lambda e: calibration.measure_ece(e.reliability)),
    ProbabilityMetric("ace", f"{_VOXELS} bins={calibration.BINS}", lambda e: calibration.measure_ace(e.reliability)),
    ProbabilityMetric("brier", _VOXELS, lambda e: calibration.measure_brier(e.reliability)),
    ProbabilityMetric(
        "nll", f"{_VOXELS} p>={calibration.LEAST_PROBABILITY:g}", lambda e: calibration.measure_nll(e.reliability)
    ),
    ProbabilityMetric("ap50", f"iou>=0.5 {INSTANCES}", lambda e: measure_average_precision(e.lesions, 0.5), "higher"),
    ProbabilityMetric("ap75", f"iou>=0.75 {INSTANCES}", lambda e: measure_average_precision(e.lesions, 0.75), "higher"),
)


def evaluate_probabilities(
    probabilities: Mapping[str, NDArray[Any]],
    prediction: Segmentation,
    reference: Segmentation,
    labels: LabelScheme,
    *,
    case: str,
    patient: str = "",
    day: int | None = None,
    fold: int | None = None,
) -> tuple[list[Score], dict[str, Evidence]]:
    """The scores of one scan's probabilities, for every class and region.

    Args:
        probabilities: by label, (i, j, k), 0 to 1, on the reference's grid.
        prediction: the label map that was made of them.
        reference: the label map taken as true; voxels with its ignore label do not count.
        labels: the names to score.
        case: the case's name.
        patient: whom it belongs to; the case's name where empty.
        day: days since the patient's first scan.
        fold: the fold whose model predicted it.
    Returns:
        a row per label and metric of ``PROBABILITY_METRICS``, average precision unknown where the reference is empty;
        and by label what ``pool_evidence`` takes.
    Raises:
        DatasetError: values that are no probabilities, or not one for each voxel.
    """
    counted = None if labels.ignore is None else reference.array != labels.ignore
    rows, found = [], {}
    for label in labels.names:
        probability = probabilities[label]
        if probability.shape != reference.array.shape:
            raise DatasetError(
                f"probabilities of {probability.shape} voxels, a reference of {reference.array.shape}",
                code="bad_probabilities", case=case,
            )  # fmt: skip
        mask, truth = labels.mask(prediction.array, label), labels.mask(reference.array, label)
        if counted is not None:
            mask, truth, probability = mask & counted, truth & counted, np.where(counted, probability, 0.0)
        try:
            reliability = calibration.bin_probabilities(probability, truth, counted=counted)
        except DatasetError as error:
            raise error.for_case(case) from None
        evidence = Evidence(reliability, score_instances(mask, truth, probability), detect_lesions(probability, truth))
        found[label] = evidence
        for metric in PROBABILITY_METRICS:
            value = metric.measure(evidence)
            status: Status = "ok" if value is not None else "reference_empty" if mask.any() else "both_empty"
            rows.append(
                Score(case, patient or case, day, fold, label, 0, metric.name, metric.definition, value, "", status)
            )
    return rows, found


def pool_evidence(parts: Sequence[Evidence]) -> Evidence:
    """What one label's probabilities show in several scans together; one at least."""
    return Evidence(
        calibration.pool_reliability([part.reliability for part in parts]),
        pool_detections([part.lesions for part in parts]),
        pool_detections([part.candidates for part in parts]),
    )


def summarise_evidence(evidence: Evidence) -> dict[str, Any]:
    """The scores of all scans' probabilities taken together, for ``summary.json``.

    Args:
        evidence: of one label, pooled.
    Returns:
        ``scans``, ``voxels``, ``lesions``, each of ``PROBABILITY_METRICS`` over all voxels or lesions at once, and
        ``froc``: its ``definition``, ``mean_sensitivity`` and ``sensitivity`` by false lesions a scan; None where there
        is no lesion in any reference.
    """
    points = trace_froc(evidence.candidates)
    lesions = evidence.lesions.reference_count
    return {
        "scans": evidence.lesions.scans,
        "voxels": evidence.reliability.count,
        "lesions": lesions,
        **{metric.name: metric.measure(evidence) for metric in PROBABILITY_METRICS},
        "froc": {
            "definition": CANDIDATES,
            "mean_sensitivity": measure_froc_mean(points) if lesions else None,
            "sensitivity": {f"{rate:g}": measure_froc_mean(points, [rate]) if lesions else None for rate in FROC_RATES},
        },
    }


def write_evidence(folder: Path, cases: Sequence[Mapping[str, Evidence]]) -> dict[str, Any]:
    """Write the tables of all scans' probabilities.

    Args:
        folder: for ``reliability.csv`` (``label,low,high,voxels,mean_probability,observed``: a row per bin of
            probability) and ``froc.csv`` (``label,threshold,false_per_scan,sensitivity``).
        cases: of each scan, by label; one scan at least.
    Returns:
        by label what ``summarise_evidence`` gives.
    """
    pooled = {label: pool_evidence([case[label] for case in cases]) for label in cases[0]}
    bins = {label: calibration.tabulate_reliability(found.reliability) for label, found in pooled.items()}
    curves = {label: trace_froc(found.candidates) for label, found in pooled.items()}
    for name, kind, tables in (
        ("reliability.csv", calibration.ReliabilityRow, bins),
        ("froc.csv", FrocPoint, curves),
    ):
        columns = [field.name for field in fields(kind)]
        lines = [[label, *astuple(row)] for label, rows in tables.items() for row in rows]
        atomic.write_text(folder / name, format_csv(["label", *columns], lines))
    return {label: summarise_evidence(found) for label, found in pooled.items()}
