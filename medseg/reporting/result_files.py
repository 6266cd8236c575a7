"""Scores and measurements as files: CSV for people and spreadsheets, JSON twins with provenance for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medseg.core.records import write_json
from medseg.core.results import Measurement, Score, rows_as_json, write_rows


def write_tables(
    folder: str | Path,
    scores: Sequence[Score] | None,
    measurements: Sequence[Measurement] | None,
    provenance: Mapping[str, str],
) -> None:
    """Write ``scores.csv``, ``measurements.csv`` and their JSON twins, each whole or not at all.

    Args:
        folder: where to write; made where missing.
        scores: the rows; None writes no score files, an empty list files without rows.
        measurements: the rows; None writes no measurement files.
        provenance: version, model hash, settings; no times and no hosts, so that the files can be compared.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    root = Path(folder)
    known = dict(provenance)
    if scores is not None:
        write_rows(root / "scores.csv", scores, Score)
        write_json(root / "scores.json", {"provenance": known, "scores": rows_as_json(scores)})
    if measurements is not None:
        write_rows(root / "measurements.csv", measurements, Measurement)
        write_json(root / "measurements.json", {"provenance": known, "measurements": rows_as_json(measurements)})
