"""Scores of lesions by their volume."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from medseg.core.errors import PlanError
from medseg.core.results import Score


@dataclass(frozen=True)
class Stratum:
    """Lesions of a range of volumes.

    Args:
        low_ml: the smallest volume, itself within.
        high_ml: the largest volume, itself beyond.
    """

    low_ml: float
    high_ml: float

    @property
    def name(self) -> str:
        """``<1ml``, ``1-10ml`` or ``>=10ml``."""
        if self.high_ml == math.inf:
            return f">={self.low_ml:g}ml"
        return f"{self.low_ml:g}-{self.high_ml:g}ml" if self.low_ml else f"<{self.high_ml:g}ml"

    def holds(self, volume_ml: float) -> bool:
        """Whether a lesion of that volume belongs to it."""
        return self.low_ml <= volume_ml < self.high_ml


STRATA = (Stratum(0.0, 1.0), Stratum(1.0, 10.0), Stratum(10.0, math.inf))
# A score by stratum, the metric of single lesions whose mean it is, and the one that holds their volume: recall and
# Dice by the real lesion's volume, precision by the predicted one's.
SOURCES = {
    "lesion_recall": ("lesion_found", "lesion_volume_ml"),
    "lesion_precision": ("predicted_lesion_real", "predicted_lesion_volume_ml"),
    "lesion_dice": ("dice", "lesion_volume_ml"),
}


def parse_stratum(name: str) -> Stratum:
    """A range of volumes from its name.

    Args:
        name: ``<1ml``, ``1-10ml`` or ``>=10ml``, with any numbers.
    Returns:
        the stratum.
    Raises:
        PlanError: another form, or a range that holds nothing.
    """
    number = r"(\d+(?:\.\d+)?)"
    found = re.fullmatch(rf"<{number} ?ml|{number}-{number} ?ml|>={number} ?ml", name.strip())
    below, low, high, above = (float(part) if part else None for part in found.groups()) if found else [None] * 4
    if above is not None:
        return Stratum(above, math.inf)
    stratum = Stratum(low or 0.0, below or high or 0.0)
    if stratum.low_ml >= stratum.high_ml:
        raise PlanError(f"{name!r} is no range of volumes", code="bad_stratum", remedy="Write <1ml, 1-10ml or >=10ml")
    return stratum


def pick_lesions(scores: Iterable[Score], metric: str, strata: Sequence[Stratum]) -> dict[tuple[str, str], list[Score]]:
    """The rows of single lesions that a score by stratum is the mean of.

    Args:
        scores: rows of any cases, single lesions with their volumes among them.
        metric: one of ``SOURCES``.
        strata: which lesions.
    Returns:
        (label, the stratum's name) to the rows of its lesions, a row a lesion; only strata that hold one.
    """
    rows = list(scores)
    source, volume_metric = SOURCES[metric]
    volumes = {(row.case, row.label, row.instance): row.value for row in rows if row.metric == volume_metric}
    found: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for row in rows:
        volume = volumes.get((row.case, row.label, row.instance)) if row.instance and row.metric == source else None
        for stratum in strata:
            if volume is not None and stratum.holds(volume):
                found[row.label, stratum.name].append(row)
    return dict(found)


def score_strata(scores: Sequence[Score], strata: Sequence[Stratum] = STRATA) -> list[Score]:
    """A case's scores by stratum of lesion volume: ``lesion_recall[<1ml]`` and the like.

    Args:
        scores: the rows of one case, single lesions among them.
        strata: of volumes.
    Returns:
        a row per label, metric of ``SOURCES`` and stratum that holds a lesion: the mean over its lesions; empty where
        the rows tell no volumes.
    """
    rows = []
    for metric in SOURCES:
        for (_, name), lesions in pick_lesions(scores, metric, strata).items():
            values = [row.value for row in lesions if row.value is not None]
            if values:
                mean = sum(values) / len(values)
                rows.append(replace(lesions[0], instance=0, metric=f"{metric}[{name}]", value=mean))
    return rows
