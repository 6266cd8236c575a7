"""Scores of predicted masks against references; numba and scipy are loaded where they are used."""

from medseg.evaluation.agreement import measure_agreement
from medseg.evaluation.cases import evaluate_case
from medseg.evaluation.comparison import compare_scores
from medseg.evaluation.masks import (
    measure_assd,
    measure_boundary_iou,
    measure_dice,
    measure_hd,
    measure_hd95,
    measure_iou,
    measure_masd,
    measure_mean_iou,
    measure_metric,
    measure_nsd,
    measure_precision,
    measure_sensitivity,
    measure_specificity,
    measure_volume_similarity,
)
from medseg.evaluation.metrics import DEFAULT_METRICS, METRICS, Metric
from medseg.evaluation.pairs import LabelPair
from medseg.evaluation.probabilities import evaluate_probabilities
from medseg.evaluation.rules import RULES
from medseg.evaluation.summary import summarise_scores

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "RULES",
    "LabelPair",
    "Metric",
    "compare_scores",
    "evaluate_case",
    "evaluate_probabilities",
    "measure_agreement",
    "measure_assd",
    "measure_boundary_iou",
    "measure_dice",
    "measure_hd",
    "measure_hd95",
    "measure_iou",
    "measure_masd",
    "measure_mean_iou",
    "measure_metric",
    "measure_nsd",
    "measure_precision",
    "measure_sensitivity",
    "measure_specificity",
    "measure_volume_similarity",
    "summarise_scores",
]
