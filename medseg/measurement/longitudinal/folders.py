"""Measuring the masks of a timeline: the usual measurements, and what changed from scan to scan."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from medseg.compute import map_cases
from medseg.core import atomic
from medseg.core.dataset import Case
from medseg.core.errors import DatasetError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, label_entries, name_time, outcome_of_error, read_run, write_table_run
from medseg.core.records import write_json
from medseg.core.results import Measurement, format_csv
from medseg.grids.registration import Kind, write_transform
from medseg.io import find_images, find_masks, read_segmentation, read_volume, settle_labels
from medseg.io.dicom.reading import DicomReading
from medseg.io.probabilities import find_probabilities
from medseg.io.results_input import find_stated_labels
from medseg.measurement.folders import (
    describe_masks,
    find_channels,
    measure_folder,
    measure_masks,
    write_measurement_tables,
)
from medseg.measurement.longitudinal.cautions import list_cautions
from medseg.measurement.longitudinal.change_rows import COLUMNS
from medseg.measurement.longitudinal.description import (
    describe_change,
    describe_patient,
    describe_settings,
    tell_patient,
)
from medseg.measurement.longitudinal.patients import PatientCourse, follow_patient, list_changes
from medseg.measurement.longitudinal.placing import PatientScan, Placement, place_scan
from medseg.measurement.longitudinal.targets import describe_response, read_targets
from medseg.measurement.longitudinal.timeline import Scan, Timeline, read_timeline

logger = logging.getLogger(__name__)

TRANSFORMS = "transforms"


def measure_timeline(
    timeline: str | Path,
    output: str | Path,
    *,
    masks: str | Path | None = None,
    images: str | Path | None = None,
    labels: LabelScheme | None = None,
    channels: Sequence[str] | None = None,
    probabilities: str | Path | None = None,
    targets: str | Path | None = None,
    registration: Kind = "rigid",
    nonfinite: str = "refuse",
    dicom: DicomReading | None = None,
) -> tuple[list[CaseOutcome], list[Measurement], str]:
    """Measure the masks of a timeline and follow every lesion through all scans of its patient.

    Args:
        timeline: CSV ``case,patient,day,mask,image``, as ``read_timeline`` takes it.
        output: the folder for ``measurements.csv`` (its lesion ids those of the timeline), ``longitudinal.csv``, their
            JSON twins, and ``transforms/CASE.tfm`` of each scan that was registered.
        masks, images: folders that hold what the timeline does not name, by case.
        labels: the label scheme; what stands beside the masks where None, else ``label_N``.
        channels: the images' channels by name; what ``dataset.json`` beside the images says where None.
        probabilities: as for ``measure_folder``.
        targets: CSV ``patient,lesion_id``, the target lesions for RECIST; the largest measurable ones where None.
        registration: ``rigid`` or ``affine``.
        nonfinite: what becomes of NaN and infinite voxels of the images: ``refuse`` the case, or ``fill`` them.
        dicom: as for ``measure_folder``.
    Returns:
        an outcome per case, faults of the timeline among them; the measurements; and the changes in words.
    Raises:
        DatasetError: no row of the timeline can be used, or a column is missing.
        FormatError: the timeline or the table of targets is missing or damaged.
    """
    started, folder = name_time(), Path(output)
    chosen = read_targets(targets) if targets is not None else None
    reading = dicom or DicomReading()
    stated = find_stated_labels(labels or reading.stated, [masks] if masks is not None else [])
    reading = reading.with_places(stated, *([images] if images is not None else []))
    found = read_timeline(
        timeline,
        masks=find_masks(masks, dicom=reading) if masks is not None else None,
        images=find_images(images, dicom=reading) if images is not None else None,
        dicom=reading,
    )
    found = found.filled() if nonfinite == "fill" else found
    for note in found.notes:
        logger.warning("%s", note)
    outcomes = [outcome_of_error(problem) for problem in found.problems]
    for outcome in outcomes:
        logger.error("%s", outcome.line())
    if not found.scans:
        raise DatasetError("no scan of the timeline can be used", code="bad_timeline", file=timeline)
    sources = {scan.case: scan.mask for scan in found.scans}
    places = dict.fromkeys([*([Path(masks)] if masks else []), *(source.path.parent for source in sources.values())])
    scheme = settle_labels(stated, places, sources.values())
    scans = {scan.case: scan.image for scan in found.scans if scan.image is not None}
    shares = find_probabilities(probabilities) if probabilities is not None else None
    measured, rows, diameters = measure_masks(
        sources,
        scheme,
        {scan.case: (scan.patient, scan.day) for scan in found.scans},
        scans,
        channels or _find_channels(images, scans),
        probabilities=shares,
    )
    courses, failures = _follow_patients(found, scheme, rows, registration)
    responses, refusals = _describe_responses(courses, chosen, targets, found.rows)
    outcomes += [*measured, *failures, *refusals]
    _write_transforms(folder, courses)
    model = _find_model([masks] if masks is not None else places)
    provenance = describe_masks(sources, outcomes, model, scans=scans, probabilities=shares, rows=rows, labels=scheme)
    rows, diameters = _rename_lesions(courses, rows, diameters)
    write_measurement_tables(folder, rows, diameters, provenance)
    left_out = _list_left_out(found, courses, outcomes)
    cautions = {c.patient: list_cautions(c, left_out[c.patient], found.rows.get(c.patient, ())) for c in courses}
    patients = [describe_patient(course, left_out[course.patient], cautions[course.patient]) for course in courses]
    content = provenance | describe_settings(registration) | {"patients": patients, "recist_arithmetic": responses}
    _write_changes(folder, courses, content)
    write_table_run(folder, "measure", outcomes, started=started, model=model, **label_entries(scheme))
    told = [tell_patient(own, responses.get(own.patient), cautions[own.patient]) for own in courses]
    text = "\n".join([line for lines in told for line in lines])
    return outcomes, rows, text


def _find_channels(images: str | Path | None, scans: Mapping[str, Case]) -> tuple[str, ...]:
    # By the dataset.json beside the images, wherever they lie; none where two of them say different things.
    places = dict.fromkeys([*([Path(images)] if images else []), *(scan.images[0].path for scan in scans.values())])
    named = {names for place in places if (names := find_channels(place, scans))}
    return named.pop() if len(named) == 1 else ()


def _find_model(places: Iterable[str | Path]) -> str | None:
    # The model that predicted all masks; None where there is none, or more than one.
    found = {read_run(place).get("model") for place in places}
    return found.pop() if len(found) == 1 else None


def _list_left_out(
    timeline: Timeline, courses: Sequence[PatientCourse], outcomes: Sequence[CaseOutcome]
) -> dict[str, list[CaseOutcome]]:
    # By patient the outcomes of those scans that the timeline names and that are not followed.
    faults = {outcome.case: outcome for outcome in reversed(outcomes) if outcome.status in ("refused", "failed")}
    found = {}
    for course in courses:
        followed = {scan.case for scan in course.scans}
        missing = [case for case in timeline.rows.get(course.patient, ()) if case not in followed]
        found[course.patient] = [faults[case] for case in missing if case in faults]
    return found


def _follow_patients(
    timeline: Timeline, labels: LabelScheme, rows: Sequence[Measurement], kind: Kind
) -> tuple[list[PatientCourse], list[CaseOutcome]]:
    by_case: dict[str, list[Measurement]] = {}
    for row in rows:
        by_case.setdefault(row.case, []).append(row)

    def follow(scans: Sequence[Scan]) -> PatientCourse:
        parts = [_read_scan(scan, labels) for scan in scans]
        placements = [Placement(np.eye(4), "first_scan")]
        placements += [place_scan(parts[0], part, labels, kind) for part in parts[1:]]
        return follow_patient(scans, parts, placements, labels, by_case)

    measured = [tuple(scan for scan in scans if scan.case in by_case) for scans in timeline.patients.values()]
    usable = [scans for scans in measured if scans]
    return map_cases(follow, usable, lambda scans: scans[0].patient, title="follow")


def _read_scan(scan: Scan, labels: LabelScheme) -> PatientScan:
    # The image is read where it is needed alone, and once.
    mask = read_segmentation(scan.mask, labels=labels, case=scan.case)
    return PatientScan(mask, cache(partial(read_volume, scan.image)) if scan.image is not None else None)


def _describe_responses(
    courses: Sequence[PatientCourse],
    chosen: Mapping[str, Sequence[str]] | None,
    file: str | Path | None,
    named: Iterable[str],
) -> tuple[dict[str, dict[str, Any]], list[CaseOutcome]]:
    # RECIST arithmetic by patient; with a table of targets, of the patients that it names.
    responses: dict[str, dict[str, Any]] = {}
    refusals: list[CaseOutcome] = []
    known = {course.patient: course for course in courses}
    try_each = [*known] if chosen is None else [*chosen]
    for patient in try_each:
        try:
            if patient not in known:
                there = patient in named
                raise DatasetError(
                    "no scan of the patient can be used" if there else "no such patient in the timeline",
                    code="bad_targets",
                    case=patient,
                    file=file,
                    remedy="See the lines about its scans" if there else "Correct the column patient",
                )
            own = None if chosen is None else chosen[patient]
            responses[patient] = describe_response(known[patient], own, file or "")
        except MedsegError as error:
            refusals.append(outcome_of_error(error, patient))
            logger.error("%s", refusals[-1].line())
    return responses, refusals


def _write_transforms(folder: Path, courses: Sequence[PatientCourse]) -> None:
    for course in courses:
        for scan, placement in zip(course.scans, course.placements, strict=True):
            if placement.registration is not None:
                write_transform(folder / TRANSFORMS / f"{scan.case}.tfm", placement.matrix)
            else:  # one of an earlier run
                (folder / TRANSFORMS / f"{scan.case}.tfm").unlink(missing_ok=True)


def _rename_lesions(
    courses: Sequence[PatientCourse], rows: Sequence[Measurement], diameters: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Measurement], dict[str, Any]]:
    # The ids of the timeline in place of each scan's own; a part of a split lesion has its instance behind the id.
    names = {
        (scan.case, *key): name
        for course in courses
        for number, scan in enumerate(course.scans)
        for key, name in course.name_instances(number).items()
    }
    renamed = [replace(row, lesion_id=names.get((row.case, row.label, row.instance), row.lesion_id)) for row in rows]
    instances = {(row.case, row.lesion_id): (row.label, row.instance) for row in rows if row.instance}
    drawn: dict[str, Any] = {}
    for case, ends in diameters.items():
        drawn[case] = {}
        for own, content in ends.items():
            label, instance = instances[case, own]
            name = names.get((case, label, instance), own)
            drawn[case][name if name not in drawn[case] else f"{name} ({instance})"] = content
    return renamed, drawn


def _write_changes(folder: Path, courses: Sequence[PatientCourse], content: Mapping[str, Any]) -> None:
    from medseg import __version__

    changes = [(course, change) for course in courses for change in list_changes(course)]
    atomic.write_text(folder / "longitudinal.csv", format_csv(COLUMNS, [change.cells() for _, change in changes]))
    described = [describe_change(course, change) for course, change in changes]
    write_json(folder / "longitudinal.json", {"version": __version__, **content, "changes": described})


def measure_scans(
    masks: str | Path | None,
    output: str | Path,
    *,
    timeline: str | Path | None = None,
    targets: str | Path | None = None,
    registration: Kind = "rigid",
    **options: Any,
) -> tuple[list[CaseOutcome], list[Measurement], str]:
    """Measure a folder of masks, or the masks of a timeline.

    Args:
        masks: a folder of masks; None where a timeline names them all.
        output: the folder for the tables.
        timeline, targets, registration: of ``measure_timeline``.
        options: ``images``, ``labels``, ``channels``, ``probabilities`` and ``dicom`` of ``measure_folder``.
    Returns:
        an outcome per case, the measurements, and the changes in words; those are empty without a timeline.
    Raises:
        DatasetError: there is no mask, or neither masks nor a timeline were given.
    """
    if timeline is not None:
        return measure_timeline(timeline, output, masks=masks, targets=targets, registration=registration, **options)
    if masks is None or targets is not None:
        missing = "masks" if masks is None else "timeline, which targets belong to"
        raise DatasetError(f"there is no {missing}", code="no_masks", remedy="Give MASKS, or --timeline FILE")
    return *measure_folder(masks, output, **options), ""
