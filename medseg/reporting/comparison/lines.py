"""A comparison line by line: a label's metric with the mean of every method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medseg.reporting.quantities import DASH, format_number, format_score, title_of
from medseg.reporting.terminal import HEADLINES, MOST_METRICS

LESION_HEADLINES = ("lesion_dice", "lesion_found", "predicted_lesion_real")
_TITLES = {
    "lesion_found": "lesions found",
    "predicted_lesion_real": "predicted lesions that are real",
    "lesion_dice": "Dice of lesions",
}


@dataclass(frozen=True)
class Mean:
    """A method's mean over patients, without infinite values; how many those are; and whether it is the best."""

    value: float | None
    infinite: int
    is_best: bool


@dataclass(frozen=True)
class Line:
    """A metric of a label.

    Args:
        better: which values are better: ``higher``, ``lower`` or ``unknown``.
        means: of each method, in their order.
        pairs: its entries of ``comparisons``.
        ranks: its entry of ``ranks``; None for metrics of single lesions.
    """

    label: str
    metric: str
    unit: str
    better: str
    means: tuple[Mean, ...]
    pairs: tuple[Mapping[str, Any], ...]
    ranks: Mapping[str, Any] | None


def gather_lines(content: Mapping[str, Any], *, all_metrics: bool = False) -> list[Line]:
    """The lines of a comparison, in the order of its table.

    Args:
        content: what ``comparison.json`` holds.
        all_metrics: every metric; otherwise, where there are many, those that are read most.
    Returns:
        a line per label and metric; those of single lesions last.
    """
    pairs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for pair in content["comparisons"]:
        pairs.setdefault((pair["label"], pair["metric"]), []).append(pair)
    metrics = list(dict.fromkeys(metric for _, metric in pairs))
    if not all_metrics and len(metrics) > MOST_METRICS:
        wanted = [metric for metric in metrics if metric in (*HEADLINES, *LESION_HEADLINES)] or metrics[:MOST_METRICS]
        pairs = {key: found for key, found in pairs.items() if key[1] in wanted}
    ranks = {(entry["label"], entry["metric"]): entry for entry in content["ranks"]}
    values = {(entry["label"], entry["metric"]): entry["patients"] for entry in content["values"]}
    return [
        Line(
            label, metric, found[0]["unit"], found[0]["better"],
            _average_methods(content["methods"], found, ranks.get((label, metric)), values.get((label, metric))),
            tuple(found), ranks.get((label, metric)),
        )
        for (label, metric), found in pairs.items()
    ]  # fmt: skip


def name_metric(line: Line) -> str:
    """The metric's name for people, with its unit: ``HD95 mm``."""
    title = _TITLES.get(line.metric, title_of(line.metric))
    return f"{title} {line.unit}" if line.unit else title


def describe_difference(pair: Mapping[str, Any]) -> str:
    """``+0.021 [+0.004, +0.040]``, or a dash where it is not known."""
    difference, low, high = (_describe_signed(pair, key) for key in ("difference", "low", "high"))
    return difference if pair["low"] is None else f"{difference} [{low}, {high}]"


def describe_chance(chance: float | None) -> str:
    """A p-value: three decimals, ``<0.001`` below."""
    return DASH if chance is None else "<0.001" if chance < 0.001 else f"{chance:.3f}"


def describe_mean(line: Line, mean: Mean) -> str:
    """A mean with the decimals of a score; a star where infinite values were left out."""
    text = format_score(mean.value, line.unit)
    return f"{text}*" if mean.infinite else text


def as_number(value: float | str | None) -> float | None:
    """A number of the comparison, whose infinite ones are texts."""
    return None if value is None else float(value)


def _describe_signed(pair: Mapping[str, Any], key: str) -> str:
    value = as_number(pair[key])
    if value is None:
        return DASH
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{format_score(abs(value), pair['unit'])}"


def _average_methods(
    names: Sequence[str],
    pairs: Sequence[Mapping[str, Any]],
    ranks: Mapping[str, Any] | None,
    values: Mapping[str, Sequence[Any]] | None,
) -> tuple[Mean, ...]:
    if values is None:
        return _average_lesions(names, pairs)
    found = []
    for place, name in enumerate(names):
        known = [float(row[place]) for row in values.values() if row[place] is not None]
        finite = [value for value in known if math.isfinite(value)]
        mean = math.fsum(finite) / len(finite) if finite else None
        best = bool(ranks and ranks["methods"] and ranks["methods"][name]["place"] == 1)
        found.append(Mean(mean, len(known) - len(finite), best))
    return tuple(found)


def _average_lesions(names: Sequence[str], pairs: Sequence[Mapping[str, Any]]) -> tuple[Mean, ...]:
    means = {pair["first"]: pair["mean_first"] for pair in pairs} | {
        pair["second"]: pair["mean_second"] for pair in pairs
    }
    known = [mean for mean in means.values() if mean is not None]
    told = len(set(known)) > 1 and any(pair["difference"] is not None for pair in pairs)
    best = {"higher": max, "lower": min}.get(pairs[0]["better"]) if told else None
    return tuple(Mean(means.get(name), 0, best is not None and means.get(name) == best(known)) for name in names)


def describe_share(share: float) -> str:
    """A share as whole percent: ``93 %``."""
    return f"{format_number(100 * share, '', 0)} %"
