"""A report about a folder of results: tables, masks and scans are found, drawn and put on one page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.compute import map_cases
from medseg.core.dataset import Case, Dataset, MaskSource, read_dataset
from medseg.core.errors import DatasetError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, outcome_of_error
from medseg.core.records import read_json
from medseg.core.results import Measurement, Score, read_rows
from medseg.core.volume import Volume
from medseg.core.workspace import Workspace
from medseg.io import find_images, find_masks, find_patients, read_segmentation, read_volume, settle_labels
from medseg.io.dicom.reading import recall_reading
from medseg.io.files import list_images
from medseg.io.results_input import name_masks_as, name_scans_as
from medseg.reporting.content import CaseFigures, Line, ReportContent
from medseg.reporting.drawing import draw_case
from medseg.reporting.html import write_report
from medseg.reporting.timelines import read_timelines


def report_folder(
    directory: Path,
    *,
    images: str | Path | None = None,
    references: str | Path | None = None,
    labels: str | Path | None = None,
) -> tuple[list[CaseOutcome], Path]:
    """Write ``DIR/report.html`` from what the folder holds.

    Args:
        directory: a workspace, or an output folder of ``predict``, ``evaluate`` or ``measure``.
        images: the scans, to draw; a workspace knows its own.
        references: reference masks to draw beside; a workspace knows its own.
        labels: of DICOM references, a ``rois.json`` that says which structures are which label.
    Returns:
        an outcome per case that was drawn, and the report's path.
    Raises:
        DatasetError: the folder holds neither tables nor masks, or ``labels`` names other labels than its masks have.
        FormatError: ``labels`` is no such file.
    """
    dataset = _read_workspace(directory)
    masks = _find_masks(directory)
    scores = _read_table(directory / "scores.csv", Score)
    measurements = _read_table(directory / "measurements.csv", Measurement)
    if not (masks or scores or measurements):
        raise DatasetError(
            "it holds no result: neither predicted masks nor scores.csv nor measurements.csv", code="no_results",
            file=directory, remedy="Give an output folder of medseg run, predict, evaluate or measure",
        )  # fmt: skip
    timelines = read_timelines(directory / "longitudinal.json")
    scheme = settle_labels(None, (directory, directory / "predictions"), masks.values())
    content = read_json(directory / "run.json") if (directory / "run.json").is_file() else {}
    reading = recall_reading(content, labels).with_places(scheme, *([images] if images is not None else []))
    scans = find_images(images, dicom=reading) if images is not None else _cases_of(dataset)
    problems: list[MedsegError] = []
    referred = find_masks(references, problems, dicom=reading) if references is not None else _references_of(dataset)
    scans, referred = name_scans_as(scans, directory), name_masks_as(referred, directory)
    patients = find_patients(images or directory) | {c.name: (c.patient, c.day) for c in scans.values()}
    lines = _read_lines(directory / "measurements.json")

    channels = dataset.channels if dataset else tuple(content.get("channels", ()))

    def draw(name: str) -> CaseFigures:
        volume = read_volume(scans[name], channels if scans[name].load is None else ())
        return _draw(name, volume, masks[name], referred.get(name), scheme, lines.get(name, ()), patients)

    shown = [name for name in masks if name in scans]
    figures, failures = map_cases(draw, shown, str, title="report")
    failures += map(outcome_of_error, problems)
    path = directory / "report.html"
    write_report(
        path,
        ReportContent(
            title=f"Segmentation report: {dataset.name if dataset else directory.resolve().name}",
            dataset=dataset.name if dataset else directory.resolve().name,
            labels=scheme,
            scores=scores,
            measurements=measurements,
            cases=figures,
            outcomes=[*_outcomes_of(content), *failures],
            summary=read_json(directory / "summary.json") if (directory / "summary.json").is_file() else None,
            training=_read_log(directory),
            notes=(
                *content.get("notes", ()),
                *_read_interval_notes(directory / "measurements.json", measurements),
                *_count_objects(content.get("objects", {})),
            ),
            warnings=(
                *content.get("warnings", ()),
                *_read_alarms(directory),
                *(timelines.warnings if timelines else ()),
            ),
            timelines=timelines,
            provenance=_provenance_of(content),
        ),
    )
    return [CaseOutcome(figure.case, "done") for figure in figures] + failures, path


def _count_objects(objects: Mapping[str, str]) -> list[str]:
    """A line about the DICOM objects that ``predict`` wrote; none where there are none."""
    counts = Counter(words.split(",")[0] for words in objects.values())
    if not counts:
        return []
    listed = ", ".join(f"{count} x {kind}" for kind, count in sorted(counts.items()))
    return [f"Written beside the masks, read back and compared: {listed}; run.json says what each file holds."]


def _draw(
    name: str,
    volume: Volume,
    mask: MaskSource,
    reference: MaskSource | None,
    labels: LabelScheme,
    lines: Sequence[Line],
    patients: dict[str, tuple[str, int | None]],
) -> CaseFigures:
    segmentation = read_segmentation(mask, labels=labels, like=volume.geometry, case=name)
    truth = None
    if reference is not None:
        truth = read_segmentation(reference, labels=labels, like=volume.geometry, case=name)
    patient, day = patients.get(name, (name, None))
    return draw_case(volume, segmentation, truth, labels, case=name, patient=patient, day=day, lines=lines)


def _read_workspace(directory: Path) -> Dataset | None:
    path = Workspace(directory).cases
    if not path.is_file():
        return None
    return read_dataset(path)


def _find_masks(directory: Path) -> dict[str, MaskSource]:
    folder = directory / "predictions" if (directory / "predictions").is_dir() else directory
    try:
        found = find_masks(folder)
    except DatasetError:
        return {}
    return {case: source for case, source in found.items() if _is_result(case, source, folder)}


def _is_result(case: str, source: MaskSource, folder: Path) -> bool:
    """Whether a mask was predicted: those in a data set's own folder of masks, or beside their scan, are references."""
    place = source.path.parent
    return place == folder or (place.parent == folder and place.name == case and len(list_images(place)) == 1)


