"""The spread of each score over the cases, where no summary came with the scores."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from medseg.core.patients import bound_mean
from medseg.core.results import Score


def aggregate_scores(scores: Iterable[Score]) -> dict[str, Any]:
    """The spread of each metric of each label, in the form that ``summarise_scores`` gives it.

    Args:
        scores: the rows of all cases; rows of single lesions are passed over.
    Returns:
        ``labels``: by label and metric ``definition unit n mean median q25 q75 finite_n finite_mean low high
        statuses``; low and high bound the 95 % interval of finite_mean (patients drawn again), None below
        five patients. Values that are not known count in ``statuses`` alone; infinite ones count in mean and quantiles.
    """
    groups: dict[str, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        if score.instance == 0 and "[" not in score.metric:  # those by lesion volume are means over lesions
            groups[score.label][score.metric].append(score)
    labels = {name: {metric: _aggregate(rows) for metric, rows in found.items()} for name, found in groups.items()}
    return {"labels": labels}


def number_of(entry: Mapping[str, Any], key: str) -> float | None:
    """A number of a summary, which writes infinity as the text ``inf``; None where it is not known."""
    value = entry.get(key)
    return None if value is None else float(value)


def _aggregate(rows: list[Score]) -> dict[str, Any]:
    known = sorted(row.value for row in rows if row.value is not None)
    finite = [row for row in rows if row.value is not None and math.isfinite(row.value)]
    low, high = bound_mean((row.patient, row.value or 0.0) for row in finite)
    return {
        "definition": ", ".join(sorted({row.definition for row in rows})),
        "unit": rows[0].unit,
        "n": len(known),
        "mean": math.fsum(known) / len(known) if known else None,
        **{name: _quantile(known, part) for name, part in (("median", 0.5), ("q25", 0.25), ("q75", 0.75))},
        "finite_n": len(finite),
        "finite_mean": math.fsum(row.value or 0.0 for row in finite) / len(finite) if finite else None,
        "low": low,
        "high": high,
        "statuses": dict(sorted(Counter(row.status for row in rows).items())),
    }


def _quantile(ordered: list[float], part: float) -> float | None:
    if not ordered:
        return None
    place = part * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below if below == above else below + (above - below) * (place - math.floor(place))
