"""A patient's lesions over time as charts: volumes with their error bars, what came, went, merged and split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from medseg.reporting.charts import place_ticks
from medseg.reporting.palette import ON_PAPER, colour_number
from medseg.reporting.quantities import format_number
from medseg.reporting.timelines import FollowedLesion, PatientTimeline, Sighting

# Lesions with a colour and a place in the legend, the largest; all others are drawn in grey.
MOST_COLOURED = 12
_GREY = -1
_SIZE, _LEFT, _ABOVE, _BELOW, _RIGHT = (520, 240), 52, 14, 40, 22
MARKS = {"new": "new or back", "gone": "gone", "merged": "merged", "split": "split"}


@dataclass(frozen=True)
class Spot:
    """A value in pixels of the chart.

    Args:
        bar: the upper and the lower end of its error bar, pixels; None without one.
        mark: ``new``, ``gone``, ``merged``, ``split``, or empty for a plain dot.
        text: the tooltip.
        link: an anchor of the page; empty for none.
    """

    x: float
    y: float
    bar: tuple[float, float] | None
    mark: str
    text: str
    link: str = ""


@dataclass(frozen=True)
class Track:
    """A line through the scans of one thing; ``path`` is interrupted where it is absent."""

    name: str
    colour: int
    dash: int
    path: str
    spots: tuple[Spot, ...]


@dataclass(frozen=True)
class TimelineChart:
    """Tracks over the days, or over the scans where no day is known; ticks are (pixel, text)."""

    title: str
    x_title: str
    width: int
    height: int
    left: int
    bottom: int
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    tracks: tuple[Track, ...]
    marks: tuple[tuple[str, str], ...]
    grey_count: int


@dataclass(frozen=True)
class _Value:
    scan: int
    value: float
    low: float | None
    high: float | None
    mark: str
    words: str


def chart_totals(
    timeline: PatientTimeline, label: str, names: Sequence[str], anchors: Mapping[str, str]
) -> TimelineChart:
    """The sum of a label's volumes in each scan, with error bars where they are known.

    Args:
        timeline: of one patient.
        label: which label.
        names: the labels' names in order.
        anchors: case to the place of its pictures on the page.
    Returns:
        the chart.
    """
    values = [
        _Value(n, total.volume_ml, total.low_ml, total.high_ml, "", f"{total.lesion_count} lesions")
        for n, total in enumerate(timeline.labels[label])
    ]
    track = (label, colour_number(names, label), 0, [values])
    return _draw(timeline, f"{label}: all together (ml)", "ml", [track], anchors)


def chart_lesions(timeline: PatientTimeline, label: str, anchors: Mapping[str, str]) -> TimelineChart | None:
    """Each lesion of a label through the scans: interrupted where it is absent, at 0 where it has gone.

    Args:
        timeline: of one patient.
        label: which label.
        anchors: case to the place of its pictures on the page.
    Returns:
        the chart; None for a label without lesions. The largest lesions have a colour each, the others are grey.
    """
    lesions = [lesion for lesion in timeline.lesions if lesion.label == label]
    if not lesions:
        return None
    by_size = sorted(lesions, key=lambda lesion: -max(sighting.volume_ml for sighting in lesion.sightings))
    coloured = {lesion.lesion_id for lesion in by_size[:MOST_COLOURED]}
    tracks = []
    # Grey ones first, so that they lie below the others.
    for lesion in sorted(lesions, key=lambda lesion: lesion.lesion_id in coloured):
        number = next((n for n, other in enumerate(by_size) if other is lesion), 0)
        shown = lesion.lesion_id in coloured
        colour, dash = (number % len(ON_PAPER), number // len(ON_PAPER)) if shown else (_GREY, 0)
        tracks.append((lesion.lesion_id, colour, dash, _list_runs(lesion)))
    return _draw(timeline, f"{label}: one by one (ml)", "ml", tracks, anchors)


def chart_diameters(timeline: PatientTimeline, anchors: Mapping[str, str]) -> TimelineChart | None:
    """The sum of target diameters in each scan, with the category that follows; None where there is no target."""
    scans = (timeline.recist or {}).get("scans", ())
    if not scans:
        return None
    values = [_Value(n, scan["sum_of_diameters_mm"], None, None, "", scan["category"]) for n, scan in enumerate(scans)]
    return _draw(timeline, "Sum of target diameters (mm)", "mm", [("sum", _GREY, 0, [values])], anchors)


def _list_runs(lesion: FollowedLesion) -> list[list[_Value]]:
    # What is drawn without interruption: from where a lesion is seen to where it has gone.
    runs: list[list[_Value]] = []
    before = False
    for number, sighting in enumerate(lesion.sightings):
        if sighting.is_present and not before:
            runs.append([])
        if sighting.is_present or before:
            runs[-1].append(_make_value(number, sighting))
        before = sighting.is_present
    return runs


def _make_value(number: int, sighting: Sighting) -> _Value:
    mark = sighting.change if sighting.change in MARKS else ""
    words = sighting.change or "first seen"
    if sighting.one_with:
        words += f", one with {', '.join(sighting.one_with)}"
    return _Value(number, sighting.volume_ml, sighting.low_ml, sighting.high_ml, mark, words)


def _draw(
    timeline: PatientTimeline,
    title: str,
    unit: str,
    tracks: Sequence[tuple[str, int, int, list[list[_Value]]]],
    anchors: Mapping[str, str],
) -> TimelineChart:
    (width, height), bottom = _SIZE, _SIZE[1] - _BELOW
    days = [scan.day for scan in timeline.scans]
    places = [float(n + 1) if day is None else float(day) for n, day in enumerate(days)]
    known = [value for *_, runs in tracks for run in runs for value in run]
    ticks = place_ticks(0.0, max([*(value.high or value.value for value in known), 0.0]) or 1.0)
    top = ticks[-1]
    first, span = min(places), (max(places) - min(places)) or 1.0

    def place_x(x: float) -> float:
        return round(_LEFT + (x - first) / span * (width - _LEFT - _RIGHT), 1)

    def place_y(y: float) -> float:
        return round(bottom - y / top * (bottom - _ABOVE), 1)

    def place_spot(name: str, value: _Value) -> Spot:
        scan = timeline.scans[value.scan]
        when = scan.case if scan.day is None else f"day {scan.day}, {scan.case}"
        bar, error = None, ""
        if value.low is not None and value.high is not None and math.isfinite(value.high):
            bar = (place_y(value.high), place_y(value.low))
            error = f" ({format_number(value.low, unit)} to {format_number(value.high, unit)})"
        text = f"{name}, {when}: {format_number(value.value, unit)} {unit}{error}, {value.words}"
        return Spot(
            place_x(places[value.scan]), place_y(value.value), bar, value.mark, text, anchors.get(scan.case, "")
        )

    drawn = []
    for name, colour, dash, runs in tracks:
        spots = [[place_spot(name, value) for value in run] for run in runs]
        path = "".join(f"{'L' if n else 'M'}{spot.x} {spot.y}" for run in spots for n, spot in enumerate(run))
        drawn.append(Track(name, colour, dash, path, tuple(spot for run in spots for spot in run)))
    seen = {spot.mark for track in drawn for spot in track.spots}
    return TimelineChart(
        title=title,
        x_title="scan" if any(day is None for day in days) else "day",
        width=width,
        height=height,
        left=_LEFT,
        bottom=bottom,
        x_ticks=tuple((place_x(x), f"{x:g}") for x in _thin_out(places, place_x)),
        y_ticks=tuple((place_y(y), f"{y:g}") for y in ticks),
        tracks=tuple(drawn),
        marks=tuple((mark, words) for mark, words in MARKS.items() if mark in seen),
        grey_count=sum(track.colour == _GREY for track in drawn) if len(drawn) > 1 else 0,
    )


def _thin_out(places: Sequence[float], place_x: Callable[[float], float]) -> list[float]:
    # Every scan has its tick, but for those whose number would run into the one before.
    kept: list[float] = []
    for x in places:
        if not kept or place_x(x) - place_x(kept[-1]) >= 30:
            kept.append(x)
    return kept
