"""Which values of a metric are the better ones."""

from __future__ import annotations

from collections.abc import Mapping

from medseg.evaluation.metrics import METRICS, Better
from medseg.evaluation.probabilities import PROBABILITY_METRICS
from medseg.evaluation.rules import RULES

UNKNOWN = "unknown"


def list_directions(stated: Mapping[str, Better]) -> dict[str, str]:
    """The better side of every metric that is known by name.

    Args:
        stated: what the user says of metrics of their own; it wins.
    Returns:
        metric to ``higher``, ``lower`` or ``neither`` (volumes and the like, which are no scores).
    """
    known: dict[str, str] = {metric.name: metric.better for name in METRICS for metric in (METRICS.get(name),)}
    known |= {metric.name: metric.better for metric in PROBABILITY_METRICS}
    known |= {metric.name: metric.better for name in RULES for metric in RULES.get(name).metrics}
    return {**known, "lesion_dice": "higher", **stated}


def find_direction(metric: str, directions: Mapping[str, str]) -> str:
    """The better side of a metric, by stratum of lesion volume too; ``unknown`` where nobody says."""
    return directions.get(metric.partition("[")[0], UNKNOWN)
