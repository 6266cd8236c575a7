"""``medseg import-dicom``: a tree of DICOM scans with RTSTRUCT or SEG as a data set to train on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.core import atomic
from medseg.core.errors import DatasetError, MedsegError, show_name
from medseg.core.manifest import (
    CaseOutcome,
    StepResult,
    hash_file,
    label_entries,
    name_time,
    outcome_of_error,
    write_run,
)
from medseg.core.records import write_json
from medseg.core.results import format_csv

if TYPE_CHECKING:
    from medseg.core.channel_rules import ChannelRule
    from medseg.io.dicom.channel_reading import ScanReading
    from medseg.io.dicom.import_plan import ImportCase
    from medseg.io.dicom.references import Reference
    from medseg.io.dicom.roi_names import RoiRules
    from medseg.io.dicom.series import DicomSeries, DicomTree

logger = logging.getLogger(__name__)

DRAFT = "rois.draft.json"
_CASE_COLUMNS = ("case", "patient", "day", "modality", "series_number", "acquisition_number")
_FILE_COLUMNS = ("file", "series", "files", "case", "status", "reason")
_PART_COLUMNS = ("file", "structure", "label", "contours", "voxels", "volume_ml", "reason")


def import_dicom(
    tree: str | Path,
    dataset: str | Path,
    *,
    labels: str | Path | None = None,
    modality: str = "",
    channels: str | None = None,
    tilt: str = "refuse",
    gaps: str = "refuse",
    register: str = "refuse",
) -> StepResult:
    """A data set in two folders, a case per scan with a reference; without ``labels`` a list of what there is.

    Args:
        tree: a folder with any DICOM files below it.
        dataset: the folder to write.
        labels: a ``rois.json`` that says which structures are which label; where None, every structure is listed with
            its volume, and a draft of such a file is written to edit.
        modality: of the scans to take, such as ``CT``, where there is one channel.
        channels: which series are which channel, as ``read_rules`` takes it; the references are drawn on the first one.
        tilt, gaps, register: as ``read_channels`` takes them.
    Returns:
        an outcome per case and per reference that is refused; the text lists what was taken, and what was left and why.
    Raises:
        DatasetError: there is no reference, the scans are of several modalities, the folder holds a data set, or an
            option is none.
        FormatError: ``labels`` is no such file.
    """
    from medseg.io.dicom.grouping import find_series
    from medseg.io.dicom.import_plan import add_channels, pair_references, plan_cases, settle_import_rules
    from medseg.io.dicom.roi_names import read_roi_rules

    started, dataset = name_time(), Path(dataset)
    stated = _read_channels(channels, modality, register)
    rules = None if labels is None else read_roi_rules(labels)
    if rules is not None and any((dataset / "images").glob("*")):
        raise DatasetError(
            "the folder holds a data set already", code="not_empty", file=dataset, remedy="Give another, or remove it"
        )
    found = find_series(tree)
    pairs, problems = pair_references(found)
    if not pairs and not problems:
        raise DatasetError(
            f"no RTSTRUCT and no SEG among {found.file_count} files", code="no_masks", file=tree,
            remedy="Give the folder that holds the scans and their references",
        )  # fmt: skip
    if rules is None:
        return _list_parts(dataset, pairs, problems, tilt, gaps)
    cases, left, refused = plan_cases(pairs, rules, modality, stated)
    channel_rules = settle_import_rules(cases, stated)
    outcomes = [_refuse(file, error) for file, error in (*problems, *refused)]
    parts: list[tuple[Any, ...]] = []
    options = {"tilt": tilt, "gaps": gaps, "register": register}
    for number, case in enumerate(cases):
        try:
            cases[number] = whole = add_channels(case, found.images, channel_rules)
            outcomes.append(_write_case(dataset, whole, rules, channel_rules, options, parts))
        except (MedsegError, OSError, MemoryError) as error:
            outcomes.append(outcome_of_error(error, case.name))
    done = {outcome.case for outcome in outcomes if outcome.status == "done"}
    drawn_on = {id(series) for series, _ in pairs}
    ends = {reference.path: ("left", reason) for reference, reason in left}
    ends |= {Path(file): ("refused", error.reason) for file, error in (*problems, *refused)}
    files = _list_files(found, cases, ends, drawn_on, outcomes)
    taken = [case for case in cases if case.name in done]
    if taken:
        _write_dataset(dataset, taken, rules, channel_rules)
    atomic.write_text(dataset / "import.csv", format_csv(_FILE_COLUMNS, files))
    atomic.write_text(dataset / "structures.csv", format_csv(_PART_COLUMNS, parts))
    settings = {"tilt": tilt, "gaps": gaps, "register": register}
    write_run(dataset, "import-dicom", outcomes, started=started, settings=settings, **label_entries(rules.scheme))
    return StepResult(
        outcomes, _describe(found, taken, parts, files, outcomes, dataset),
        {"dataset": str(dataset), "files": [dict(zip(_FILE_COLUMNS, row, strict=True)) for row in files],
         "structures": [dict(zip(_PART_COLUMNS, row, strict=True)) for row in parts]},
    )  # fmt: skip


def _refuse(file: str, error: MedsegError) -> CaseOutcome:
    error.file = error.file or show_name(file)
    return outcome_of_error(error, Path(file).name)


def _read_channels(channels: str | None, modality: str, register: str) -> tuple[ChannelRule, ...]:
    from medseg.io.dicom.channel_choice import check_register
    from medseg.io.dicom.channel_rules import read_rules

    check_register(register)
    if channels is not None and modality:
        raise DatasetError(
            f"--modality {modality} beside --channels, expected one of the two", code="bad_option",
            remedy=f"Write Modality={modality} into the rule of a channel",
        )  # fmt: skip
    return () if channels is None else read_rules(channels)


def _write_case(
    dataset: Path,
    case: ImportCase,
    rules: RoiRules,
    channel_rules: Sequence[ChannelRule],
    options: Mapping[str, str],
    parts: list[tuple[Any, ...]],
) -> CaseOutcome:
    from medseg.io.dicom.channel_reading import read_channels
    from medseg.io.dicom.references import draw_references
    from medseg.io.write import write_segmentation

    try:
        scan = read_channels(channel_rules, case.channels, **options)
        segmentation, uses, more = draw_references(case.references, rules, scan.source)
    except MedsegError as error:
        error.case = case.name  # the series calls itself by its description
        raise
    parts += [(use.file, use.name, use.label, use.contours, use.voxels, use.volume_ml, use.reason) for use in uses]
    paths = [*_write_scan(dataset, case.name, scan), dataset / "masks" / f"{case.name}.nii.gz"]
    write_segmentation(paths[-1], segmentation)
    outputs = {path.relative_to(dataset).as_posix(): hash_file(path) for path in paths}
    files = (*(one.path for one in case.references), *(file for series in case.channels for file in series.files))
    inputs = tuple(show_name(str(path)) for path in dict.fromkeys(files))
    if len(case.references) > 1:
        more = (f"{len(case.references)} references united, as the rules say", *more)
    for note in scan.notes:
        logger.warning("%s: %s", case.name, note)
    return CaseOutcome(case.name, "done", inputs=inputs, reason="; ".join((*scan.notes, *more)), outputs=outputs)


def _write_scan(dataset: Path, name: str, scan: ScanReading) -> list[Path]:
    """Write a case's channels, a file each, and how they were brought together; the files."""
    from medseg.core.volume import Volume
    from medseg.io.dicom.channel_transforms import write_transforms
    from medseg.io.write import write_volume

    volume, paths = scan.volume, []
    for number, channel in enumerate(volume.channels):
        suffix = f"_{number:04d}" if len(volume.channels) > 1 else ""
        paths.append(dataset / "images" / f"{name}{suffix}.nii.gz")
        write_volume(paths[-1], Volume(volume.array[number : number + 1], volume.geometry, (channel,)))
    if scan.transforms:
        paths.append(dataset / "transforms" / f"{name}.json")
        write_transforms(paths[-1], scan.transforms)
    return paths


