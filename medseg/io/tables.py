"""Tables beside the images: who a case's patient is, and on which day it was taken."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medseg.core.dataset import Case
from medseg.core.errors import DatasetError, FormatError
from medseg.io.guard import check_plain, unreadable
from medseg.io.naming import Names

SHOWN_NAMES = 5


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
    cases: Sequence[Case], folder: Path, names: Names, *, others: Sequence[Case] = ()
) -> tuple[tuple[Case, ...], tuple[DatasetError, ...], tuple[str, ...]]:
    """Fill in patients and days from ``cases.csv``, or the ``cases`` entry of ``dataset.json``.

    Args:
        cases: as the layout gave them.
        folder: where ``cases.csv`` may stand, with columns case, patient, day.
        names: the data set's names.
        others: further cases that the table may name.
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
    by_case: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_case.setdefault(row["case"], []).append(row)
    kept, problems = [], []
    for case in cases:
        try:
            row = _join_rows(by_case.get(case.name, []), file, case.name)
            day = parse_day(row.get("day", ""), file, case.name)
        except DatasetError as error:
            problems.append(error)
            continue
        kept.append(replace(case, patient=row.get("patient") or case.patient, day=case.day if day is None else day))
    notes = (f"patients and days from {file.name}", *_compare_names(rows, cases, others, file.name))
    return tuple(kept), tuple(problems), notes


def _join_rows(rows: Sequence[Mapping[str, str]], file: Path, case: str) -> dict[str, str]:
    """What the rows of one case say together; raises DatasetError where they contradict one another."""
    joined: dict[str, str] = {}
    for row in rows:
        for key in ("patient", "day"):
            said = row.get(key, "")
            if said and joined.setdefault(key, said) != said:
                raise DatasetError(
                    f"its rows name the {key}s {joined[key]} and {said}", code="duplicate_case", case=case, file=file,
                    remedy="Keep the row that is right",
                )  # fmt: skip
    return joined


def _compare_names(
    rows: Sequence[Mapping[str, str]], cases: Sequence[Case], others: Sequence[Case], file: str
) -> list[str]:
    # A case that its row misses, as its name is spelt otherwise, would count as a patient of its own: a leak.
    there = {case.name for case in (*cases, *others)}
    absent = sorted({row["case"] for row in rows} - there - {""})
    alone = sorted({case.name for case in cases} - {row["case"] for row in rows if row.get("patient")})
    lines = []
    if absent:
        lines.append(f"{file} has rows of {len(absent)} cases that are not there: {list_names(absent)}")
    if alone and any(row.get("patient") for row in rows):
        lines.append(f"{file} names no patient of {list_names(alone)}: each counts as a patient of its own")
    return [*lines, *note_alike_patients(row.get("patient", "") for row in rows)]


def note_alike_patients(patients: Iterable[str]) -> list[str]:
    """A line for patients whose names differ in upper and lower case or blanks alone: one patient counted as several.

    Args:
        patients: their names, in any order, with repetitions and empty ones.
    Returns:
        a line per group of such names.
    """
    groups: dict[str, set[str]] = {}
    for patient in patients:
        groups.setdefault("".join(patient.split()).casefold(), set()).add(patient)
    alike = [sorted(group) for group in groups.values() if len(group) > 1]
    return [f"{' and '.join(group)} count as different patients; write one name if they are one" for group in alike]


def list_names(names: Sequence[str]) -> str:
    """Names for a message, few of them: ``a, b, c and 7 more``."""
    shown = ", ".join(names[:SHOWN_NAMES])
    return shown if len(names) <= SHOWN_NAMES else f"{shown} and {len(names) - SHOWN_NAMES} more"
