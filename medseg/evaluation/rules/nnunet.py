"""Scoring as nnU-Net does it."""

from __future__ import annotations

from collections.abc import Callable

from medseg.evaluation import overlap
from medseg.evaluation.metrics import Better, Metric
from medseg.evaluation.pairs import LabelPair
from medseg.evaluation.rules.regions import Rules

NAME = "nnunet"


def _count(name: str, count: Callable[[LabelPair], int], better: Better = "neither") -> Metric:
    return Metric(name, lambda pair: float(count(pair)), NAME, "voxels", covers_empty=True, better=better)


NNUNET = Rules(
    NAME,
    "Isensee et al., Nat Methods 2021;18:203-211; nnunetv2 2.8, evaluation/evaluate_predictions.py: Dice and IoU are "
    "not a number where both masks are empty and 0 where one is, and means leave out what is not a number; voxels of "
    "the ignore label are not counted",
    (
        Metric("dice", lambda pair: overlap.measure_dice(pair.counts), NAME),
        Metric("iou", lambda pair: overlap.measure_iou(pair.counts), NAME),
        _count("true_positive_voxels", lambda pair: pair.counts.both, "higher"),
        _count("false_positive_voxels", lambda pair: pair.counts.prediction_only, "lower"),
        _count("false_negative_voxels", lambda pair: pair.counts.reference_only, "lower"),
        _count("true_negative_voxels", lambda pair: pair.counts.neither),
        _count("prediction_voxels", lambda pair: pair.counts.prediction),
        _count("reference_voxels", lambda pair: pair.counts.reference),
    ),
)
