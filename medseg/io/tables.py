"""Tables beside the images: who a case's patient is, and on which day it was taken."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medseg.core.dataset import Case
from medseg.core.errors import DatasetError, FormatError
from medseg.io.guard import check_plain, unreadable
from medseg.io.naming import Names


def read_table(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV or TSV file with a header; names of columns in lower case, cells stripped.

    Args:
        file: UTF-8 text, separated by commas, semicolons or tabs.
    Returns:
        a dictionary per row; empty rows are left out.
    Raises:
        FormatError: missing, no plain file, not UTF-8 text, or a row with more cells than the header.
    """
    check_plain(file)
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise unreadable(error, file) from None
    except UnicodeDecodeError:
        raise FormatError(
            "the file is not UTF-8 text", code="bad_table", file=file, remedy="Save it as UTF-8"
        ) from None
    header = text.partition("\n")[0]
    reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=header.count), strict=True)
    try:
        lines = [[cell.strip() for cell in line] for line in reader]
    except csv.Error as error:
        raise FormatError(f"line {reader.line_num}: {error}", code="bad_table", file=file) from None
    if not lines:
        return []
    columns = [column.lower() if column.isascii() else column for column in lines[0]]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not any(line):
            continue
        if len(line) > len(columns):
            raise FormatError(
                f"line {number} has {len(line)} cells for {len(columns)} columns", code="bad_table", file=file
            )
        rows.append(dict(zip(columns, line + [""] * (len(columns) - len(line)), strict=True)))
    return rows


def parse_day(text: str, file: Path, case: str) -> int | None:
    """Days since the first scan; None for an empty cell; raises DatasetError for what is no whole number."""
    if not text:
        return None
    try:
        day = float(text)
        if day == int(day):
            return int(day)
    except (ValueError, OverflowError):
        pass
    raise DatasetError(
        f"the day is {text!r}, expected a whole number of days", code="bad_day", case=case, file=file,
        remedy="Count the days since the patient's first scan",
    )  # fmt: skip


def name_patients(
    cases: Sequence[Case], folder: Path, names: Names
) -> tuple[tuple[Case, ...], tuple[DatasetError, ...], tuple[str, ...]]:
    """Fill in patients and days from ``cases.csv``, or the ``cases`` entry of ``dataset.json``.

    Args:
        cases: as the layout gave them.
        folder: where ``cases.csv`` may stand, with columns case, patient, day.
        names: the data set's names.
    Returns:
        the cases; a problem per case whose row is wrong, those cases left out; notes for the user.
    Raises:
        FormatError: the table is damaged or has no column ``case``.
    """
    file = folder / "cases.csv"
    rows: list[dict[str, str]] = []
    if file.is_file():
        rows = read_table(file)
        if rows and "case" not in rows[0]:
            raise FormatError(f"columns {', '.join(rows[0])}, expected case,patient,day", code="bad_table", file=file)
    elif isinstance(names.content.get("cases"), list) and names.file is not None:
        file = names.file
        entries = [entry for entry in names.content["cases"] if isinstance(entry, dict) and "case" in entry]
        rows = [{key: "" if value is None else str(value) for key, value in entry.items()} for entry in entries]
    if not rows:
        return tuple(cases), (), ()
    by_case = {row["case"]: row for row in rows}
    kept, problems = [], []
    for case in cases:
        row = by_case.get(case.name, {})
        try:
            day = parse_day(row.get("day", ""), file, case.name)
        except DatasetError as error:
            problems.append(error)
            continue
        kept.append(replace(case, patient=row.get("patient") or case.patient, day=case.day if day is None else day))
    return tuple(kept), tuple(problems), (f"patients and days from {file.name}",)
