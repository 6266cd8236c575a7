"""Scores of predicted masks against references; numba and scipy are loaded where they are used."""

from medseg.evaluation.cases import evaluate_case
from medseg.evaluation.metrics import DEFAULT_METRICS, METRICS, Metric
from medseg.evaluation.pairs import LabelPair
from medseg.evaluation.summary import summarise_scores

__all__ = ["DEFAULT_METRICS", "METRICS", "LabelPair", "Metric", "evaluate_case", "summarise_scores"]
