"""Scores (against a reference) and measurements (of anatomy): one table shape for all."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from medseg.core import atomic
from medseg.core.errors import FormatError

Status = Literal[
    "ok",
    "both_empty",
    "prediction_empty",
    "reference_empty",
    "no_image",
    "no_reference",
    "not_defined",
    "failed",
]


@dataclass(frozen=True)
class Score:
    """One score of a prediction against its reference.

    Args:
        instance: 0 for the whole label, 1, 2, ... for its components, largest first.
        value: None where it is not known; ``status`` says why. Distances may be infinite.
    """

    case: str
    patient: str
    day: int | None
    fold: int | None
    label: str
    instance: int
    metric: str
    definition: str
    value: float | None
    unit: str
    status: Status


@dataclass(frozen=True)
class Measurement:
    """One measurement of a mask; ``low`` and ``high`` are its error bar where one is known."""

    case: str
    patient: str
    day: int | None
    label: str
    instance: int
    lesion_id: str
    quantity: str
    definition: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    status: Status


Row = TypeVar("Row", Score, Measurement)

# What a spreadsheet would run as a formula; an apostrophe before it says "text" and is taken off on reading.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "'")


def format_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV text: unknown values empty, infinite ones ``inf``, no cell that a spreadsheet would run as a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def write_rows(path: str | Path, rows: Sequence[Row], kind: type[Row]) -> None:
    """Write scores or measurements as CSV, whole or not at all; a table without rows has its header."""
    names = [field.name for field in fields(kind)]
    atomic.write_text(path, format_csv(names, ([getattr(row, name) for name in names] for row in rows)))


def rows_as_json(rows: Iterable[Score | Measurement]) -> list[dict[str, Any]]:
    """Scores or measurements for the JSON twin: unknown values null, infinite ones the text ``inf``."""
    return [{key: _json_value(value) for key, value in asdict(row).items()} for row in rows]


def read_rows(path: str | Path, kind: type[Row]) -> list[Row]:
    """Scores or measurements from their CSV.

    Args:
        path: a file that ``write_rows`` wrote.
        kind: Score or Measurement.
    Returns:
        the rows, in the file's order.
    Raises:
        FormatError: another header, or a cell that is not of its column's type.
    """
    names = [field.name for field in fields(kind)]
    with Path(path).open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if reader.fieldnames != names:
            raise FormatError(f"columns {reader.fieldnames}, expected {names}", code="bad_table", file=path)
        try:
            return [kind(**{name: _parse(name, cell) for name, cell in row.items()}) for row in reader]
        except (TypeError, ValueError, csv.Error) as error:
            raise FormatError(f"line {reader.line_num}: {error}", code="bad_table", file=path) from None


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(float(value))  # numpy's own numbers would write their type's name too
    if not isinstance(value, str):
        return value
    text = value.replace("\r", " ")  # Python's writer leaves it unquoted, and its reader then ends the row there
    return "'" + text if text[:1] in _FORMULA_STARTS else text


def _json_value(value: Any) -> Any:
    return "inf" if isinstance(value, float) and value == math.inf else value


def _parse(name: str | None, text: str | list[str] | None) -> Any:
    if name is None or not isinstance(text, str):
        raise ValueError("too many or too few cells")
    if name in ("value", "low", "high"):
        return float(text) if text else None
    if name in ("day", "fold"):
        return int(text) if text else None
    if name == "status" and text not in get_args(Status):
        raise ValueError(f"unknown status {text!r}")
    return int(text) if name == "instance" else text.removeprefix("'")
