"""Measuring a folder of masks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.compute import map_cases
from medseg.core.dataset import Case, MaskSource
from medseg.core.errors import GeometryError, MedsegError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.manifest import (
    CaseOutcome,
    hash_file,
    hash_mask,
    label_entries,
    name_time,
    outcome_of_error,
    read_run,
    write_table_run,
)
from medseg.core.records import write_json
from medseg.core.results import Measurement, rows_as_json, write_rows
from medseg.core.volume import Volume
from medseg.grids.align import find_axis_order, turn_axes
from medseg.io import find_images, find_masks, find_patients, read_volume, settle_labels
from medseg.io.dicom.reading import DicomReading
from medseg.io.files import list_images
from medseg.io.grid_differences import describe_difference
from medseg.io.masks import read_mask
from medseg.io.naming import read_names
from medseg.io.probabilities import find_probabilities, read_probabilities
from medseg.io.results_input import describe_reading, find_stated_labels, list_patients, name_scans_as
from medseg.measurement.cases import measure_labels
from medseg.measurement.cohort import write_cohort_tables
from medseg.measurement.intervals import describe_intervals, tell_intervals
from medseg.measurement.lesions import Lesion
from medseg.measurement.origins import find_origin, read_runs

logger = logging.getLogger(__name__)


def measure_folder(
    masks: str | Path,
    output: str | Path,
    *,
    images: str | Path | None = None,
    labels: LabelScheme | None = None,
    channels: Sequence[str] | None = None,
    probabilities: str | Path | None = None,
    nonfinite: str = "refuse",
    dicom: DicomReading | None = None,
) -> tuple[list[CaseOutcome], list[Measurement]]:
    """Measure every mask of a folder and write ``measurements.csv`` and its JSON twin.

    Args:
        masks: a folder of masks, or of DICOM SEG and RTSTRUCT.
        output: the folder for the tables.
        images: the scans, for intensities; none where None.
        labels: the label scheme; what stands beside the masks where None, else ``label_N``.
        channels: the scans' channels by name (``CT``, ``PET``), which tell their units; what ``dataset.json`` beside
            the scans says where None.
        probabilities: the output folder of ``predict --save-probabilities``, for ``volume_partial_ml``.
        nonfinite: what becomes of NaN and infinite voxels of the scans: ``refuse`` the case, or ``fill`` them.
        dicom: which structures are which label; scans that are DICOM are found beside their masks and in ``images``.
    Returns:
        an outcome per case, and the measurements.
    Raises:
        DatasetError: there is no mask.
        FormatError: the folder of probabilities does not exist.
    """
    started = name_time()
    twice: list[MedsegError] = []
    reading = dicom or DicomReading()
    stated = find_stated_labels(labels or reading.stated, (masks,))
    reading = reading.with_places(stated, *([images] if images is not None else []))
    found = find_masks(masks, twice, dicom=reading)
    scheme = settle_labels(stated, (), found.values())
    scans = find_images(images, nonfinite=nonfinite, dicom=reading) if images is not None else {}
    scans = name_scans_as(scans, masks)
    names = channels or (find_channels(images, scans) if images is not None else ())
    shares = find_probabilities(probabilities) if probabilities is not None else None
    patients = list_patients(found, scans) | find_patients(masks)
    outcomes, rows, diameters = measure_masks(found, scheme, patients, scans, names, probabilities=shares)
    for problem in map(outcome_of_error, twice):
        logger.error("%s", problem.line())
        outcomes.append(problem)
    model = read_run(masks).get("model")
    provenance = describe_masks(found, outcomes, model, scans=scans, probabilities=shares, rows=rows, labels=scheme)
    write_measurement_tables(output, rows, diameters, provenance)
    done = [one.case for one in outcomes if one.status == "done"]
    described = describe_reading(
        reading, outcomes, [found[case] for case in done], [scans[case] for case in done if case in scans]
    )
    write_table_run(output, "measure", outcomes, started=started, model=model, **label_entries(scheme) | described)
    return outcomes, rows


def describe_masks(
    masks: Mapping[str, MaskSource],
    outcomes: Sequence[CaseOutcome],
    model: str | None,
    *,
    scans: Mapping[str, Case] | None = None,
    probabilities: Path | None = None,
    rows: Sequence[Measurement] = (),
    labels: LabelScheme | None = None,
) -> dict[str, Any]:
    """What measurements come from, for their JSON twin.

    Args:
        masks: case to mask.
        outcomes: of measuring them.
        model: the hash of the model that predicted them, where known.
        scans: case to scan, where intensities were measured.
        probabilities: the folder with a folder of probabilities a case, where they were used.
        rows: the measurements.
        labels: their scheme.
    Returns:
        ``model``, and ``inputs``: by measured case the hash of each file; with rows ``volume_intervals`` too: what the
        error bars come from, and why there is none. No path and no time.
    """
    inputs: dict[str, dict[str, Any]] = {}
    for case in [outcome.case for outcome in outcomes if outcome.status == "done"]:
        inputs[case] = {"mask": hash_mask(masks[case])}
        if scans and case in scans:
            files = dict.fromkeys(source.path for source in scans[case].images)
            inputs[case]["images"] = [hash_file(file) for file in files]
        if probabilities is not None:
            inputs[case]["probabilities"] = {file.name: hash_file(file) for file in list_images(probabilities / case)}
    intervals: dict[str, Any] = {}
    if labels is not None:
        runs = read_runs(masks.values())
        origins = {case: find_origin(masks[case], runs, labels) for case in inputs}
        intervals = describe_intervals(origins, rows, labels)
    for line in tell_intervals(intervals):
        logger.info("%s", line)
    return {"model": model, "inputs": inputs, "volume_intervals": intervals}


def measure_masks(
    masks: Mapping[str, MaskSource],
    labels: LabelScheme,
    patients: Mapping[str, tuple[str, int | None]],
    scans: Mapping[str, Case],
    channels: Sequence[str] = (),
    *,
    probabilities: Path | None = None,
) -> tuple[list[CaseOutcome], list[Measurement], dict[str, Any]]:
    """Measure masks, in threads.

    Args:
        masks: case to mask.
        labels: their label scheme.
        patients: case to (patient, day); a case that is missing is its own patient.
        scans: case to scan, for intensities; a case may be missing.
        channels: the scans' channels by name, where they are known.
        probabilities: a folder with a folder of probabilities a case; none where None.
    Returns:
        an outcome per case, the measurements, and by case where each lesion lies and its diameters run.
        Volumes have error bars where ``run.json`` beside a mask tells the errors of the model that predicted it.
    """
    runs = read_runs(masks.values())
    doubts: dict[str, tuple[str, ...]] = {}

    def measure(case: str) -> tuple[list[Measurement], dict[str, Any]]:
        segmentation, doubts[case] = read_mask(masks[case], labels=labels, case=case)
        for note in doubts[case]:
            logger.warning("%s: %s", case, note)
        volume = _read_scan(scans[case], channels, segmentation.geometry) if case in scans else None
        shares = read_probabilities(probabilities, case, labels, segmentation.geometry) if probabilities else None
        patient, day = patients.get(case, (case, None))
        origin = find_origin(masks[case], runs, labels)
        measured = measure_labels(
            segmentation, labels, volume=volume, probabilities=shares, volume_errors=origin.errors,
            member_volumes_ml=origin.member_volumes_ml, case=case, patient=patient, day=day,
        )  # fmt: skip
        rows: list[Measurement] = []
        places: dict[str, Any] = {}
        for part, lesions in measured:
            rows += part
            places |= {name: describe_place(lesion, segmentation.geometry) for name, lesion in lesions.items()}
        return rows, places

    results, failures = map_cases(measure, list(masks), str, title="measure")
    rows = [row for part, _ in results for row in part]
    diameters = {part[0].case: ends for part, ends in results if part}
    done = [
        CaseOutcome(case, "done", inputs=(str(masks[case].path),), reason="; ".join(doubts[case])) for case in diameters
    ]
    return done + failures, rows, diameters


def _read_scan(case: Case, channels: Sequence[str], like: Geometry) -> Volume:
    """A scan on its mask's grid: its axes turned where that is enough; raises GeometryError otherwise."""
    volume = read_volume(case, channels)
    if volume.geometry.same_grid(like):
        return volume
    turn = find_axis_order(volume.geometry, like)
    if turn is None:
        raise GeometryError(
            f"the image's grid ({volume.geometry.describe()}) is not the mask's ({like.describe()}):"
            f" {describe_difference(volume.geometry, like)}",
            code="other_grid",
            case=case.name,
            file=case.images[0].path,
            remedy="Give the image that the mask was drawn on",
        )
    logger.info("%s: axes turned to the mask's order and directions", case.images[0].path)
    return Volume(turn_axes(volume.array, turn), like, volume.channels)


