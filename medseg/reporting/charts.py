"""The report's charts as coordinates; the page's template draws them as SVG, with a tooltip on each point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.ticker import MaxNLocator

from medseg.core.results import Score
from medseg.reporting.aggregates import number_of
from medseg.reporting.cohort import Course, rank_label
from medseg.reporting.palette import colour_number
from medseg.reporting.quantities import format_number

_ROW = 40
_AXIS = 34
_MARGIN = 14
# Beyond this many points a line is drawn without dots, which would run into one another.
_MOST_DOTS = 40
# Points of one label are spread across its row by this share each, modulo 1: neighbours never share a height.
_GOLDEN_RATIO = 0.618034


@dataclass(frozen=True)
class Point:
    """A point in pixels of the chart, with what its tooltip says and where a click leads."""

    x: float
    y: float
    text: str
    link: str = ""


@dataclass(frozen=True)
class StripRow:
    """One label's values: its points and, from three values on, the box from quartile to quartile with the median."""

    label: str
    colour: int
    y: float
    points: tuple[Point, ...]
    box: tuple[float, float, float] | None


@dataclass(frozen=True)
class StripChart:
    """Values of each label along one horizontal axis; ticks are (pixel, text)."""

    width: int
    height: int
    left: int
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[StripRow, ...]


@dataclass(frozen=True)
class CurveLine:
    """A line of a chart: its name, colour, SVG path and dots."""

    name: str
    colour: int
    path: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class CurveChart:
    """Lines over one horizontal axis; ticks are (pixel, text)."""

    title: str
    x_title: str
    width: int
    height: int
    left: int
    bottom: int
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[CurveLine, ...]


def chart_dice(
    scores: Sequence[Score], summary: Mapping[str, Any], names: Sequence[str], anchors: Mapping[str, str]
) -> StripChart | None:
    """Every case's Dice, a row per label.

    Args:
        scores: all scores.
        summary: their summary, for the boxes.
        names: the labels' names in order.
        anchors: case to the place of its pictures on the page.
    Returns:
        the chart; None without any Dice.
    """
    found: dict[str, list[tuple[float, str]]] = {}
    for score in scores:
        if score.metric == "dice" and score.instance == 0 and score.value is not None:
            found.setdefault(score.label, []).append((score.value, score.case))
    if not found:
        return None
    labels = sorted(found, key=lambda name: rank_label(name, names))
    left = 24 + round(7.2 * min(28, max(len(name) for name in labels)))
    width, height = 900, _ROW * len(labels) + _AXIS
    lowest = min(value for group in found.values() for value, _ in group)
    start = min(0.8, math.floor(lowest * 10 + 1e-9) / 10)

    def place(value: float) -> float:
        return round(left + (value - start) / (1 - start) * (width - left - _MARGIN), 1)

    rows = []
    for number, name in enumerate(labels):
        middle = _ROW * number + _ROW / 2
        ordered = sorted(found[name])
        points = tuple(
            Point(
                place(value),
                round(middle + ((rank * _GOLDEN_RATIO) % 1 - 0.5) * 0.5 * _ROW, 1),
                f"{case}: {name}, Dice {format_number(value)}",
                anchors.get(case, ""),
            )
            for rank, (value, case) in enumerate(ordered)
        )
        rows.append(StripRow(name, colour_number(names, name), middle, points, _box(summary, name, place, ordered)))
    step = 0.1 if start >= 0.4 else 0.2
    count = round((1 - start) / step + 1e-9)
    ticks = tuple((place(1 - step * n), f"{1 - step * n:.1f}") for n in range(count, -1, -1) if 1 - step * n > -1e-9)
    return StripChart(width, height, left, ticks, tuple(rows))


def chart_course(course: Course, names: Sequence[str], anchors: Mapping[str, str]) -> CurveChart | None:
    """A label's volume over the days, from 0 up.

    Args:
        course: one label of one patient.
        names: the labels' names in order.
        anchors: case to the place of its pictures on the page.
    Returns:
        the chart; None where no volume is known.
    """
    values = [(float(p.day), p.volume_ml, f"day {p.day}, {p.case}", anchors.get(p.case, "")) for p in course.points]
    line = (course.label, colour_number(names, course.label), values)
    return _make_curves(f"{course.label} (ml)", "day", [line], size=(320, 160), unit="ml", own_ticks=True)


