"""One row of ``longitudinal.csv``: one quantity of one lesion, or of a whole label, in two scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from medseg.measurement.longitudinal.growth import measure_doubling_time

COLUMNS = (
    *("patient", "lesion_id", "label", "day_from", "day_to", "change", "quantity", "from", "to"),
    *("difference", "percent", "beyond_error", "unit", "status"),
)
ChangeStatus = Literal["ok", "not_defined", "no_day", "merged"]
# Patient, lesion id, label, and the days of both scans.
Tag = tuple[str, str, str, int | None, int | None]


@dataclass(frozen=True)
class Change:
    """One quantity of one lesion in two scans.

    Args:
        lesion_id: the lesion's, the same in all scans; empty for the whole label.
        day_from, day_to: days since the patient's first scan; None where they are not known.
        change: ``stable grown shrunk new gone merged split``.
        value_from, value_to: the quantity in the earlier and the later scan, 0 where the lesion is absent; of a rate
            (doubling time) ``value_to`` alone.
        percent: the difference in percent of ``value_from``; None where that is 0.
        beyond_error: ``yes``, ``no`` or ``unknown``, by the error bars of both values.
        status: ``ok``; ``not_defined``; ``no_day``; ``merged`` for a lesion that is one with another in either scan,
            whose row has the numbers of both.
        scan_from, scan_to: the scans' numbers, counted from 0.
        against: what the earlier scan is to the later one: ``baseline``, ``nadir``, ``previous``, or several of them.
    """

    patient: str
    lesion_id: str
    label: str
    day_from: int | None
    day_to: int | None
    change: str
    quantity: str
    value_from: float | None
    value_to: float | None
    difference: float | None
    percent: float | None
    beyond_error: str
    unit: str
    status: ChangeStatus
    scan_from: int = 0
    scan_to: int = 0
    against: tuple[str, ...] = ()

    def cells(self) -> tuple[Any, ...]:
        """The row's cells in the order of ``COLUMNS``."""
        return tuple(vars(self).values())[: len(COLUMNS)]


def make_change(
    tag: Tag, change: str, quantity: str, first: float, second: float, unit: str, beyond: str = "unknown"
) -> Change:
    """A row with its difference, and in percent where the earlier value is not 0."""
    difference = second - first
    percent = 100 * difference / first if first else None
    return Change(*tag, change, quantity, first, second, difference, percent, beyond, unit, "ok")


def make_rate(tag: Tag, change: str, first: float, second: float) -> Change:
    """A row of the doubling time; None with ``no_day`` without days and with ``not_defined`` without growth."""
    day_from, day_to = tag[3], tag[4]
    if day_from is None or day_to is None:
        return Change(*tag, change, "doubling_time_days", None, None, None, None, "unknown", "days", "no_day")
    days = measure_doubling_time(first, second, day_to - day_from)
    status: ChangeStatus = "not_defined" if days is None else "ok"
    return Change(*tag, change, "doubling_time_days", None, days, None, None, "unknown", "days", status)
