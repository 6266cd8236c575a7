"""Which scans of a tree have which reference, and what their cases are called in a data set."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medseg.core.errors import DatasetError, MedsegError
from medseg.io.dicom.kinds import IMAGE
from medseg.io.dicom.references import Reference, find_drawn_on, read_reference
from medseg.io.dicom.roi_names import RoiRules, choose_rois
from medseg.io.dicom.series import DicomSeries, DicomTree

# Names of channels where they differ from DICOM's modality.
_CHANNELS = {"PT": "PET"}


@dataclass(frozen=True, eq=False)
class ImportCase:
    """A scan with its reference.

    Args:
        name: of the case: a number for the patient and one for the scan, nothing that names anyone.
        patient: as the case's name has it.
        day: days since the patient's first scan of the tree; None where a date is missing.
        series: the scan.
        reference: drawn on it.
    """

    name: str
    patient: str
    day: int | None
    series: DicomSeries
    reference: Reference


def pair_references(tree: DicomTree) -> tuple[list[tuple[DicomSeries, Reference]], list[tuple[str, MedsegError]]]:
    """The references of a tree with the series that they were drawn on.

    Args:
        tree: as ``find_series`` gives it.
    Returns:
        the pairs in the order of the references' files, and of each reference that has none its file and why.
    """
    pairs: list[tuple[DicomSeries, Reference]] = []
    problems: list[tuple[str, MedsegError]] = []
    headers = [(header, series) for series in tree.series if series.kind != IMAGE for header in series.planes]
    for header, series in sorted(headers, key=lambda entry: entry[0].path):
        try:
            if series.problem is not None:
                raise series.problem
            reference = read_reference(header, series.kind)
            pairs.append((find_drawn_on(reference, tree.images), reference))
        except MedsegError as error:
            problems.append((str(header.path), error))
    return pairs, problems


def plan_cases(
    pairs: Sequence[tuple[DicomSeries, Reference]], rules: RoiRules, modality: str
) -> tuple[list[ImportCase], list[tuple[Reference, str]], list[tuple[str, MedsegError]]]:
    """The cases of a data set, each a scan with one reference.

    Args:
        pairs: as ``pair_references`` gives them.
        rules: which structures are wanted.
        modality: of the scans that are wanted; empty where all are of one.
    Returns:
        the cases, sorted by name; references that are left out, with the reason; and of each reference that is refused
        its file and why.
    Raises:
        DatasetError: the scans are of several modalities and none is chosen.
    """
    left: list[tuple[Reference, str]] = []
    problems: list[tuple[str, MedsegError]] = []
    wanted: dict[int, list[tuple[DicomSeries, Reference]]] = {}
    for series, reference in pairs:
        try:
            if modality and series.modality.upper() != modality.upper():
                left.append((reference, f"it was drawn on a series of modality {series.modality}"))
            elif not any(choose_rois(reference.names, rules, reference.drawn, str(reference.path)).labels.values()):
                left.append((reference, f"none of its {len(reference.names)} structures matches a label"))
            else:
                wanted.setdefault(id(series), []).append((series, reference))
        except MedsegError as error:
            problems.append((str(reference.path), error))
    single: list[tuple[DicomSeries, Reference]] = []
    for group in wanted.values():
        if len(group) == 1:
            single += group
            continue
        shown = ", ".join(reference.path.name for _, reference in group)
        problems += [(str(reference.path), _report_several(reference, len(group), shown)) for _, reference in group]
    _require_one_modality(single)
    return name_cases(single), left, problems


def name_channel(modality: str) -> str:
    """The channel's name for a modality: ``PET`` for PT, else the modality itself."""
    return _CHANNELS.get(modality, modality or "image")


def name_cases(pairs: Sequence[tuple[DicomSeries, Reference]]) -> list[ImportCase]:
    """Cases named by numbers: patients in the order of their files, scans of each in the order of their dates.

    Args:
        pairs: scans with their reference.
    Returns:
        the cases, sorted by name.
    """
    by_patient: dict[str, list[tuple[DicomSeries, Reference]]] = {}
    for pair in sorted(pairs, key=lambda pair: pair[0].files[0]):
        plane = pair[0].planes[0]
        by_patient.setdefault(plane.patient[0] or f"study {plane.study_uid}", []).append(pair)
    cases = []
    width = max(3, len(str(len(by_patient))))
    for number, group in enumerate(by_patient.values(), start=1):
        patient = f"p{number:0{width}d}"
        dates = [_parse_date(series.planes[0].study_date) for series, _ in group]
        known = [date for date in dates if date is not None]
        order = sorted(range(len(group)), key=lambda place: (dates[place] or datetime.date.max, place))
        for scan, place in enumerate(order, start=1):
            date = dates[place]
            day = (date - min(known)).days if date is not None else None
            cases.append(ImportCase(f"{patient}_{scan}", patient, day, *group[place]))
    return sorted(cases, key=lambda case: case.name)


def _report_several(reference: Reference, count: int, shown: str) -> DatasetError:
    return DatasetError(
        f"{count} references of its series have wanted structures: {shown}", code="several_references",
        file=reference.path, remedy="Leave the right one in the tree, or narrow the patterns in rois.json",
    )  # fmt: skip


def _require_one_modality(pairs: Sequence[tuple[DicomSeries, Reference]]) -> None:
    found = Counter(series.modality for series, _ in pairs)
    if len(found) > 1:
        counts = ", ".join(f"{modality or 'none'} ({count} scans)" for modality, count in found.most_common())
        raise DatasetError(
            f"references were drawn on scans of several modalities: {counts}", code="several_modalities",
            remedy=f"Choose one with --modality {found.most_common(1)[0][0]}",
        )  # fmt: skip


def _parse_date(text: str) -> datetime.date | None:
    try:
        return datetime.datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None