def describe_place(lesion: Lesion, geometry: Geometry) -> dict[str, Any]:
    """Where a lesion lies and its diameters run, for the JSON twin and for drawing.

    Args:
        lesion: of a scan.
        geometry: the scan's grid.
    Returns:
        of the axial diameter ``axis``, ``slice``, ``ends_index``, ``ends_mm``, ``length_mm`` and the same of its
        perpendicular; of the longest in 3D ``longest_ends_index``, ``longest_ends_mm``, ``longest_mm``; ``box_index``,
        the first and the last voxel. Index coordinates (pixel centres are whole numbers) and RAS+ millimetres. Empty
        for a lesion without voxels.
    """
    diameter, ends_mm = lesion.axial, lesion.ends_3d_mm
    if diameter is None or ends_mm is None or lesion.box is None:
        return {}
    return {
        "axis": diameter.axis,
        "slice": diameter.slice,
        "ends_index": diameter.ends_index.tolist(),
        "ends_mm": diameter.ends_mm.tolist(),
        "length_mm": float(diameter.length_mm),
        "perpendicular_ends_index": diameter.perpendicular_ends_index.tolist(),
        "perpendicular_ends_mm": diameter.perpendicular_ends_mm.tolist(),
        "perpendicular_mm": float(diameter.perpendicular_mm),
        "longest_ends_index": geometry.to_index(ends_mm).tolist(),
        "longest_ends_mm": ends_mm.tolist(),
        "longest_mm": lesion.diameter_3d_mm,
        "box_index": lesion.box.tolist(),
    }


def write_measurement_tables(
    output: str | Path, rows: list[Measurement], diameters: dict[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Write ``measurements.csv`` and ``cohort.csv``, with JSON twins; that of the first tells where diameters run."""
    from medseg import __version__

    folder = Path(output)
    write_rows(folder / "measurements.csv", rows, Measurement)
    content = {"version": __version__, **provenance, "measurements": rows_as_json(rows), "diameters": diameters}
    write_json(folder / "measurements.json", content)
    write_cohort_tables(folder, rows, provenance)


def find_channels(images: str | Path, scans: Mapping[str, Case]) -> tuple[str, ...]:
    """The scans' channels by a ``dataset.json`` in their folder or the one above; none where their number differs."""
    folder = Path(images) if Path(images).is_dir() else Path(images).parent
    named = [read_names(place).channels for place in (folder, folder.parent)]
    held = {len(case.images) for case in scans.values()}
    return next((names for names in named if names and held == {len(names)}), ())
