"""One pass over every case: what is wrong, what channels and labels are, what the planner needs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medseg.compute import map_cases
from medseg.core.dataset import Case, Dataset
from medseg.core.errors import DatasetError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, outcome_of_error
from medseg.core.volume import Segmentation, Volume
from medseg.fingerprint.check import check_case, find_values
from medseg.fingerprint.equal_scans import (
    Sketch,
    find_equal_masks,
    find_equal_scans,
    join_patients,
    refuse_equal_scans,
    sketch_case,
    turn_to_patient,
)
from medseg.fingerprint.filled import find_filled
from medseg.fingerprint.held_out import find_held_out
from medseg.fingerprint.mirrored import find_mirrored, note_all_mirrored
from medseg.fingerprint.modality import Modality, infer_modality
from medseg.fingerprint.names import MOST_LABELS, name_channels, name_labels, note_labels
from medseg.fingerprint.placements import Placements, measure_placements
from medseg.fingerprint.summary import CaseSummary, summarise_case
from medseg.io import open_dataset, read_segmentation, read_volume

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspection:
    """What one pass over a data set found.

    Args:
        dataset: its usable cases, with channels and labels named.
        summaries: one per usable case.
        outcomes: one per case: done, or refused with the reason; a case with several problems has several. A case that
            is done and has a reason is usable but looks wrong: a warning.
    """

    dataset: Dataset
    summaries: tuple[CaseSummary, ...]
    outcomes: tuple[CaseOutcome, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The line of each usable case that looks wrong."""
        return tuple(outcome.line() for outcome in self.outcomes if outcome.status == "done" and outcome.reason)


def describe_inspection(inspection: Inspection) -> str:
    """What a pass over a data set found, in words: layout, cases, problems, channels, labels, notes."""
    found = inspection.dataset
    bad = sum(outcome.status != "done" for outcome in inspection.outcomes)
    labelled = ", ".join(found.labels.names) if found.labels else "none"
    doubtful = f", {len(inspection.warnings)} doubtful" if inspection.warnings else ""
    lines = [f"{found.root}: {found.layout}; {len(found.cases)} cases can be used, {bad} problems{doubtful}"]
    return "\n".join([*lines, f"channels: {', '.join(found.channels)}; labels: {labelled}", *found.notes])


def inspect_path(path: str | Path, *, keep_equal_scans: bool = False, **named: Any) -> Inspection:
    """As ``inspect_dataset``, of the data set at a path.

    Args:
        path: any layout of a data set.
        keep_equal_scans: of ``inspect_dataset``.
        named: options of ``open_dataset``.
    Returns:
        what one pass over it found.
    """
    return inspect_dataset(open_dataset(path, **named), keep_equal_scans=keep_equal_scans)


@dataclass(frozen=True)
class _Look:
    case: str
    summary: CaseSummary | None
    sketch: Sketch | None
    placements: Placements | None
    problems: list[MedsegError]


def inspect_dataset(dataset: Dataset, *, keep_equal_scans: bool = False, title: str = "check") -> Inspection:
    """Read every case, list its problems and summarise it; then compare the cases with one another.

    Args:
        dataset: as ``open_dataset`` gives it; channels and labels that nothing names are named by what the images and
            masks hold.
        keep_equal_scans: use cases of different patients that hold the same scan, as cases of one patient; they are
            refused otherwise.
        title: of the progress bar.
    Returns:
        the usable cases with their summaries, and an outcome for each case and problem.
    Raises:
        DatasetError: the channels' modality is unclear where it would decide the normalisation, or the masks hold no
            label at all.
    """
    bad = [outcome_of_error(problem) for problem in dataset.problems]
    if not dataset.channels or dataset.labels is None:
        dataset = _name_all(dataset, title)
    labels = dataset.labels
    assert labels is not None  # named above

    def look(case: Case) -> _Look:
        return _look_at(case, dataset, labels)

    given = len(bad)
    looks, failures = map_cases(look, dataset.cases, lambda case: case.name, title=title)
    bad += failures
    bad += [outcome_of_error(problem) for seen in looks for problem in seen.problems]
    usable = {seen.case: seen for seen in looks if seen.summary is not None and not seen.problems}
    dataset = replace(dataset, cases=tuple(case for case in dataset.cases if case.name in usable))
    dataset, leaks = _settle_equal_scans(dataset, usable, keep_equal_scans)
    bad += [outcome_of_error(problem) for problem in leaks.values()]
    for outcome in bad[:given] + bad[given + len(failures) :]:  # map_cases has told of the failures
        logger.error("%s", outcome.line())
    doubts, lines = _compare_cases(dataset, usable)
    for line in (*(outcome_of_error(doubt).line() for doubt in doubts), *lines):
        logger.warning("%s", line)
    done = [_conclude(case, doubts) for case in dataset.cases]
    outcomes = sorted([*done, *bad], key=lambda outcome: outcome.case)
    summaries = tuple(_summary_of(case, usable) for case in dataset.cases)
    noted = replace(dataset, notes=(*dataset.notes, *lines, *note_labels(labels, summaries)))
    return Inspection(noted, summaries, tuple(outcomes))


