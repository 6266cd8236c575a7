"""Scoring as the autoPET challenges do it."""

from __future__ import annotations

from medseg.evaluation import instances, overlap
from medseg.evaluation.metrics import Metric
from medseg.evaluation.pairs import LabelPair
from medseg.evaluation.rules.regions import Rules

MATCHING = instances.Matching(way="many_to_many", connectivity=18)


def measure_dice(pair: LabelPair) -> float | None:
    """The Dice of the whole scan, 0 to 1; None where the reference is empty, whatever was predicted."""
    return overlap.measure_dice(pair.counts) if pair.counts.reference else None


def measure_false_positive_volume(pair: LabelPair) -> float:
    """The volume of predicted components that touch no voxel of the reference, ml; 0 where nothing was predicted."""
    return instances.count_false_voxels(_match(pair)) * pair.voxel_ml


def measure_false_negative_volume(pair: LabelPair) -> float | None:
    """The volume of the reference's components that touch no predicted voxel, ml; None where the reference is empty."""
    return instances.count_missed_voxels(_match(pair)) * pair.voxel_ml if pair.counts.reference else None


def _match(pair: LabelPair) -> instances.LesionMatch:
    return instances.match_lesions(pair.prediction, pair.reference, MATCHING)


AUTOPET = Rules(
    "autopet",
    "autoPET III, ClinicalDataScience/autoPETIII, evaluation-metrics/evaluation_metrics.py (the same code as autoPET I "
    "and II, lab-midas/autoPET, val_script.py, but for empty references): components of 18 neighbours; scans without "
    "a lesion count for the false-positive volume alone",
    (
        Metric("dice", measure_dice, "autopet3", covers_empty=True),
        Metric(
            "false_positive_volume_ml",
            measure_false_positive_volume,
            f"autopet3 {MATCHING.name}",
            "ml",
            covers_empty=True,
            better="lower",
        ),
        Metric(
            "false_negative_volume_ml",
            measure_false_negative_volume,
            f"autopet3 {MATCHING.name}",
            "ml",
            better="lower",
        ),
    ),
)
