"""Scores and volumes as plain text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from medseg.core.results import Measurement, Score
from medseg.reporting.aggregates import aggregate_scores, number_of
from medseg.reporting.cohort import MeasuredRow, gather_measurements
from medseg.reporting.quantities import DASH, format_interval, format_number, format_score, format_value, title_of

# Where there are more metrics than a terminal is wide, these are shown; all stand in scores.csv.
MOST_METRICS = 12
HEADLINES = (
    "dice",
    "iou",
    "hd95",
    "assd",
    "nsd",
    "lesion_f1",
    "lesion_recall",
    "lesion_precision",
    "pq",
    "ece",
    "ap50",
)


def format_score_table(scores: Sequence[Score]) -> str:
    """The mean of each metric by label, as aligned text.

    Args:
        scores: the rows of all cases, in any order; single lesions are left out.
    Returns:
        a line per label with the cases that have a Dice (else a value), and for each metric the mean, with its 95 %
        interval for the first metric; infinite values are left out of the means and marked with ``*``. Of more than
        ``MOST_METRICS`` metrics only ``HEADLINES``. One sentence where there is no score.
    """
    labels = aggregate_scores(scores)["labels"]
    if not labels:
        return "No scores."
    metrics = list(dict.fromkeys(metric for entries in labels.values() for metric in entries))
    if len(metrics) > MOST_METRICS:
        metrics = [metric for metric in metrics if metric in HEADLINES] or metrics[:MOST_METRICS]
        labels = {name: entries for name, entries in labels.items() if not entries.keys().isdisjoint(metrics)}
    first = "dice" if "dice" in metrics else metrics[0]
    metrics = [first, *(metric for metric in metrics if metric != first)]
    units = {metric: entry["unit"] for entries in labels.values() for metric, entry in entries.items()}
    heading = ["label", "cases", *(f"{title_of(m)}{f' {units[m]}' if units[m] else ''}" for m in metrics)]
    lines = [heading]
    left_out = False
    for label, entries in labels.items():
        count = entries.get(first, next(iter(entries.values())))["n"]
        line = [label, str(count)]
        for metric in metrics:
            entry = entries.get(metric, {})
            mean, low, high = (number_of(entry, key) for key in ("finite_mean", "low", "high"))
            text = format_score(mean, units[metric])
            if metric == first and low is not None and high is not None:
                text += f" [{format_score(low, units[metric])}, {format_score(high, units[metric])}]"
            infinite = bool(entry) and entry["finite_n"] < entry["n"]
            left_out |= infinite
            line.append(f"{text}*" if infinite else text)
        lines.append(line)
    note = "\n* without infinite distances (one of the two masks is empty)" if left_out else ""
    return align_columns(lines, words=1) + note


def format_volume_table(measurements: Sequence[Measurement]) -> str:
    """Volume, lesions and diameters by case and label, as aligned text.

    Args:
        measurements: the rows of all cases, in any order.
    Returns:
        a line per case and label, volumes with their error bar in brackets; a dash where a value is not known. One
        sentence where there is no measurement.
    """
    labels = list(dict.fromkeys(row.label for row in measurements))
    rows = [row for row in gather_measurements(measurements, labels) if row.instance == 0]
    if not rows:
        return "No measurements."
    with_day = any(row.day is not None for row in rows)
    words = ["case", *(["day"] if with_day else []), "label"]
    lines = [[*words, "volume ml", "lesions", "axial mm", "border"]]
    for row in rows:
        day = [DASH if row.day is None else str(row.day)] if with_day else []
        lines.append([row.case, *day, row.label, *_measured(row)])
    return align_columns(lines, words=len(words))


def _measured(row: MeasuredRow) -> list[str]:
    longest, across = row.value("diameter_axial_mm"), row.value("diameter_perpendicular_mm")
    axial = DASH if longest is None else f"{format_number(longest, 'mm')} x {format_value(across, 'mm')}"
    border = row.value("touches_border")
    volume = row.quantities.get("volume_ml")
    return [
        DASH if volume is None else format_interval(volume.value, volume.low, volume.high, "ml"),
        format_value(row.value("lesion_count"), "count"),
        axial,
        DASH if border is None else "touches" if border else "no",
    ]


def align_columns(lines: Sequence[Sequence[str]], *, words: int) -> str:
    """A table as text.

    Args:
        lines: cells of each line, the heading first; as many in each.
        words: how many columns hold words and stand to the left; numbers stand to the right.
    Returns:
        columns side by side, a rule under the heading.
    """
    # A name may hold characters that steer the terminal; those are shown as a replacement character.
    shown = [
        ["".join(c if c.isprintable() or c == "\u202f" else "\ufffd" for c in text) for text in line] for line in lines
    ]
    widths = [max(cell_len(text) for text in column) for column in zip(*shown, strict=True)]
    aligned = []
    for line in shown:
        cells = [
            text + " " * (width - cell_len(text)) if n < words else " " * (width - cell_len(text)) + text
            for n, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        aligned.append("  ".join(cells).rstrip())
    return "\n".join([aligned[0], "  ".join("─" * width for width in widths), *aligned[1:]])
