"""How well predicted volumes agree with the reference's: a Bland-Altman chart a label, and a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from medseg.core.results import Score
from medseg.reporting.cells import Cell, Column, Table, label_cell
from medseg.reporting.charts import Point
from medseg.reporting.cohort import rank_label
from medseg.reporting.palette import colour_number
from medseg.reporting.quantities import DASH, format_change, format_number

# The names that evaluation gives them in scores.csv.
_VOLUMES = ("predicted_volume_ml", "reference_volume_ml")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 520, 260, 58, 84, 12, 220
# On the axis of ratios, and on one of volumes in powers of ten: those that lie within it and have room are drawn.
_RATIOS = (1.0, 2.0, 0.5, 1.25, 0.8, 5.0, 0.2, 10.0, 0.1, 1.1, 0.9, 1.05, 0.95, 100.0, 0.01, 50.0, 0.02)
_VOLUMES_ML = tuple(step * 10.0**power for step in (1, 2, 5) for power in range(-4, 6))
_ROOM = {True: 40, False: 14}  # pixels between two ticks, along and across


@dataclass(frozen=True)
class LimitLine:
    """The bias or a limit of agreement: its height in pixels, its text, and the band of its 95 % interval."""

    y: float
    text: str
    band: tuple[float, float]


@dataclass(frozen=True)
class AgreementChart:
    """Differences (or ratios) over the mean of both volumes; ticks are (pixel, text)."""

    label: str
    colour: int
    title: str
    width: int
    height: int
    left: int
    right: int
    bottom: int
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    points: tuple[Point, ...]
    lines: tuple[LimitLine, ...]


@dataclass(frozen=True)
class _Scale:
    """How an axis is drawn: the values and the pixels of its ends, and its possible ticks where it is logarithmic."""

    start: float
    stop: float
    first: float
    last: float
    log_ticks: tuple[float, ...] = ()

    def place(self, value: float) -> float:
        shown = math.log(value) if self.log_ticks else value
        return round(self.first + (shown - self.start) / (self.stop - self.start) * (self.last - self.first), 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        found = self.log_ticks or MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(self.start, self.stop)
        room, kept = _ROOM[self.last > self.first], dict[float, str]()
        for tick in (round(float(tick), 10) for tick in found):
            if self.start <= (math.log(tick) if self.log_ticks else tick) <= self.stop:
                place = self.place(tick)
                if all(abs(place - other) >= room for other in kept):
                    kept[place] = f"{tick:g}".replace("-", "−")
        return tuple(sorted(kept.items()))


def chart_agreement(
    scores: Sequence[Score], summary: Mapping[str, Any], names: Sequence[str], anchors: Mapping[str, str]
) -> list[AgreementChart]:
    """Bland-Altman charts of the volumes.

    Args:
        scores: all scores.
        summary: their summary, with ``agreement``.
        names: the labels' names in order.
        anchors: case to the place of its pictures on the page.
    Returns:
        a chart per label with limits of agreement: of the ratio where differences grow with the volume, else of the
        difference; none where the summary has no agreement.
    """
    pairs = _pair_volumes(scores)
    charts = []
    for label, entry in _list_labels(summary, names):
        by_ratio = _is_read_by_ratio(entry)
        found = entry["ratio"] if by_ratio else entry
        if found.get("bias") is None:
            continue
        values = []
        for case, (predicted, reference) in sorted(pairs.get(label, {}).items()):
            if not by_ratio:
                values.append((case, predicted, reference, predicted - reference))
            elif predicted > 0 and reference > 0:
                values.append((case, predicted, reference, predicted / reference))
        if values:  # the summary may be of another table than the scores
            charts.append(_make_chart(label, values, found, names, anchors, by_ratio=by_ratio))
    return charts


def tabulate_agreement(summary: Mapping[str, Any], names: Sequence[str]) -> Table:
    """A line per label: bias, limits of agreement, ICC and concordance, each with its 95 % interval as tooltip.

    Args:
        summary: the scores' summary.
        names: the labels' names in order.
    Returns:
        the table, without lines where the summary has no agreement.
    """
    columns = (
        Column("Label"),
        Column("Cases", "", True),
        Column("Bias", "ml", True, "mean of prediction minus reference"),
        Column("Limits of agreement", "ml", True, "95 % of differences lie between them"),
        Column("Ratio", "limits", True, "prediction / reference, over cases that have both"),
        Column("ICC(2,1)", "", True, "absolute agreement"),
        Column("ICC(3,1)", "", True, "consistency: a constant difference does not count"),
        Column("CCC", "", True, "Lin's concordance"),
    )
    lines = []
    for label, entry in _list_labels(summary, names):
        ratio, why = entry["ratio"], entry["reason"] or "not defined"
        lines.append(
            (
                label_cell(label, names),
                Cell(str(entry["cases"]), entry["cases"], f"{entry['patients']} patients"),
                _change_cell(entry["bias"], why),
                _limits_cell(entry["lower"], entry["upper"], why, lambda value: format_change(value, "ml")),
                _limits_cell(ratio["lower"], ratio["upper"], why, lambda value: format_number(value, "", 2)),
                *(_coefficient_cell(entry[key], why) for key in ("icc_2_1", "icc_3_1", "ccc")),
            )
        )
    return Table(columns, tuple(lines), sortable=False)


def _list_labels(summary: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, Mapping[str, Any]]]:
    labels = summary.get("agreement", {}).get("labels", {})
    return sorted(labels.items(), key=lambda item: rank_label(item[0], names))


def _is_read_by_ratio(entry: Mapping[str, Any]) -> bool:
    return bool(entry["grows_with_size"]) and entry["ratio"]["bias"] is not None


def _pair_volumes(scores: Sequence[Score]) -> dict[str, dict[str, tuple[float, float]]]:
    """By label and case the predicted and the reference volume, ml."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in scores:
        if row.metric in _VOLUMES and row.instance == 0 and row.value is not None:
            found.setdefault(row.label, {}).setdefault(row.case, {})[row.metric] = row.value
    return {
        label: {case: (both[_VOLUMES[0]], both[_VOLUMES[1]]) for case, both in cases.items() if len(both) == 2}
        for label, cases in found.items()
    }


