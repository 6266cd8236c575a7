"""One pass over every case: what is wrong, what channels and labels are, what the planner needs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from medseg.compute import map_cases
from medseg.core.dataset import Case, Dataset
from medseg.core.errors import MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, outcome_of_error
from medseg.core.volume import Segmentation, Volume
from medseg.fingerprint.check import check_case, find_values
from medseg.fingerprint.modality import Modality, infer_modality
from medseg.fingerprint.names import name_channels, name_labels
from medseg.fingerprint.summary import CaseSummary, summarise_case
from medseg.io import read_segmentation, read_volume

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspection:
    """What one pass over a data set found.

    Args:
        dataset: its usable cases, with channels and labels named.
        summaries: one per usable case.
        outcomes: one per case: done, or refused with the reason; a case with several problems has several.
    """

    dataset: Dataset
    summaries: tuple[CaseSummary, ...]
    outcomes: tuple[CaseOutcome, ...]


def describe_inspection(inspection: Inspection) -> str:
    """What a pass over a data set found, in words: layout, cases, problems, channels, labels, notes."""
    found = inspection.dataset
    bad = sum(outcome.status != "done" for outcome in inspection.outcomes)
    labelled = ", ".join(found.labels.names) if found.labels else "none"
    lines = [f"{found.root}: {found.layout}; {len(found.cases)} cases can be used, {bad} problems"]
    return "\n".join([*lines, f"channels: {', '.join(found.channels)}; labels: {labelled}", *found.notes])


@dataclass(frozen=True)
class _Look:
    summary: CaseSummary | None
    problems: list[MedsegError]


def inspect_dataset(dataset: Dataset, *, title: str = "check") -> Inspection:
    """Read every case, list its problems and summarise it.

    Args:
        dataset: as ``open_dataset`` gives it; channels and labels that nothing names are named by what the images and
            masks hold.
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
    for outcome in bad[:given] + bad[given + len(failures) :]:  # map_cases has told of the failures
        logger.error("%s", outcome.line())
    summaries = tuple(seen.summary for seen in looks if seen.summary is not None and not seen.problems)
    usable = {summary.fingerprint.case for summary in summaries}
    cases = tuple(case for case in dataset.cases if case.name in usable)
    done = [CaseOutcome(case.name, "done", inputs=(str(case.images[0].path),)) for case in cases]
    outcomes = sorted([*done, *bad], key=lambda outcome: outcome.case)
    return Inspection(replace(dataset, cases=cases), summaries, tuple(outcomes))


def _look_at(case: Case, dataset: Dataset, labels: LabelScheme) -> _Look:
    volume, segmentation, problems = _read(case, dataset)
    if volume is not None:
        problems += check_case(case, volume, segmentation, labels)
    if problems or volume is None or segmentation is None:
        return _Look(None, problems)
    return _Look(summarise_case(case, volume, segmentation, labels), [])


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
    def look(case: Case) -> tuple[list[Modality], tuple[int, ...]]:
        volume, segmentation, _ = _read(case, dataset)
        modalities = [infer_modality(channel) for channel in volume.array] if volume is not None else []
        return modalities, find_values(segmentation.array) if segmentation is not None else ()

    # Unreadable cases are left to the pass that follows, which names what is wrong with them.
    seen, _ = map_cases(look, dataset.cases, lambda case: case.name, title=f"{title}: names")
    channels, notes = dataset.channels, dataset.notes
    if not channels:
        channels, found = name_channels([modalities for modalities, _ in seen if modalities])
        notes += found
    labels = dataset.labels
    if labels is None:
        labels, line = name_labels(value for _, values in seen for value in values)
        notes += (line,)
    return replace(dataset, channels=channels, labels=labels, notes=notes)