def chart_training(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[CurveChart]:
    """The training curves: the loss, and the Dice of patches per label.

    Args:
        records: a record per epoch: ``epoch``, ``loss``, ``dice`` (label to value or None).
        names: the labels' names in order.
    Returns:
        up to two charts; none without records.
    """
    loss = [(float(r["epoch"]), r.get("loss"), f"epoch {r['epoch']}", "") for r in records]
    labels = sorted({name for r in records for name in r.get("dice") or {}}, key=lambda name: rank_label(name, names))
    dice = []
    for name in labels:
        values = [
            (float(r["epoch"]), (r.get("dice") or {}).get(name), f"epoch {r['epoch']}, {name}", "") for r in records
        ]
        dice.append((name, colour_number(names, name), values))
    charts = [
        _make_curves("Training loss", "epoch", [("loss", -1, loss)], size=(520, 230), unit=""),
        _make_curves("Dice of validation patches", "epoch", dice, size=(520, 230), unit="", top=1.0),
    ]
    return [chart for chart in charts if chart is not None]


_Values = list[tuple[float, float | None, str, str]]


def _make_curves(
    title: str,
    x_title: str,
    lines: Sequence[tuple[str, int, _Values]],
    *,
    size: tuple[int, int],
    unit: str,
    top: float | None = None,
    own_ticks: bool = False,
) -> CurveChart | None:
    known = [(x, y) for _, _, values in lines for x, y, *_ in values if y is not None and math.isfinite(y)]
    if not known:
        return None
    (width, height), left, above = size, 52, 12
    bottom = height - 40
    lowest, highest = min(0.0, *(y for _, y in known)), top or max(0.0, *(y for _, y in known))
    highest = highest if highest > lowest else lowest + 1.0
    y_ticks = place_ticks(lowest, highest)
    first, last = min(x for x, _ in known), max(x for x, _ in known)
    x_ticks = [t for t in place_ticks(first, last, whole=True) if first <= t <= last] if last > first else [first]
    days = sorted({x for x, _ in known})
    if own_ticks and all(b - a > (last - first) / 8 for a, b in pairwise(days)):
        x_ticks = days
    y_low, y_high = min(y_ticks[0], lowest), max(y_ticks[-1], highest)

    def place_x(x: float) -> float:
        return round(left + (x - first) / ((last - first) or 1) * (width - left - _MARGIN - 4), 1)

    def place_y(y: float) -> float:
        return round(bottom - (y - y_low) / (y_high - y_low) * (bottom - above), 1)

    drawn = []
    for name, colour, values in lines:
        steps, points, gap = [], [], True
        for x, y, text, link in values:
            if y is None or not math.isfinite(y):
                gap = True
                continue
            steps.append(f"{'M' if gap else 'L'}{place_x(x)} {place_y(y)}")
            points.append(Point(place_x(x), place_y(y), f"{text}: {format_number(y, unit)} {unit}".rstrip(), link))
            gap = False
        few = len(points) <= _MOST_DOTS
        drawn.append(CurveLine(name, colour, "".join(steps), tuple(points) if few else ()))
    return CurveChart(
        title,
        x_title,
        width,
        height,
        left,
        bottom,
        tuple((place_x(t), f"{t:g}".replace("-", "−")) for t in x_ticks),
        tuple((place_y(t), f"{t:g}".replace("-", "−")) for t in y_ticks),
        tuple(drawn),
    )


def place_ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Round numbers for an axis, from one not above ``low`` to one not below ``high``."""
    locator = MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10], integer=whole)
    return [round(float(t), 10) for t in locator.tick_values(low, high)]


def _box(
    summary: Mapping[str, Any], name: str, place: Any, values: Sequence[tuple[float, str]]
) -> tuple[float, float, float] | None:
    entry = summary.get("labels", {}).get(name, {}).get("dice", {})
    numbers = [number_of(entry, key) for key in ("q25", "median", "q75")]
    if len(values) < 3 or any(number is None for number in numbers):
        return None
    low, middle, high = (place(number) for number in numbers)
    return low, middle, high