def _write_dataset(
    dataset: Path, cases: list[ImportCase], rules: RoiRules, channel_rules: Sequence[ChannelRule]
) -> None:
    from medseg.io.dicom.codes import describe_codes
    from medseg.io.dicom.import_plan import learn_rules
    from medseg.io.dicom.learnt_codes import learn_codes

    rows = []
    for case in cases:
        plane = case.series.planes[0]
        rows.append((case.name, case.patient, case.day, plane.modality, plane.series_number,
                     plane.moment.acquisition_number))  # fmt: skip
    atomic.write_text(dataset / "cases.csv", format_csv(_CASE_COLUMNS, rows))
    codes = learn_codes([case.references for case in cases], rules)
    content = {
        "name": dataset.name,
        "channel_names": {str(number): rule.channel for number, rule in enumerate(channel_rules)},
        "channel_rules": [
            rule.model_dump(mode="json", exclude_defaults=True) for rule in learn_rules(channel_rules, cases)
        ],
        **label_entries(rules.scheme),
        **({"codes": {label: describe_codes(entry) for label, entry in codes.items()}} if codes else {}),
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    write_json(dataset / "dataset.json", content)


def _list_files(
    tree: DicomTree,
    cases: list[ImportCase],
    ends: dict[Path, tuple[str, str]],
    drawn_on: set[int],
    outcomes: list[CaseOutcome],
) -> list[tuple[Any, ...]]:
    """A row per series, reference and unused file: how many files it is, what became of it and why."""
    from medseg.io.dicom.kinds import IMAGE

    by_name = {outcome.case: outcome for outcome in outcomes}
    by_series = {id(series): case.name for case in cases for series in case.channels}
    by_reference = {reference.path: case.name for case in cases for reference in case.references}
    counted: set[Path] = set()
    rows: list[tuple[Any, ...]] = []
    for series in tree.series:
        if series.kind == IMAGE:
            reason = "its reference is not used" if id(series) in drawn_on else "no reference was drawn on it"
            parts = [(series.files[0].parent, series.files, by_series.get(id(series), ""), ("left", reason))]
        else:
            parts = [(path, (path,), by_reference.get(path, ""), ends.get(path, ("", ""))) for path in series.files]
        for place, files, case, (status, reason) in parts:
            outcome = by_name.get(case)
            status, reason = (outcome.status, outcome.reason) if outcome else (status, reason)
            # Volumes that one file or series holds share their files: each counts once.
            rows.append((show_name(str(place)), series.name, len(set(files) - counted), case, status, reason))
            counted |= set(files)
    rows += [(show_name(str(path)), "", 1, "", "left", reason) for path, reason in tree.unused]
    return rows


def _describe(
    tree: DicomTree, taken: list[ImportCase], parts: list[tuple[Any, ...]], files: list[tuple[Any, ...]],
    outcomes: list[CaseOutcome], dataset: Path,
) -> str:  # fmt: skip
    by_file: dict[str, list[str]] = {}
    for file, name, label, _, _, volume_ml, _ in parts:
        if label:
            by_file.setdefault(file, []).append(f"{label} {volume_ml:.4g} ml ({name})")
    lines = []
    for case in taken:
        day = "" if case.day is None else f", day {case.day}"
        found = "; ".join(part for one in case.references for part in by_file.get(show_name(str(one.path)), []))
        series = " with ".join(one.name for one in case.channels)
        lines.append(f"{case.name}  {series}{day}: {found}")
    reasons: Counter[str] = Counter()
    for _, _, count, _, status, reason in files:
        reasons[reason] += count if status == "left" else 0
    lines += [f"left out: {count} files: {reason}" for reason, count in reasons.most_common() if count]
    lines += [f"{outcome.status}: {outcome.line()}" for outcome in outcomes if outcome.status != "done"]
    lines.append(f"{len(taken)} cases of {tree.file_count} files in {dataset}; import.csv says what became of each")
    return "\n".join(lines)


def _list_parts(
    dataset: Path, pairs: list[tuple[DicomSeries, Reference]], problems: list[tuple[str, MedsegError]], tilt: str,
    gaps: str,
) -> StepResult:  # fmt: skip
    """Every structure of every reference with its volume, and a draft of the rules."""
    from medseg.io.dicom.roi_names import draft_roi_rules

    rows: list[tuple[Any, ...]] = []
    outcomes = [_refuse(file, error) for file, error in problems]
    for series, reference in pairs:
        file = show_name(str(reference.path))
        try:
            rows += _measure_parts(series, reference, tilt, gaps)
            outcomes.append(CaseOutcome(reference.path.name, "skipped", inputs=(file,), reason="listed"))
        except (MedsegError, OSError, MemoryError) as error:
            outcomes.append(outcome_of_error(error, reference.path.name))
            rows += [(file, show_name(name), "", count, None, None, str(error))
                     for name, count in zip(reference.names, reference.contours, strict=True)]  # fmt: skip
    draft = draft_roi_rules(name for _, reference in pairs for name in reference.names)
    lines = []
    for file, name, _, count, voxels, volume_ml, reason in rows:
        size = reason if volume_ml is None else f"{voxels} voxels, {volume_ml:.4g} ml"
        lines.append(f"{file}  {name}: {count} contours, {size}" if count else f"{file}  {name}: {size}")
    lines += [f"{outcome.status}: {outcome.line()}" for outcome in outcomes if outcome.status != "skipped"]
    if draft is not None:
        draft.write(dataset / DRAFT)
        lines.append(f"Nothing was imported. Edit {dataset / DRAFT} and give it with --labels")
    return StepResult(
        outcomes, "\n".join(lines), {"structures": [dict(zip(_PART_COLUMNS, row, strict=True)) for row in rows]}
    )


def _measure_parts(series: DicomSeries, reference: Reference, tilt: str, gaps: str) -> list[tuple[Any, ...]]:
    import numpy as np

    from medseg.io.dicom.read import read_series
    from medseg.io.dicom.references import list_parts

    file = show_name(str(reference.path))
    _, source, _ = read_series(series, tilt=tilt, gaps=gaps)
    parts = list_parts(reference, source)
    rows: list[tuple[Any, ...]] = []
    for place, name in enumerate(reference.names):
        count = reference.contours[place]
        if not reference.drawn[place]:
            rows.append((file, show_name(name), "", count, None, None, "it has no closed contours"))
            continue
        try:
            voxels = int(np.count_nonzero(parts[place].draw()[0]))
            rows.append((file, show_name(name), "", count, voxels, voxels * source.geometry.voxel_volume_ml, ""))
        except MedsegError as error:
            rows.append((file, show_name(name), "", count, None, None, error.reason))
    return rows
