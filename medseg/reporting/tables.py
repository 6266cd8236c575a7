"""The report's tables, cell by cell, ready for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medseg.core.manifest import CaseOutcome
from medseg.core.results import Score
from medseg.reporting.aggregates import number_of
from medseg.reporting.cells import (
    AXIAL,
    Cell,
    Column,
    Table,
    axial_cell,
    border_cell,
    label_cell,
    mean_cell,
    measured_cells,
    number_cell,
    quantity_cell,
    score_cell,
    score_number_cell,
)
from medseg.reporting.cohort import Course, MeasuredRow, rank_label
from medseg.reporting.quantities import (
    DASH,
    explain_status,
    format_change,
    format_score,
    title_of,
)

# As many scores as fit on a printed page; scores.csv holds all of them.
_CASE_METRICS = ("dice", "nsd", "hd95", "assd", "lesion_f1")


def tabulate_overview(rows: Sequence[MeasuredRow], summary: Mapping[str, Any], names: Sequence[str]) -> Table:
    """A line per label: mean Dice with its interval, cases that have it, total volume and lesions.

    Args:
        rows: measurements by case and label.
        summary: the scores' summary.
        names: the labels' names in order.
    Returns:
        the table; columns without any row are left out.
    """
    scored = summary.get("labels", {})
    columns = [Column("Label")]
    if scored:
        columns.append(Column("Mean Dice", "95 % interval", True, "over cases; the interval draws patients again"))
    if rows:
        columns += [Column("Cases with it", "", True), Column("Total volume", "ml", True), Column("Lesions", "", True)]
    lines = []
    for name in _all_labels(names, [row.label for row in rows], list(scored)):
        cells = [label_cell(name, names)]
        if scored:
            cells.append(mean_cell(scored.get(name, {}).get("dice", {})))
        if rows:
            cells += _sum_cells([row for row in rows if row.label == name and row.instance == 0])
        lines.append(tuple(cells))
    return Table(tuple(columns), tuple(lines), sortable=False)


def tabulate_scores(summary: Mapping[str, Any], names: Sequence[str]) -> Table:
    """A line per label and metric: n, mean with interval, median, quartiles, and what was not scored.

    Args:
        summary: the scores' summary.
        names: the labels' names in order.
    Returns:
        the table, without lines where there is no score.
    """
    columns = (
        Column("Label"),
        Column("Metric"),
        Column("n", "", True, "cases with a value"),
        Column("Mean", "95 % interval", True, "without infinite values; the interval draws patients again"),
        Column("Median", "", True),
        Column("Quartiles", "", True, "25th to 75th percentile"),
        Column("Statuses"),
    )
    lines: list[tuple[Cell, ...]] = []
    scored = summary.get("labels", {})
    for name in _all_labels(names, [], list(scored)):
        for number, (metric, entry) in enumerate(scored.get(name, {}).items()):
            lines.append((label_cell(name, names, 0 if number else len(scored[name])), *_spread_cells(metric, entry)))
    return Table(columns, tuple(lines), sortable=False)


def tabulate_cohort(
    rows: Sequence[MeasuredRow],
    scores: Mapping[tuple[str, str], Mapping[str, Score]],
    names: Sequence[str],
    anchors: Mapping[str, str],
) -> Table:
    """A line per case and label: volume, lesions, diameters, border, Dice.

    Args:
        rows: measurements by case and label; lesions are left out.
        scores: by (case, label) and metric.
        names: the labels' names in order.
        anchors: case to the place of its pictures on the page.
    Returns:
        the table, sortable.
    """
    whole = [row for row in rows if row.instance == 0]
    who = _identity_columns(whole)
    columns = [*who, Column("Label"), Column("Volume", "ml", True), Column("Lesions", "", True), AXIAL]
    columns.append(Column("At border", "", False, "the mask touches the scan's outermost voxels"))
    if scores:
        columns.append(Column("Dice", "", True))
    lines = []
    for row in whole:
        cells = [*_identity_cells(row, who, anchors), label_cell(row.label, names), *measured_cells(row)]
        if scores:
            cells.append(score_cell(scores.get((row.case, row.label), {}).get("dice")))
        lines.append(tuple(cells))
    return Table(tuple(columns), tuple(lines))


def tabulate_lesions(rows: Sequence[MeasuredRow], names: Sequence[str], anchors: Mapping[str, str]) -> Table:
    """A line per lesion: volume, diameters, border.

    Args:
        rows: measurements by case, label and lesion; whole labels are left out.
        names: the labels' names in order.
        anchors: case to the place of its pictures on the page.
    Returns:
        the table, sortable.
    """
    lesions = [row for row in rows if row.instance > 0]
    who = _identity_columns(lesions)
    columns = (*who, Column("Label"), Column("Lesion"), Column("Volume", "ml", True), AXIAL)
    columns += (Column("Longest in 3D", "mm", True), Column("At border"))
    lines = tuple(
        (
            *_identity_cells(row, who, anchors),
            label_cell(row.label, names),
            Cell(row.lesion_id or str(row.instance), row.instance),
            quantity_cell(row, "volume_ml", "ml"),
            axial_cell(row),
            quantity_cell(row, "diameter_3d_mm", "mm"),
            border_cell(row),
        )
        for row in lesions
    )
    return Table(columns, lines)


def tabulate_course(courses: Sequence[Course], names: Sequence[str], anchors: Mapping[str, str]) -> Table:
    """A line per label and day of one patient: volume and its change since the first day.

    Args:
        courses: one patient's.
        names: the labels' names in order.
        anchors: case to the place of its pictures on the page.
    Returns:
        the table.
    """
    change = "since the first day"
    columns = (
        Column("Label"),
        Column("Day", "", True),
        Column("Case"),
        Column("Volume", "ml", True),
        Column("Change", "ml", True, change),
        Column("Change", "%", True, change),
    )
    lines = []
    for course in courses:
        for number, point in enumerate(course.points):
            first = number == 0
            why = "the first day" if first else "a volume is not known, or the first one is 0"
            changes = ((None if first else point.change_ml, "ml"), (None if first else point.change_percent, "%"))
            lines.append(
                (
                    label_cell(course.label, names, 0 if number else len(course.points)),
                    Cell(str(point.day), point.day),
                    Cell(point.case, point.case, link=anchors.get(point.case, "")),
                    number_cell(point.volume_ml, "ml", "not known"),
                    *(
                        Cell(format_change(v, u), v, why if v is None else "", kind="missing" if v is None else "")
                        for v, u in changes
                    ),
                )
            )
    return Table(columns, tuple(lines), sortable=False)


def tabulate_case(
    rows: Sequence[MeasuredRow], scores: Mapping[str, Mapping[str, Score]], names: Sequence[str]
) -> Table:
    """A line per label of one case: its measurements and the scores that are read most.

    Args:
        rows: the case's whole labels.
        scores: by label and metric.
        names: the labels' names in order.
    Returns:
        the table; without lines where nothing is known of the case.
    """
    there = list(dict.fromkeys(metric for found in scores.values() for metric in found))
    metrics = [metric for metric in _CASE_METRICS if metric in there] or there[: len(_CASE_METRICS)]
    by_label = {row.label: row for row in rows}
    columns = [Column("Label")]
    if rows:
        columns += [Column("Volume", "ml", True), Column("Lesions", "", True), AXIAL, Column("At border")]
    units = {metric: found[metric].unit for found in scores.values() for metric in found}
    columns += [Column(_capital(title_of(metric)), units[metric], True) for metric in metrics]
    lines = []
    for name in _all_labels(names, list(by_label), list(scores), only_known=True):
        cells = [label_cell(name, names)]
        if rows:
            empty = MeasuredRow("", "", None, name, 0, "", {})
            cells += measured_cells(by_label.get(name, empty))
        cells += [score_cell(scores.get(name, {}).get(metric)) for metric in metrics]
        lines.append(tuple(cells))
    return Table(tuple(columns), tuple(lines), sortable=False)


def tabulate_outcomes(outcomes: Sequence[CaseOutcome]) -> Table:
    """A line per case that was refused or failed: why, and what to do."""
    titles = ("Case", "What happened", "Code", "Reason", "What to do", "File")
    kinds = ("", "", "", "long", "long", "path")
    lines = tuple(
        tuple(
            Cell(text or DASH, text, kind=kind if text else "missing")
            for text, kind in zip(
                (o.case, o.status, o.code, o.reason, o.remedy, o.inputs[0] if o.inputs else ""), kinds, strict=True
            )
        )
        for o in outcomes
        if o.status in ("refused", "failed")
    )
    return Table(tuple(Column(title) for title in titles), lines, sortable=False)


def _identity_columns(rows: Sequence[MeasuredRow]) -> tuple[Column, ...]:
    columns = [Column("Case")]
    if any(row.patient != row.case for row in rows):
        columns.append(Column("Patient"))
    if any(row.day is not None for row in rows):
        columns.append(Column("Day", "", True, "days since the patient's first scan"))
    return tuple(columns)


def _identity_cells(row: MeasuredRow, columns: Sequence[Column], anchors: Mapping[str, str]) -> list[Cell]:
    cells = {
        "Case": Cell(row.case, row.case, link=anchors.get(row.case, "")),
        "Patient": Cell(row.patient, row.patient),
        "Day": number_cell(row.day, "count", "no day is known"),
    }
    return [cells[column.title] for column in columns]


def _spread_cells(metric: str, entry: Mapping[str, Any]) -> tuple[Cell, ...]:
    unit = entry.get("unit", "")
    title = f"{_capital(title_of(metric))}{f' ({unit})' if unit else ''}"
    low, high = number_of(entry, "q25"), number_of(entry, "q75")
    quartiles = DASH if low is None or high is None else f"{format_score(low, unit)} to {format_score(high, unit)}"
    odd = [(status, count) for status, count in entry.get("statuses", {}).items() if status != "ok"]
    statuses = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in odd)
    hint = "; ".join(f"{status.replace('_', ' ')}: {explain_status(status)}" for status, _ in odd)
    return (
        Cell(title, metric, entry.get("definition", "")),
        Cell(str(entry.get("n", 0)), entry.get("n", 0)),
        mean_cell(entry),
        score_number_cell(number_of(entry, "median"), unit),
        Cell(quartiles, low, kind="missing" if low is None else ""),
        Cell(statuses or "all ok", statuses, hint, kind="long" if statuses else "quiet"),
    )


def _sum_cells(rows: Sequence[MeasuredRow]) -> list[Cell]:
    volumes = [volume for row in rows if (volume := row.value("volume_ml")) is not None]
    lesions = [count for row in rows if (count := row.value("lesion_count")) is not None]
    there = sum(volume > 0 for volume in volumes)
    return [
        Cell(f"{there} of {len(rows)}", there),
        number_cell(sum(volumes) if volumes else None, "ml", "no volume is known"),
        number_cell(sum(lesions) if lesions else None, "count", "no count is known"),
    ]


def _all_labels(names: Sequence[str], *found: Sequence[str], only_known: bool = False) -> list[str]:
    seen = dict.fromkeys(name for group in found for name in group)
    wanted = seen if only_known else {**dict.fromkeys(names), **seen}
    return sorted(wanted, key=lambda name: rank_label(name, names))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
