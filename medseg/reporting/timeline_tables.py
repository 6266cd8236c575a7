"""A patient's timeline as tables: scans, whole labels, lesions, and the RECIST arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medseg.reporting.cells import Cell, Column, Table, label_cell
from medseg.reporting.quantities import DASH, format_change, format_interval, format_number
from medseg.reporting.timelines import PatientTimeline, ScanOfPatient, Sighting, Total

_AGAINST = ("baseline", "previous", "nadir")
_PLACED = {
    "first_scan": "the others are brought to it",
    "same_grid": "same grid: taken as aligned",
    "not_registered": "not registered",
}
_BEYOND = {
    "yes": "beyond the error of both volumes",
    "no": "within the error of both volumes",
    "unknown": "the volumes' error is not known",
}


def tabulate_scans(timeline: PatientTimeline, anchors: Mapping[str, str]) -> Table:
    """A line per scan: its day, and how it was brought to the first one.

    Args:
        timeline: of one patient.
        anchors: case to the place of its pictures on the page.
    Returns:
        the table.
    """
    columns = (Column("Day", "", True), Column("Case"), Column("Brought to the first scan"))
    lines = []
    for scan in timeline.scans:
        words = describe_placement(scan.placement)
        doubtful = bool(scan.placement["warnings"])
        hint = "; ".join(scan.placement["warnings"])
        placed = Cell(words, words, hint, kind="alert" if doubtful else "long")
        lines.append((*_scan_cells(scan, anchors), placed))
    return Table(columns, tuple(lines), sortable=False)


def describe_placement(placement: Mapping[str, Any]) -> str:
    """How a scan was brought to the first one, in words: ``registered (rigid) by images: turned 12.3 degrees, ...``."""
    if placement["method"] in _PLACED:
        return f"{_PLACED[placement['method']]}{': ' + placement['reason'] if placement['reason'] else ''}"
    words = f"registered ({placement['kind']}) by {placement['method']}: turned {placement['turn_degrees']:.1f}°"
    words += f", moved {placement['shift_mm']:.1f} mm"
    if placement["kind"] == "affine":
        words += f", lengths × {placement['stretch'][0]:.3f} to {placement['stretch'][1]:.3f}"
    return f"{words}; {placement['shared_field_of_view']:.0%} of the field of view shared"


def tabulate_totals(timeline: PatientTimeline, names: Sequence[str], anchors: Mapping[str, str]) -> Table:
    """A line per label and scan: volume with its error bar, and its change against first, previous and lowest.

    Args:
        timeline: of one patient.
        names: the labels' names in order.
        anchors: case to the place of its pictures on the page.
    Returns:
        the table.
    """
    columns = (
        *(Column("Label"), Column("Day", "", True), Column("Case"), Column("Volume", "ml", True)),
        Column("Lesions", "", True),
        *(Column(f"Against {against}", "ml, %", True) for against in _AGAINST),
    )
    lines = []
    for label, totals in timeline.labels.items():
        for number, (scan, total) in enumerate(zip(timeline.scans, totals, strict=True)):
            changes = [
                timeline.changes.get(("", label, "volume_ml", scan.case, against)) if number else None
                for against in _AGAINST
            ]
            lines.append(
                (
                    label_cell(label, names, 0 if number else len(totals)),
                    *_scan_cells(scan, anchors),
                    _volume_cell(total),
                    Cell(str(total.lesion_count), total.lesion_count),
                    *(_change_cell(change) for change in changes),
                )
            )
    return Table(columns, tuple(lines), sortable=False)


def tabulate_lesions_over_time(timeline: PatientTimeline, names: Sequence[str]) -> Table:
    """A line per lesion: its volume and what became of it in each scan, and how fast it doubled over all of them.

    Args:
        timeline: of one patient.
        names: the labels' names in order.
    Returns:
        the table, sortable by each scan's volume.
    """
    last = timeline.scans[-1].case
    columns = (
        *(Column("Lesion"), Column("Label")),
        *(Column(scan.case if scan.day is None else f"Day {scan.day}", "ml", True) for scan in timeline.scans),
        Column("Change", "ml, % since the first scan", True),
        Column("Doubling time", "days", True, "from the first to the last scan, of growing lesions"),
    )
    lines = []
    for lesion in timeline.lesions:
        key = (lesion.lesion_id, lesion.label)
        change, doubling = (
            timeline.changes.get((*key, q, last, "baseline")) for q in ("volume_ml", "doubling_time_days")
        )
        lines.append(
            (
                Cell(lesion.lesion_id, lesion.lesion_id, kind="label"),
                label_cell(lesion.label, names),
                *(_sighting_cell(sighting) for sighting in lesion.sightings),
                _change_cell(change),
                _doubling_cell(doubling),
            )
        )
    return Table(columns, tuple(lines))


def tabulate_response(timeline: PatientTimeline, anchors: Mapping[str, str]) -> Table | None:
    """A line per scan: the sum of target diameters, its changes, the category and the rule that fired.

    Args:
        timeline: of one patient.
        anchors: case to the place of its pictures on the page.
    Returns:
        the table; None where there is no target.
    """
    scans = (timeline.recist or {}).get("scans", ())
    if not scans:
        return None
    columns = (
        *(Column("Day", "", True), Column("Case"), Column("Sum", "mm", True)),
        *(Column("From baseline", "%", True), Column("From nadir", "%", True)),
        *(Column("Category"), Column("Rule that fired"), Column("New lesions")),
    )
    lines = []
    for scan, entry in zip(timeline.scans, scans, strict=True):
        diameters = "; ".join(f"{name} {format_number(size, 'mm')} mm" for name, size in entry["diameters_mm"].items())
        total = entry["sum_of_diameters_mm"]
        new = ", ".join(entry["new_lesions"])
        unsettled = entry["category_if_new_lesions_are_real"] != entry["category"]
        hint = f"{entry['category_if_new_lesions_are_real']} if these are real" if unsettled else ""
        lines.append(
            (
                *_scan_cells(scan, anchors),
                Cell(format_number(total, "mm"), total, diameters),
                _percent_cell(entry["percent_from_baseline"]),
                _percent_cell(entry["percent_from_nadir"]),
                Cell(entry["category"], entry["category"], kind="alert" if entry["category"] == "PD" else "label"),
                Cell(entry["rule"], entry["rule"], kind="long"),
                Cell(f"{new} ({hint})" if hint else new or DASH, new, kind="long" if new else "missing"),
            )
        )
    return Table(columns, tuple(lines), sortable=False)


def _scan_cells(scan: ScanOfPatient, anchors: Mapping[str, str]) -> tuple[Cell, Cell]:
    day = Cell(DASH, None, "no day is known", kind="missing") if scan.day is None else Cell(str(scan.day), scan.day)
    return day, Cell(scan.case, scan.case, link=anchors.get(scan.case, ""))


def _volume_cell(total: Total | Sighting) -> Cell:
    hint = "its error is not known" if total.low_ml is None else "in brackets its 95 % error bar"
    return Cell(format_interval(total.volume_ml, total.low_ml, total.high_ml, "ml"), total.volume_ml, hint)


def _sighting_cell(sighting: Sighting) -> Cell:
    if not sighting.is_present:
        return Cell(sighting.change or DASH, None, "absent", kind="missing")
    volume = _volume_cell(sighting)
    hint = volume.hint if not sighting.one_with else f"one with {', '.join(sighting.one_with)}"
    text = f"{volume.text} {sighting.change}".rstrip()
    return Cell(text, sighting.volume_ml, hint, kind="quiet" if sighting.change == "stable" else "")


def _change_cell(change: Mapping[str, Any] | None) -> Cell:
    if change is None:
        return Cell(DASH, None, "absent in both scans, or the first scan itself", kind="missing")
    if change["difference"] is None:
        return Cell(change["change"], None, "one with another lesion, whose line has the numbers", kind="missing")
    text = format_change(change["difference"], "ml")
    if change["percent"] is not None:
        text += f" ({format_change(change['percent'], '%')} %)"
    hint = f"{change['change']}; {_BEYOND[change['beyond_error']]}"
    return Cell(text, change["difference"], hint, kind="alert" if change["beyond_error"] == "yes" else "")


def _doubling_cell(row: Mapping[str, Any] | None) -> Cell:
    # Of a volume that is stable by the threshold the table of changes alone has it: it may double in twenty years.
    if row is not None and row["change"] == "stable":
        return Cell(DASH, None, "stable", kind="missing")
    if row is None or row["to"] is None:
        why = {"no_day": "no days are known", "merged": "one with another lesion"}
        return Cell(DASH, None, why.get(row["status"], "did not grow") if row else "absent in both", kind="missing")
    return Cell(format_number(row["to"], "count"), row["to"])


def _percent_cell(value: float | None) -> Cell:
    return Cell(DASH if value is None else format_change(value, "%"), value, kind="missing" if value is None else "")