def _read_table(path: Path, kind: type[Any]) -> list[Any]:
    return read_rows(path, kind) if path.is_file() else []


def _cases_of(dataset: Dataset | None) -> dict[str, Case]:
    return {case.name: case for case in (*dataset.cases, *dataset.test_cases)} if dataset else {}


def _references_of(dataset: Dataset | None) -> dict[str, MaskSource]:
    return {name: case.mask for name, case in _cases_of(dataset).items() if case.mask is not None}


def _read_lines(path: Path) -> dict[str, list[Line]]:
    """The longest axial diameter of each label's largest lesion, by case."""
    if not path.is_file():
        return {}
    found: dict[str, list[Line]] = {}
    for case, lesions in read_json(path).get("diameters", {}).items():
        best: dict[str, tuple[float, Line]] = {}
        for lesion, entry in lesions.items():
            label = lesion.rpartition("-")[0]
            first, second = (tuple(point) for point in entry["ends_index"])
            text = f"{entry['length_mm']:.1f} mm"
            line = Line(label, entry["axis"], entry["slice"], first, second, text)
            if entry["length_mm"] > best.get(label, (0.0, None))[0]:
                best[label] = (entry["length_mm"], line)
        found[case] = [line for _, line in best.values()]
    return found


def _read_interval_notes(path: Path, measurements: Sequence[Measurement]) -> list[str]:
    """What the brackets after a volume mean, and what to know of single ones; nothing where no volume has them."""
    if not path.is_file() or all(row.low is None for row in measurements):
        return []
    meaning = (
        "In brackets after a volume stands its error bar: by the errors that the model made on scans it had not seen, "
        "the true volume of 95 in 100 patients like those of its training data lies within."
    )
    return [meaning, *read_json(path).get("volume_intervals", {}).get("notes", ())]


def _outcomes_of(content: dict[str, Any]) -> list[CaseOutcome]:
    return [CaseOutcome(**{**case, "inputs": tuple(case["inputs"])}) for case in content.get("cases", ())]


def _provenance_of(content: dict[str, Any]) -> dict[str, str]:
    entries = {key: content[key] for key in ("version", "command", "model") if content.get(key)}
    return {**{key: str(value) for key, value in entries.items()}, **content.get("settings", {})}


def _read_log(directory: Path) -> list[dict[str, Any]]:
    """The epochs of the first run, for the training curve."""
    log = next(iter(_list_logs(directory)), None)
    if log is None:
        return []
    return [{"epoch": r["epoch"], "loss": r["loss"], "dice": r["patch_dice"]} for r in _read_epochs(log)]


def _read_alarms(directory: Path) -> list[str]:
    """What the trainings found wrong, with the run each belongs to; an alarm that several runs raised is one line."""
    runs: dict[str, list[str]] = {}
    for log in _list_logs(directory):
        name = f"{log.parent.parent.name} {log.parent.name.replace('_', ' ')}"
        for alarm in (alarm for record in _read_epochs(log) for alarm in record.get("alarms", ())):
            runs.setdefault(alarm, []).append(name)
    return [f"Training {', '.join(names)}: {alarm}" for alarm, names in runs.items()]


def _list_logs(directory: Path) -> list[Path]:
    return sorted(directory.glob("runs/*/*/log.jsonl"))


def _read_epochs(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.strip()]
