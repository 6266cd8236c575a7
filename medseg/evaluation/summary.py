"""The scores of many cases in few numbers."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.patients import LEAST_PATIENTS, RESAMPLES, bound_mean
from medseg.core.results import Score
from medseg.evaluation.agreement import TREATMENT as TREATMENT_OF_VOLUMES
from medseg.evaluation.agreement import agree_volumes
from medseg.evaluation.strata import SOURCES, STRATA, pick_lesions

TREATMENT = (
    "Rows without a value (both masks empty, or not defined) are left out. Infinite distances (one mask empty) count "
    "in mean, median and quartiles; finite_mean and its 95 % interval leave them out. The interval comes from "
    f"resampling patients with all their cases {RESAMPLES} times (expanded percentiles, Hesterberg 2015); "
    f"below {LEAST_PATIENTS} patients there is none. Only whole labels count, not their single lesions; but a score by "
    "lesion volume, such as lesion_recall[<1ml], is over all lesions of that volume in all cases, whose number is n."
)


def summarise_scores(scores: Sequence[Score]) -> dict[str, Any]:
    """The spread of each metric of each label over the cases.

    Args:
        scores: the rows of all cases; rows of single lesions are passed over.
    Returns:
        for JSON (infinite values as the text ``inf``, unknown ones None): ``cases``, ``patients``,
        ``mean_foreground_dice`` (the labels' mean Dice, averaged), ``treatment`` (what was counted, in words) and
        ``labels``: by label and metric ``definition unit n mean median q25 q75 finite_n finite_mean low high
        statuses``, where low and high bound the 95 % interval of finite_mean, None below ``LEAST_PATIENTS`` patients.
        Where the rows tell lesions' volumes, also ``lesion_recall[<1ml]`` and the like, of which n counts lesions.
        Where they tell volumes, ``agreement`` (``agree_volumes``, by label; ``treatment`` says what was done).
    """
    groups: dict[str, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        if score.instance == 0 and "[" not in score.metric:
            groups[score.label][score.metric].append(score)
    labels = {
        label: {metric: _summarise_rows(rows) for metric, rows in metrics.items()} for label, metrics in groups.items()
    }
    dice = [metrics["dice"]["mean"] for metrics in labels.values() if "dice" in metrics]
    known = [value for value in dice if value is not None]
    for metric in SOURCES:
        for (label, stratum), lesions in pick_lesions(scores, metric, STRATA).items():
            labels.setdefault(label, {})[f"{metric}[{stratum}]"] = _summarise_rows(lesions)
    agreement = agree_volumes(scores)
    return {
        "cases": len({score.case for score in scores}),
        "patients": len({score.patient for score in scores}),
        "mean_foreground_dice": sum(known) / len(known) if known else None,
        "treatment": TREATMENT,
        "labels": labels,
        **({"agreement": {"treatment": TREATMENT_OF_VOLUMES, "labels": agreement}} if agreement else {}),
    }


def _summarise_rows(rows: Sequence[Score]) -> dict[str, Any]:
    known = [(row.patient, row.value) for row in rows if row.value is not None]
    finite = [(patient, value) for patient, value in known if math.isfinite(value)]
    values = np.array([value for _, value in known])
    low, high = bound_mean(finite)
    return {
        "definition": ", ".join(sorted({row.definition for row in rows})),
        "unit": rows[0].unit,
        "n": len(known),
        "mean": _for_json(math.fsum(values) / len(known)) if known else None,
        "median": _find_quantile(values, 0.5),
        "q25": _find_quantile(values, 0.25),
        "q75": _find_quantile(values, 0.75),
        "finite_n": len(finite),
        "finite_mean": math.fsum(value for _, value in finite) / len(finite) if finite else None,
        "low": low,
        "high": high,
        "statuses": dict(sorted(Counter(row.status for row in rows).items())),
    }


def _find_quantile(values: NDArray[np.float64], part: float) -> float | str | None:
    if not values.size:
        return None
    # Written out, because between two infinite values numpy's interpolation gives not-a-number.
    ordered = np.sort(values)
    place = part * (values.size - 1)
    below, above = float(ordered[math.floor(place)]), float(ordered[math.ceil(place)])
    return _for_json(below if below == above else below + (above - below) * (place - math.floor(place)))


def _for_json(value: float) -> float | str:
    return "inf" if value == math.inf else float(value)