def _make_chart(
    label: str,
    values: Sequence[tuple[str, float, float, float]],
    found: Mapping[str, Any],
    names: Sequence[str],
    anchors: Mapping[str, str],
    *,
    by_ratio: bool,
) -> AgreementChart:
    limits = [found[key] for key in ("lower", "bias", "upper")]
    heights = [value for *_, value in values] + [limit[end] for limit in limits for end in ("low", "high")]
    means = [(predicted + reference) / 2 for _, predicted, reference, _ in values]
    across, along = ([math.log(number) if by_ratio else number for number in numbers] for numbers in (heights, means))
    x = _Scale(*_widen(min(along), max(along)), _LEFT, _WIDTH - _RIGHT, _VOLUMES_ML if by_ratio else ())
    y = _Scale(*_widen(min(across), max(across)), _BOTTOM, _TOP, _RATIOS if by_ratio else ())

    def write(value: float) -> str:
        return format_number(value, "", 2) if by_ratio else f"{format_change(value, 'ml')} ml"

    points = tuple(
        Point(
            x.place(mean), y.place(value),
            f"{case}: predicted {format_number(predicted, 'ml')} ml, reference {format_number(reference, 'ml')} ml, "
            f"{'ratio' if by_ratio else 'difference'} {write(value)}",
            anchors.get(case, ""),
        )
        for (case, predicted, reference, value), mean in zip(values, means, strict=True)
    )  # fmt: skip
    lines = tuple(
        LimitLine(y.place(e["value"]), write(e["value"]), (y.place(e["high"]), y.place(e["low"]))) for e in limits
    )
    what = "prediction / reference" if by_ratio else "prediction − reference (ml)"
    return AgreementChart(
        label, colour_number(names, label), f"{label}: {what}", _WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM, x.ticks(),
        y.ticks(), points, lines,
    )  # fmt: skip


def _widen(low: float, high: float) -> tuple[float, float]:
    margin = 0.06 * (high - low) or 0.5 * (abs(high) or 1.0)
    return low - margin, high + margin


def _change_cell(entry: Mapping[str, float] | None, why: str) -> Cell:
    if entry is None:
        return Cell(DASH, None, why, kind="missing")
    low, high = (format_change(entry[key], "ml") for key in ("low", "high"))
    return Cell(f"{format_change(entry['value'], 'ml')} [{low}, {high}]", entry["value"])


def _limits_cell(lower: Mapping[str, float] | None, upper: Mapping[str, float] | None, why: str, write: Any) -> Cell:
    if lower is None or upper is None:
        return Cell(DASH, None, why, kind="missing")
    ends = [f"{write(entry['value'])} [{write(entry['low'])}, {write(entry['high'])}]" for entry in (lower, upper)]
    return Cell(f"{write(lower['value'])} to {write(upper['value'])}", lower["value"], " to ".join(ends))


def _coefficient_cell(entry: Mapping[str, float | None] | None, why: str) -> Cell:
    if entry is None or entry["value"] is None:
        return Cell(DASH, None, why, kind="missing")
    low, high = entry["low"], entry["high"]
    interval = why if low is None or high is None else f"95 % interval {format_number(low)} to {format_number(high)}"
    return Cell(format_number(entry["value"]), entry["value"], interval)
