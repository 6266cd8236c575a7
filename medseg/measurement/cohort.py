"""A cohort at a glance: one row per patient, scan and label, and the spread over patients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from medseg.core import atomic
from medseg.core.records import write_json
from medseg.core.results import Measurement, format_csv

TREATMENT = (
    "A row per patient, scan and label. In 'labels' each patient counts once, with the first scan (the lowest day, "
    "else the first name); volumes and counts are over all those patients, 0 where the label is absent; diameters over "
    "those that have it."
)
# Of which the spread over patients is given.
SPREADS = ("volume_ml", "lesion_count", "largest_lesion_ml", "diameter_axial_mm", "diameter_3d_mm")


@dataclass(frozen=True)
class CohortRow:
    """One label in one scan of one patient; None where a value is not known.

    Args:
        volume_low_ml, volume_high_ml: the error bar of the volume, where there is one.
        largest_lesion_ml: the volume of the largest lesion; None where there is none.
        diameter_axial_mm, diameter_3d_mm: the longest of any lesion.
        touches_border: 1 where the mask reaches the scan's outermost voxels, 0 where it does not.
    """

    patient: str
    case: str
    day: int | None
    label: str
    volume_ml: float | None
    volume_low_ml: float | None
    volume_high_ml: float | None
    lesion_count: float | None
    largest_lesion_ml: float | None
    diameter_axial_mm: float | None
    diameter_3d_mm: float | None
    touches_border: float | None


def tabulate_cohort(measurements: Iterable[Measurement]) -> list[CohortRow]:
    """The measurements that describe a cohort, a row per patient, scan and label.

    Args:
        measurements: of any scans, in any order.
    Returns:
        sorted by patient, day (scans without one last) and case; labels in the order they were measured.
    """
    groups: dict[tuple[str, str, str], dict[tuple[int, str], Measurement]] = defaultdict(dict)
    order: dict[str, int] = {}
    for row in measurements:
        order.setdefault(row.label, len(order))
        groups[row.patient, row.case, row.label].setdefault((row.instance, row.quantity), row)
    rows = [_make_row(found) for found in groups.values()]
    return sorted(rows, key=lambda row: (row.patient, _first(row), order[row.label]))


def summarise_cohort(rows: Sequence[CohortRow]) -> dict[str, Any]:
    """The spread of each label over patients.

    Args:
        rows: of the cohort.
    Returns:
        for JSON: label to ``patients``, ``patients_with_it`` and, for each quantity of ``SPREADS``, ``n mean sd median
        q25 q75 min max sum`` over patients, None where nobody has a value (sd: where fewer than two have).
    """
    labels: dict[str, dict[str, CohortRow]] = defaultdict(dict)
    for row in sorted(rows, key=_first):
        labels[row.label].setdefault(row.patient, row)
    ordered = list(dict.fromkeys(row.label for row in rows))
    return {
        label: {
            "patients": len(labels[label]),
            "patients_with_it": sum(bool(row.volume_ml) for row in labels[label].values()),
            **{name: _spread([getattr(row, name) for row in labels[label].values()]) for name in SPREADS},
        }
        for label in ordered
    }


def write_cohort_tables(folder: str | Path, measurements: Iterable[Measurement], provenance: Mapping[str, Any]) -> None:
    """Write ``cohort.csv`` and ``cohort.json``.

    Args:
        folder: where to.
        measurements: of all scans.
        provenance: what they come from, for the JSON twin.
    """
    from medseg import __version__

    rows = tabulate_cohort(measurements)
    names = [field.name for field in fields(CohortRow)]
    atomic.write_text(Path(folder) / "cohort.csv", format_csv(names, map(astuple, rows)))
    content = {"treatment": TREATMENT, "labels": summarise_cohort(rows), "cohort": [asdict(row) for row in rows]}
    write_json(Path(folder) / "cohort.json", {"version": __version__, **provenance, **content})


def _make_row(found: Mapping[tuple[int, str], Measurement]) -> CohortRow:
    first = next(iter(found.values()))
    volume = found.get((0, "volume_ml"))

    def value(quantity: str, instance: int = 0) -> float | None:
        row = found.get((instance, quantity))
        return None if row is None or row.value is None or not math.isfinite(row.value) else row.value

    return CohortRow(
        first.patient, first.case, first.day, first.label, value("volume_ml"),
        None if volume is None else volume.low, None if volume is None else volume.high, value("lesion_count"),
        value("volume_ml", instance=1), value("diameter_axial_mm"), value("diameter_3d_mm"), value("touches_border"),
    )  # fmt: skip


def _first(row: CohortRow) -> tuple[bool, int, str]:
    """What orders a patient's scans: the day, scans without one last, then the name."""
    return row.day is None, row.day or 0, row.case


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return {"n": 0, **dict.fromkeys(("mean", "sd", "median", "q25", "q75", "min", "max", "sum"))}
    q25, median, q75 = (float(value) for value in np.quantile(known, (0.25, 0.5, 0.75)))
    sd = float(known.std(ddof=1)) if known.size > 1 else None
    ends = {"min": float(known.min()), "max": float(known.max()), "sum": math.fsum(known)}
    return {
        "n": int(known.size),
        "mean": float(known.mean()),
        "sd": sd,
        "median": median,
        "q25": q25,
        "q75": q75,
    } | ends
