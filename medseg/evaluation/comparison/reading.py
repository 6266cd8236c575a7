"""The scores of the methods to compare, from the folders that ``evaluate`` and training wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.core.errors import DatasetError, MedsegError
from medseg.core.manifest import hash_file
from medseg.core.records import read_json
from medseg.core.results import Score, read_rows, rows_as_json

TABLE, TWIN = "scores.csv", "scores.json"
# What holds a part of one method's scores: its folds, and its repetitions with other seeds.
_PART = re.compile(r"(fold|seed)_\w+")


@dataclass(frozen=True)
class ScoredMethod:
    """One method's scores.

    Args:
        name: of the folder, with as much of its path as sets it apart from the others.
        folder: where they were read.
        scores: the rows of all its tables.
        references: case to the hash of its reference, where the JSON twins tell it.
        provenance: for JSON: ``name``, ``scores`` (each table's SHA-256 by its place in the folder), and from the
            twins ``version``, ``model``, ``settings``, None where there is no twin.
        notes: what its reader should know.
    """

    name: str
    folder: Path
    scores: tuple[Score, ...]
    references: Mapping[str, Any]
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def read_methods(folders: Sequence[str | Path]) -> list[ScoredMethod]:
    """The scores of each folder, under a name of its own.

    Args:
        folders: at least two; each holds ``scores.csv``, or has it in ``fold_N/validation`` (a configuration's runs)
            or in ``fold_N`` and ``seed_N``, which are put together.
    Returns:
        a method per folder, in the order given.
    Raises:
        DatasetError: fewer than two folders, one that is named twice, or one without scores.
        FormatError: a table is damaged.
    """
    places = [Path(folder) for folder in folders]
    if len(places) < 2:
        raise DatasetError(
            f"{len(places)} folder of scores, at least two are compared", code="one_method",
            remedy="Give the folders that medseg evaluate wrote, one a method",
        )  # fmt: skip
    whole = [place.resolve() for place in places]
    twice = next((place for place in places if whole.count(place.resolve()) > 1), None)
    if twice is not None:
        raise DatasetError("the same folder twice", code="same_folder", file=twice, remedy="Name each method once")
    return [_read_method(place, name) for place, name in zip(places, _name_folders(whole), strict=True)]


def _name_folders(folders: Sequence[Path]) -> list[str]:
    """The last parts of each path, as few as tell all of them apart."""
    for length in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-length:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _read_method(folder: Path, name: str) -> ScoredMethod:
    tables = _find_tables(folder)
    if not tables:
        below = sorted(path.parent.name for path in folder.glob(f"*/{TABLE}"))
        inside = f"Name the folders within one by one: {', '.join(below[:4])}" if below else ""
        what = "it holds no scores.csv" if folder.is_dir() else "there is no such folder"
        raise DatasetError(what, code="no_scores", file=folder, remedy=inside or "Score its masks with medseg evaluate")
    scores: list[Score] = []
    references: dict[str, Any] = {}
    twins, notes = [], []
    for table in tables:
        rows = read_rows(table, Score)
        twin, note = _read_twin(table.with_name(TWIN), rows)
        if note:
            notes.append(f"{name}: {table.with_name(TWIN).relative_to(folder).as_posix()} {note}")
        inputs = twin.get("inputs") or {}
        references |= {case: files["reference"] for case, files in inputs.items() if "reference" in files}
        twins.append({key: twin.get(key) for key in ("version", "model", "settings")})
        scores += rows
    if not scores:
        raise DatasetError("scores.csv holds no row", code="no_scores", file=folder, remedy="Evaluate it anew")
    hashes = {table.relative_to(folder).as_posix(): hash_file(table) for table in tables}
    known = [twin for twin in twins if any(twin.values())]
    told = {key: _unite([twin[key] for twin in known]) for key in ("version", "model", "settings")}
    provenance = {"name": name, "scores": hashes, **told}
    return ScoredMethod(name, folder, tuple(scores), references, provenance, tuple(notes))


def _find_tables(folder: Path) -> list[Path]:
    if (folder / TABLE).is_file():
        return [folder / TABLE]
    if (folder / "validation" / TABLE).is_file():
        return [folder / "validation" / TABLE]
    if not folder.is_dir():
        return []
    parts = [path for path in sorted(folder.iterdir()) if path.is_dir() and _PART.fullmatch(path.name)]
    return [table for part in parts for table in _find_tables(part)]


def _read_twin(path: Path, rows: Sequence[Score]) -> tuple[dict[str, Any], str]:
    """The JSON twin of a table, empty where there is none or it is not this table's; and what to say of it."""
    if not path.is_file():
        return {}, ""
    try:
        content = read_json(path)
    except MedsegError as error:
        return {}, f"could not be read ({error.reason}): the scores' origin is not known"
    if not isinstance(content, dict) or content.get("scores") != rows_as_json(rows):
        return {}, "does not hold the rows of scores.csv: the scores' origin is not known"
    return content, ""


def _unite(values: Sequence[Any]) -> Any:
    """The value that all share; a list of the different ones; None without any."""
    different: list[Any] = []
    for value in values:
        if value not in different:
            different.append(value)
    return None if not different else different[0] if len(different) == 1 else different
