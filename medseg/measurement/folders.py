"""Measuring a folder of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.compute import map_cases
from medseg.core.dataset import Case, MaskSource
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, hash_mask, label_entries, name_time, read_run, write_table_run
from medseg.core.records import write_json
from medseg.core.results import Measurement, rows_as_json, write_rows
from medseg.core.volume import Segmentation
from medseg.io import find_images, find_masks, find_patients, read_segmentation, read_volume, settle_labels
from medseg.measurement.cases import measure_case
from medseg.measurement.lesions import find_axial_diameters


def measure_folder(
    masks: str | Path, output: str | Path, *, images: str | Path | None = None, labels: LabelScheme | None = None
) -> tuple[list[CaseOutcome], list[Measurement]]:
    """Measure every mask of a folder and write ``measurements.csv`` and its JSON twin.

    Args:
        masks: a folder of masks.
        output: the folder for the tables.
        images: the scans, for intensities; none where None.
        labels: the label scheme; what stands beside the masks where None, else ``label_N``.
    Returns:
        an outcome per case, and the measurements.
    Raises:
        DatasetError: there is no mask.
    """
    started = name_time()
    found = find_masks(masks)
    scheme = settle_labels(labels, (masks,), found.values())
    scans = find_images(images) if images is not None else {}
    outcomes, rows, diameters = measure_masks(found, scheme, find_patients(masks), scans)
    model = read_run(masks).get("model")
    write_measurement_tables(output, rows, diameters, describe_masks(found, outcomes, model))
    write_table_run(output, "measure", outcomes, started=started, model=model, **label_entries(scheme))
    return outcomes, rows


def describe_masks(
    masks: Mapping[str, MaskSource], outcomes: Sequence[CaseOutcome], model: str | None
) -> dict[str, Any]:
    """What measurements come from, for their JSON twin.

    Args:
        masks: case to mask.
        outcomes: of measuring them.
        model: the hash of the model that predicted them, where known.
    Returns:
        ``model``, and ``inputs``: by measured case the hash of each file; no path and no time.
    """
    done = [outcome.case for outcome in outcomes if outcome.status == "done"]
    return {"model": model, "inputs": {case: {"mask": hash_mask(masks[case])} for case in done}}


def measure_masks(
    masks: Mapping[str, MaskSource],
    labels: LabelScheme,
    patients: Mapping[str, tuple[str, int | None]],
    scans: Mapping[str, Case],
    channels: Sequence[str] = (),
) -> tuple[list[CaseOutcome], list[Measurement], dict[str, Any]]:
    """Measure masks, in threads.

    Args:
        masks: case to mask.
        labels: their label scheme.
        patients: case to (patient, day); a case that is missing is its own patient.
        scans: case to scan, for intensities; a case may be missing.
        channels: the scans' channels by name, where they are known.
    Returns:
        an outcome per case, the measurements, and by case where the diameters run.
    """

    def measure(case: str) -> tuple[list[Measurement], dict[str, Any]]:
        segmentation = read_segmentation(masks[case], labels=labels, case=case)
        volume = read_volume(scans[case], channels) if case in scans else None
        patient, day = patients.get(case, (case, None))
        rows = measure_case(segmentation, labels, volume=volume, case=case, patient=patient, day=day)
        return rows, describe_diameters(segmentation, labels)

    results, failures = map_cases(measure, list(masks), str, title="measure")
    rows = [row for part, _ in results for row in part]
    diameters = {part[0].case: ends for part, ends in results if part}
    done = [CaseOutcome(case, "done", inputs=(str(masks[case].path),)) for case in diameters]
    return done + failures, rows, diameters


def describe_diameters(segmentation: Segmentation, labels: LabelScheme) -> dict[str, Any]:
    """Where each lesion's axial diameters run, for the JSON twin and for drawing.

    Args:
        segmentation: the mask.
        labels: its label scheme.
    Returns:
        lesion id to ``axis``, ``slice``, ``ends_index``, ``ends_mm``, ``length_mm`` and the same of the perpendicular.
    """
    return {
        lesion: {
            "axis": diameter.axis,
            "slice": diameter.slice,
            "ends_index": [list(map(float, point)) for point in diameter.ends_index],
            "ends_mm": [list(map(float, point)) for point in diameter.ends_mm],
            "length_mm": float(diameter.length_mm),
            "perpendicular_ends_index": [list(map(float, point)) for point in diameter.perpendicular_ends_index],
            "perpendicular_ends_mm": [list(map(float, point)) for point in diameter.perpendicular_ends_mm],
            "perpendicular_mm": float(diameter.perpendicular_mm),
        }
        for lesion, diameter in find_axial_diameters(segmentation, labels).items()
    }


def write_measurement_tables(
    output: str | Path, rows: list[Measurement], diameters: dict[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Write ``measurements.csv``, and ``measurements.json`` with ``provenance`` and where the diameters run."""
    from medseg import __version__

    folder = Path(output)
    write_rows(folder / "measurements.csv", rows, Measurement)
    content = {"version": __version__, **provenance, "measurements": rows_as_json(rows), "diameters": diameters}
    write_json(folder / "measurements.json", content)
