"""A CSV that names every file: ``case,patient,day,image,...,mask``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource
from medseg.core.errors import DatasetError
from medseg.io.case_names import check_case_name
from medseg.io.files import is_image_name, list_images, stem_of
from medseg.io.naming import Names, read_names
from medseg.io.pairing import report_missing_channels
from medseg.io.tables import list_names, note_alike_patients, parse_day, read_table
from medseg.io.words import MASK_WORDS


def read_csv(file: Path, names: Names | None = None) -> Dataset:
    """The data set that a CSV names; masks may be missing.

    Args:
        file: with the columns ``case`` and ``image``, and any of ``patient``, ``day``, ``mask`` and further columns of
            image files, each a channel called after its column; paths count from the CSV's folder.
        names: what a ``dataset.json`` beside it says; read from there where None.
    Returns:
        the data set.
    Raises:
        FormatError: the table is damaged.
        DatasetError: a column is missing.
    """
    names = read_names(file.parent) if names is None else names
    rows = [
        dict(row) for row in dict.fromkeys(tuple(row.items()) for row in read_table(file))
    ]  # a row twice is one row
    columns = list(rows[0]) if rows else []
    images = _find_image_columns(rows, columns)
    if "case" not in columns or not images:
        raise DatasetError(
            f"the columns are {', '.join(columns) or 'none'}, expected case and image",
            code="unknown_layout",
            file=file,
            remedy="Name the columns case,patient,day,image,mask",
        )
    mask_column = next((column for column in columns if column in MASK_WORDS), "")
    cases: list[Case] = []
    problems: list[DatasetError] = []
    times = Counter(row["case"] for row in rows)
    for row in rows:
        try:
            if times[row["case"]] == 1 or not row["case"]:
                cases.append(_read_row(row, file, images, mask_column))
        except DatasetError as error:
            problems.append(error)
    # Which of its rows is right nobody can know, so none is used.
    problems += [_report_rows(name, count, file) for name, count in times.items() if name and count > 1]
    named = names.channels
    if len(images) > 1 and len(named) != len(images):
        named = tuple(column.removeprefix("image_") for column in images)
    return Dataset(
        root=file,
        name=names.name or file.stem,
        layout="CSV",
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        channels=named,
        labels=names.labels,
        problems=tuple(problems),
        notes=tuple(_note_patients(rows, file)),
    )


def _report_rows(name: str, count: int, file: Path) -> DatasetError:
    return DatasetError(
        f"the case stands in {count} rows", code="duplicate_case", case=name, file=file,
        remedy="Give each row a name of its own",
    )  # fmt: skip


def _note_patients(rows: Sequence[dict[str, str]], file: Path) -> list[str]:
    alone = sorted({row["case"] for row in rows if not row.get("patient")})
    lines = note_alike_patients(row.get("patient", "") for row in rows)
    if alone and any(row.get("patient") for row in rows):
        lines.append(f"{file.name} names no patient of {list_names(alone)}: each counts as a patient of its own")
    return lines


def is_case_table(file: Path) -> bool:
    """Whether a CSV has the columns of a data set: ``case`` and an image; raises FormatError for a damaged one."""
    rows = read_table(file)
    return bool(rows) and "case" in rows[0] and bool(_find_image_columns(rows, list(rows[0])))


def _find_image_columns(rows: Sequence[dict[str, str]], columns: Sequence[str]) -> list[str]:
    # A column of images holds names of image files alone; "image" and "image_..." are ones by their name.
    found = []
    for column in columns:
        cells = [row[column] for row in rows if row[column]]
        if column in ("case", "patient", "day") or column in MASK_WORDS or not cells:
            continue
        if column == "image" or column.startswith("image_") or all(map(is_image_name, cells)):
            found.append(column)
    return found


def _read_row(row: dict[str, str], file: Path, images: Sequence[str], mask_column: str) -> Case:
    name = row["case"]
    try:
        check_case_name(name)
    except DatasetError as error:
        raise DatasetError(error.reason, code=error.code, case=name or None, file=file, remedy=error.remedy) from None
    missing = [column for column in images if not row[column]]
    if missing:
        raise report_missing_channels(name, missing, file)
    paths = [file.parent / row[column] for column in images]
    absent = next((path for path in paths if not path.exists()), None)
    if absent is not None:
        raise DatasetError(
            f"the image that {file.name} names is not there", code="missing_image", case=name, file=absent,
            remedy=f"Correct the path; it counts from {file.parent}",
        )  # fmt: skip
    mask = _find_mask(file.parent / row[mask_column]) if mask_column and row[mask_column] else None
    day = parse_day(row.get("day", ""), file, name)
    return Case(name, tuple(map(ImageSource, paths)), mask, row.get("patient", ""), day)


def _find_mask(path: Path) -> MaskSource:
    if path.is_dir():
        return MaskSource(path, tuple((stem_of(file), file) for file in list_images(path)))
    return MaskSource(path)
