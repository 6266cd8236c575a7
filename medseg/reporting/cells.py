"""What stands in a cell of the report's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medseg.core.results import Score
from medseg.reporting.aggregates import number_of
from medseg.reporting.cohort import MeasuredRow
from medseg.reporting.palette import colour_number
from medseg.reporting.quantities import (
    DASH,
    explain_status,
    format_interval,
    format_score,
    format_value,
)


@dataclass(frozen=True)
class Column:
    """A column's heading, its unit, and whether it holds numbers (aligned right) or words."""

    title: str
    unit: str = ""
    numeric: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Cell:
    """What stands in a cell.

    Args:
        text: what is read.
        value: the number or text to sort by; None sorts last.
        hint: a tooltip: why a value is missing, its definition or its error bar.
        link: an anchor of the page.
        kind: how it looks: ``missing``, ``alert``, ``quiet``, ``label``, ``long`` (wide words) or ``path``.
        colour: the label's colour; None for cells without one.
        rows: how many rows it spans; 0 leaves the cell out, because one above spans this row.
    """

    text: str
    value: float | str | None = None
    hint: str = ""
    link: str = ""
    kind: str = ""
    colour: int | None = None
    rows: int = 1


@dataclass(frozen=True)
class Table:
    """A table; ``sortable`` ones get buttons in their headings."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = True


AXIAL = Column("Axial diameters", "mm", True, "longest × perpendicular, in one axial slice")


def label_cell(name: str, names: Sequence[str], rows: int = 1) -> Cell:
    """A label's name with its colour."""
    return Cell(name, name, kind="label", colour=colour_number(names, name), rows=rows)


def score_cell(score: Score | None) -> Cell:
    """A score, or a dash whose tooltip says why there is none."""
    if score is None:
        return Cell(DASH, None, "not scored", kind="missing")
    hint = "" if score.status == "ok" else explain_status(score.status)
    kind = "missing" if score.value is None else "alert" if hint else ""
    return Cell(format_score(score.value, score.unit), score.value, hint, kind=kind)


def quantity_cell(row: MeasuredRow, quantity: str, unit: str) -> Cell:
    """A measurement with its error bar, its definition as tooltip, or a dash that says why it is not known."""
    found = row.quantities.get(quantity)
    if found is None or found.value is None:
        return Cell(DASH, None, explain_status(row.status(quantity)), kind="missing")
    hint = found.definition if found.low is None else f"{found.definition}; in brackets its 95 % error bar"
    return Cell(format_interval(found.value, found.low, found.high, unit), found.value, hint)


def axial_cell(row: MeasuredRow) -> Cell:
    """The longest axial diameter and its perpendicular: ``43.2 × 21.0``."""
    longest = quantity_cell(row, "diameter_axial_mm", "mm")
    across = quantity_cell(row, "diameter_perpendicular_mm", "mm")
    if longest.kind == "missing":
        return longest
    return Cell(f"{longest.text} × {across.text}", longest.value, longest.hint)


def border_cell(row: MeasuredRow) -> Cell:
    """``yes`` where the mask touches the scan's border."""
    value = row.value("touches_border")
    if value is None:
        return Cell(DASH, None, explain_status(row.status("touches_border")), kind="missing")
    return Cell("yes" if value else "no", value, kind="alert" if value else "quiet")


def measured_cells(row: MeasuredRow) -> list[Cell]:
    """Volume, lesions, axial diameters and border of a label in a case."""
    lesions = quantity_cell(row, "lesion_count", "count")
    return [quantity_cell(row, "volume_ml", "ml"), lesions, axial_cell(row), border_cell(row)]


def number_cell(value: float | None, unit: str, why_missing: str) -> Cell:
    """A number with its unit, or a dash whose tooltip says why there is none."""
    missing = value is None
    return Cell(format_value(value, unit), value, why_missing if missing else "", kind="missing" if missing else "")


def score_number_cell(value: float | None, unit: str) -> Cell:
    """A number on a score's scale, or a dash where no case has a value."""
    missing = value is None
    hint = "no case has a value" if missing else ""
    return Cell(format_score(value, unit), value, hint, kind="missing" if missing else "")


def mean_cell(entry: Mapping[str, Any]) -> Cell:
    """A mean with its interval and how many values are infinite; of a summary's entry."""
    mean, unit = number_of(entry, "finite_mean"), entry.get("unit", "")
    if mean is None:
        return Cell(DASH, None, "no case has a value", kind="missing")
    low, high = number_of(entry, "low"), number_of(entry, "high")
    interval = "" if low is None or high is None else f" [{format_score(low, unit)}, {format_score(high, unit)}]"
    infinite = entry.get("n", 0) - entry.get("finite_n", 0)
    hint = "infinite values (one of the two masks is empty) are left out of the mean" if infinite else ""
    return Cell(f"{format_score(mean, unit)}{interval}{f' + {infinite} × ∞' if infinite else ''}", mean, hint)