def _compare_cases(dataset: Dataset, usable: Mapping[str, _Look]) -> tuple[list[DatasetError], tuple[str, ...]]:
    """Warnings for cases that look wrong beside the others, and lines about all of them."""
    sketches = {name: seen.sketch for name, seen in usable.items() if seen.sketch is not None}
    placed = {name: seen.placements for name, seen in usable.items() if seen.placements is not None}
    doubts = [*find_equal_masks(dataset.cases, sketches), *find_held_out(dataset)]
    doubts += find_filled(dataset.cases, {name: sketch.share for name, sketch in sketches.items()})
    doubts += find_mirrored(dataset.cases, placed)
    return doubts, note_all_mirrored([placed[case.name] for case in dataset.cases if case.name in placed])


def _conclude(case: Case, doubts: Sequence[MedsegError]) -> CaseOutcome:
    about = next((doubt for doubt in doubts if doubt.case == case.name), None)
    inputs = (str(case.images[0].path),)
    if about is None:
        return CaseOutcome(case.name, "done", inputs=inputs)
    file = (about.file,) if about.file else inputs
    return CaseOutcome(case.name, "done", about.code, file, about.reason, about.remedy or "")


def _summary_of(case: Case, usable: Mapping[str, _Look]) -> CaseSummary:
    summary = usable[case.name].summary
    assert summary is not None  # of a usable case
    return replace(summary, fingerprint=summary.fingerprint.model_copy(update={"patient": case.patient}))


def _settle_equal_scans(
    dataset: Dataset, usable: Mapping[str, _Look], keep: bool
) -> tuple[Dataset, Mapping[str, MedsegError]]:
    """The data set without the cases that hold another patient's scan, or with these patients made one."""
    sketches = {name: seen.sketch for name, seen in usable.items() if seen.sketch is not None}

    def are_equal(one: Case, other: Case) -> bool:
        (first, _, _), (second, _, _) = _read(one, dataset), _read(other, dataset)
        if first is None or second is None:  # gone since it was read before
            return False
        ours, theirs = (turn_to_patient(volume.array, volume.geometry) for volume in (first, second))
        return bool(np.array_equal(ours, theirs))

    groups = find_equal_scans(dataset.cases, sketches, are_equal)
    if keep:
        cases, notes = join_patients(dataset.cases, groups)
        return replace(dataset, cases=cases, notes=(*dataset.notes, *notes)), {}
    leaks = refuse_equal_scans(groups, sketches)
    return replace(dataset, cases=tuple(case for case in dataset.cases if case.name not in leaks)), leaks


def _look_at(case: Case, dataset: Dataset, labels: LabelScheme) -> _Look:
    volume, segmentation, problems = _read(case, dataset)
    if volume is not None:
        problems += check_case(case, volume, segmentation, labels)
    if problems or volume is None or segmentation is None:
        return _Look(case.name, None, None, None, problems)
    summary = summarise_case(case, volume, segmentation, labels)
    return _Look(
        case.name, summary, sketch_case(volume, segmentation), measure_placements(volume, segmentation, labels), []
    )


def _read(case: Case, dataset: Dataset) -> tuple[Volume | None, Segmentation | None, list[MedsegError]]:
    """Image and mask; what cannot be read is a problem, so that a bad image does not hide a bad mask."""
    problems: list[MedsegError] = []
    volume = segmentation = None
    try:
        volume = read_volume(case, dataset.channels, spacing_mm=dataset.spacing_mm)
    except MedsegError as error:
        problems.append(error.for_case(case.name))
    try:
        if case.mask is not None:
            like = volume.geometry if volume is not None else None
            segmentation = read_segmentation(
                case.mask, labels=dataset.labels, like=like, case=case.name, spacing_mm=dataset.spacing_mm
            )
    except MedsegError as error:
        problems.append(error.for_case(case.name))
    return volume, segmentation, problems


def _name_all(dataset: Dataset, title: str) -> Dataset:
    problems = list(dataset.problems)

    def look(case: Case) -> tuple[list[Modality], tuple[int, ...]]:
        volume, segmentation, own = _read(case, dataset)
        problems.extend(own)
        modalities = [infer_modality(channel) for channel in volume.array] if volume is not None else []
        return modalities, find_values(segmentation.array) if segmentation is not None else ()

    # Unreadable cases are left to the pass that follows, which names what is wrong with them.
    seen, _ = map_cases(look, dataset.cases, lambda case: case.name, title=f"{title}: names")
    channels, notes = dataset.channels, dataset.notes
    if not channels:
        readable = [modalities for modalities, _ in seen if modalities]
        if problems and not readable:
            raise _refuse_all(problems)
        channels, found = name_channels(readable)
        notes += found
    labels = dataset.labels
    if labels is None:
        labels, line = name_labels(value for values in _pick_classes(seen) for value in values)
        notes += (line,)
    return replace(dataset, channels=channels, labels=labels, notes=notes)


def _refuse_all(problems: Sequence[MedsegError]) -> DatasetError:
    first = min(problems, key=lambda problem: problem.case or "")
    others = f" of {len(problems)} problems" if len(problems) > 1 else ""
    return DatasetError(
        f"no case can be used; the first{others}: {first.reason}", code="no_case", case=first.case, file=first.file,
        remedy=first.remedy,
    )  # fmt: skip


def _pick_classes(seen: Sequence[tuple[list[Modality], tuple[int, ...]]]) -> list[tuple[int, ...]]:
    """The values of each mask, without masks of so many that they cannot be classes where others have fewer."""
    masks = [values for _, values in seen]
    return [values for values in masks if 1 < len(values) <= MOST_LABELS + 1] or masks
