"""A comparison as a figure: every patient's values by method, and the differences with their intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medseg.core import atomic
from medseg.reporting.comparison.lines import LESION_HEADLINES, Line, as_number, gather_lines, name_metric
from medseg.reporting.palette import ON_PAPER

# A figure of more is not read; comparison.csv holds all.
MOST_PANELS, MOST_LABELS = 6, 12
_GOLDEN_RATIO = 0.618034
_DOT: dict[str, Any] = {"markersize": 2.6, "alpha": 0.55, "markeredgewidth": 0}


@dataclass(frozen=True)
class _Panel:
    """A metric of several labels, with each label's values: (patient, method)."""

    lines: tuple[Line, ...]
    values: tuple[tuple[tuple[float | None, ...], ...], ...]


def draw_comparison(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write the figure of a comparison as PNG, whole or not at all.

    Args:
        path: the file, such as ``comparison.png``; the same content gives the same bytes on the same machine.
        content: what ``comparison.json`` holds.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    names, panels = content["methods"], _choose_panels(content)
    heights = [1.1 + 0.22 * len(panel.lines) * max(2, len(names)) for panel in panels] or [1.5]
    figure = Figure(figsize=(11, sum(heights) + 0.7), dpi=120, layout="constrained")
    if panels:
        axes = figure.subplots(len(panels), 2, squeeze=False, height_ratios=heights, width_ratios=(1.2, 1))
        for panel, (left, right) in zip(panels, axes, strict=True):
            _draw_values(left, panel, len(names))
            _draw_differences(right, panel, names)
        handles = [axes[0, 0].plot([], [], "s", color=_colour(n), label=_name(name))[0] for n, name in enumerate(names)]
        figure.legend(handles=handles, loc="outside upper left", ncols=min(len(names), 4), frameon=False)
    else:
        figure.text(0.5, 0.5, "No metric of whole labels is in every folder.", ha="center")
    with warnings.catch_warnings(), atomic.atomic_path(path) as temporary:
        warnings.simplefilter("ignore")  # a letter that the font does not have is drawn as a box
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _choose_panels(content: Mapping[str, Any]) -> list[_Panel]:
    values = {
        (entry["label"], entry["metric"]): tuple(
            tuple(as_number(value) for value in row) for row in entry["patients"].values()
        )
        for entry in content["values"]
    }
    metrics: dict[str, list[Line]] = {}
    for line in gather_lines(content):
        if line.metric not in LESION_HEADLINES and (line.label, line.metric) in values:
            metrics.setdefault(line.metric, []).append(line)
    return [
        _Panel(tuple(lines[:MOST_LABELS]), tuple(values[line.label, line.metric] for line in lines[:MOST_LABELS]))
        for lines in list(metrics.values())[:MOST_PANELS]
    ]


def _draw_values(axes: Axes, panel: _Panel, methods: int) -> None:
    """A row per label and method: every patient a dot, a box from quartile to quartile, a line at the median."""
    step = 1 / (methods + 1)
    for row, values in enumerate(panel.values):
        for method in range(methods):
            known = sorted(value for patient in values if (value := patient[method]) is not None)
            finite, y = [value for value in known if math.isfinite(value)], row + (method + 1) * step - 0.5
            spread = [y + ((n * _GOLDEN_RATIO) % 1 - 0.5) * 0.5 * step for n in range(len(finite))]
            axes.plot(finite, spread, "o", color=_colour(method), **_DOT)
            if len(finite) > 2:
                _draw_box(axes, finite, y, 0.36 * step, _colour(method))
            if len(finite) < len(known):
                text = f"{len(known) - len(finite)} × ∞"
                axes.annotate(
                    text, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=7,
                    color=_colour(method), annotation_clip=False,
                )  # fmt: skip
    _finish(axes, panel)
    arrow = {"higher": " (higher is better)", "lower": " (lower is better)"}.get(panel.lines[0].better, "")
    axes.set_title(f"{_plain(name_metric(panel.lines[0]))}{arrow}", fontsize=9, loc="left")


def _draw_box(axes: Axes, ordered: Sequence[float], y: float, half: float, colour: str) -> None:
    low, middle, high = (_find_quantile(ordered, part) for part in (0.25, 0.5, 0.75))
    axes.plot(
        [low, high, high, low, low], [y - half, y - half, y + half, y + half, y - half], color=colour, linewidth=1.2
    )
    axes.plot([middle, middle], [y - half, y + half], color=colour, linewidth=2.2)


def _draw_differences(axes: Axes, panel: _Panel, names: Sequence[str]) -> None:
    """A row per label: each method minus the first, with its 95 % interval (dotted where endless); margins dashed."""
    axes.axvline(0, color="0.4", linewidth=0.8)
    endless: list[tuple[float, float, float, str]] = []
    for row, line in enumerate(panel.lines):
        pairs = [pair for pair in line.pairs if pair["first"] == names[0]]
        for place, pair in enumerate(pairs, start=1):
            y, colour = row + place / (len(pairs) + 1) - 0.5, _colour(names.index(pair["second"]))
            middle, low, high = (as_number(pair[key]) for key in ("difference", "low", "high"))
            if middle is None or low is None or high is None:
                axes.annotate(
                    _plain(pair["reason"]), (0.5, y), xycoords=("axes fraction", "data"), fontsize=7, ha="center",
                    va="center", color="0.4",
                )  # fmt: skip
                continue
            axes.plot([middle], [y], "o", color=colour, markersize=5)
            for end in (low, high):
                if math.isfinite(end):
                    axes.plot([middle, end], [y, y], color=colour, linewidth=1.6)
                else:
                    endless.append((middle, end, y, colour))
        if line.pairs[0]["margin"] is not None:
            margin = -line.pairs[0]["margin"] if line.better == "higher" else line.pairs[0]["margin"]
            axes.plot([margin, margin], [row - 0.5, row + 0.5], "--", color="0.4", linewidth=1)
    left, right = axes.get_xlim()
    for middle, end, y, colour in endless:  # dotted, out of the picture
        axes.plot([middle, right if end > 0 else left], [y, y], ":", color=colour, linewidth=1.6)
    axes.set_xlim(left, right)
    _finish(axes, panel)
    axes.tick_params(axis="y", labelleft=False)
    axes.set_title(f"difference to {_plain(names[0])}, 95 % interval", fontsize=9, loc="left")


def _finish(axes: Axes, panel: _Panel) -> None:
    axes.set_ylim(len(panel.lines) - 0.5, -0.5)
    axes.set_yticks(range(len(panel.lines)), [_plain(_shorten(line.label)) for line in panel.lines], fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _find_quantile(ordered: Sequence[float], part: float) -> float:
    place = part * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))


def _name(method: str) -> str:
    # A name that begins with an underscore is left out of legends.
    return _plain(_shorten(f" {method}" if method.startswith("_") else method, 40))


def _colour(method: int) -> str:
    return ON_PAPER[method % len(ON_PAPER)]


def _shorten(text: str, most: int = 24) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _plain(text: str) -> str:
    # Between two dollar signs matplotlib would read mathematics.
    return "".join(character if character.isprintable() else "�" for character in text).replace("$", r"\$")
