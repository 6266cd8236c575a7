"""Which scans of a tree have which reference, and what their cases are called in a data set."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medseg.core.channel_rules import ChannelRule
from medseg.core.errors import DatasetError, MedsegError
from medseg.io.dicom.channel_choice import choose_channels
from medseg.io.dicom.channel_rules import fits, learn_descriptions, name_channel, spell_modality, tell_rule
from medseg.io.dicom.kinds import IMAGE
from medseg.io.dicom.references import Reference, choose_references, find_drawn_on, read_reference, refuse_several
from medseg.io.dicom.roi_names import RoiRules
from medseg.io.dicom.series import DicomSeries, DicomTree

_NAMES_SHOWN = 10


@dataclass(frozen=True, eq=False)
class ImportCase:
    """A scan with its reference.

    Args:
        name: of the case: a number for the patient and one for the scan, nothing that names anyone.
        patient: as the case's name has it.
        day: days since the patient's first scan of the tree; None where a date is missing.
        series: the scan.
        references: drawn on it; several only where the rules unite them.
        channels: a series for each channel, the scan first.
    """

    name: str
    patient: str
    day: int | None
    series: DicomSeries
    references: tuple[Reference, ...]
    channels: tuple[DicomSeries, ...]


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
    pairs: Sequence[tuple[DicomSeries, Reference]],
    rules: RoiRules,
    modality: str,
    channel_rules: Sequence[ChannelRule] = (),
) -> tuple[list[ImportCase], list[tuple[Reference, str]], list[tuple[str, MedsegError]]]:
    """The cases of a data set, each a scan with its references.

    Args:
        pairs: as ``pair_references`` gives them.
        rules: which structures are wanted.
        modality: of the scans that are wanted; empty where all are of one, or rules say which are wanted.
        channel_rules: of the channels, the first of which the references are drawn on; none where there is one channel
            and ``modality`` says which.
    Returns:
        the cases, sorted by name, with their first channel; references that are left out, with the reason; and of each
        reference that is refused its file and why.
    Raises:
        DatasetError: the scans are of several modalities and none is chosen, or none is of the chosen one.
    """
    left: list[tuple[Reference, str]] = []
    nameless: list[Reference] = []
    problems: list[tuple[str, MedsegError]] = []
    wanted: dict[int, list[tuple[DicomSeries, Reference]]] = {}
    for series, reference in pairs:
        try:
            if modality and series.modality.upper() != spell_modality(modality):
                left.append((reference, f"it was drawn on a series of modality {series.modality}"))
            elif channel_rules and not fits(channel_rules[0], series):
                left.append((reference, f"it was drawn on a series ({series.modality}) that is not the first channel"))
            elif not any(choose_references([reference], rules).labels.values()):
                nameless.append(reference)
                left.append((reference, f"none of its {len(reference.names)} structures matches a label"))
            else:
                wanted.setdefault(id(series), []).append((series, reference))
        except MedsegError as error:
            problems.append((str(reference.path), error))
    taken: list[tuple[DicomSeries, tuple[Reference, ...]]] = []
    for group in wanted.values():
        references = tuple(reference for _, reference in group)
        try:
            refuse_several(references, rules)
            taken.append((group[0][0], references))
        except DatasetError as error:
            problems += [(str(reference.path), _of_file(error, reference)) for reference in references]
    if not wanted and not problems:
        raise (
            _refuse_names(nameless) if nameless else _refuse_none([scan for scan, _ in pairs], modality, channel_rules)
        )
    if not channel_rules:
        _require_one_modality([series for series, _ in taken])
    return name_cases(taken), left, problems


def settle_import_rules(
    cases: Sequence[ImportCase], channel_rules: Sequence[ChannelRule] = ()
) -> tuple[ChannelRule, ...]:
    """The rules of the channels: those that are given, else one of the modality that all cases are of.

    Args:
        cases: as ``plan_cases`` gives them.
        channel_rules: as the user states them.
    Returns:
        a rule for each channel; none without rules and cases. PET becomes SUVbw unless a rule says otherwise.
    """
    if channel_rules or not cases:
        return tuple(channel_rules)
    modality = cases[0].series.modality
    return (ChannelRule(channel=name_channel(modality), modality=modality, as_suv=modality == "PT"),)


def add_channels(case: ImportCase, images: Sequence[DicomSeries], channel_rules: Sequence[ChannelRule]) -> ImportCase:
    """A case with a series of its study for each channel; raises DatasetError as ``choose_channels`` does.

    Args:
        case: with its first channel.
        images: all scans of the tree.
        channel_rules: of the channels.
    Returns:
        the case.
    """
    study = [series for series in images if series.study_uid == case.series.study_uid]
    return replace(case, channels=choose_channels(study, channel_rules, first=case.series))


def learn_rules(channel_rules: Sequence[ChannelRule], cases: Sequence[ImportCase]) -> list[ChannelRule]:
    """The rules as they are kept with the data set: with the descriptions of the series that were taken.

    Args:
        channel_rules: of the channels.
        cases: that were taken.
    Returns:
        a rule for each channel.
    """
    return [
        learn_descriptions(rule, [(case.patient, case.channels[number]) for case in cases])
        for number, rule in enumerate(channel_rules)
    ]


def name_cases(pairs: Sequence[tuple[DicomSeries, tuple[Reference, ...]]]) -> list[ImportCase]:
    """Cases named by numbers: patients in the order of their files, scans of each in the order of their dates.

    Args:
        pairs: scans with their references.
    Returns:
        the cases, sorted by name.
    """
    drawn = {id(series): references for series, references in pairs}
    cases: list[ImportCase] = []
    scans: Counter[str] = Counter()
    for series, patient, day in number_patients([series for series, _ in pairs]):
        scans[patient] += 1
        cases.append(ImportCase(f"{patient}_{scans[patient]}", patient, day, series, drawn[id(series)], (series,)))
    return sorted(cases, key=lambda case: case.name)


def number_patients(scans: Sequence[DicomSeries]) -> list[tuple[DicomSeries, str, int | None]]:
    """Whose each scan is and when it was taken, by numbers that name nobody.

    Args:
        scans: of any patients.
    Returns:
        each scan with its patient, ``p001`` for the one whose files come first, and the days since that patient's first
        scan, None where a date is missing; patient by patient, the scans of each in the order of their dates.
    """
    by_patient: dict[str, list[DicomSeries]] = {}
    for series in sorted(scans, key=lambda series: series.files[0]):
        plane = series.planes[0]
        by_patient.setdefault(plane.patient[0] or f"study {plane.study_uid}", []).append(series)
    found: list[tuple[DicomSeries, str, int | None]] = []
    width = max(3, len(str(len(by_patient))))
    for number, group in enumerate(by_patient.values(), start=1):
        dates = [_parse_date(series.planes[0].study_date) for series in group]
        known = [date for date in dates if date is not None]
        for place in sorted(range(len(group)), key=lambda place: (dates[place] or datetime.date.max, place)):
            date = dates[place]
            found.append((group[place], f"p{number:0{width}d}", (date - min(known)).days if date is not None else None))
    return found


def _of_file(error: DatasetError, reference: Reference) -> DatasetError:
    return DatasetError(error.reason, code=error.code, file=reference.path, remedy=error.remedy)


def _refuse_names(references: Sequence[Reference]) -> DatasetError:
    names = sorted({name for reference in references for name in reference.names})
    shown = ", ".join(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")
    return DatasetError(
        f"no structure of {len(references)} references matches a label; they are called {shown}", code="no_masks",
        remedy="Mend the patterns of --labels; without it, a draft with all names is written",
    )  # fmt: skip


def _refuse_none(drawn_on: Sequence[DicomSeries], modality: str, channel_rules: Sequence[ChannelRule]) -> DatasetError:
    wanted = f"the first channel, {tell_rule(channel_rules[0])}" if channel_rules else f"a scan of modality {modality}"
    remedy = "Name the channel that they were drawn on first in --channels" if channel_rules else "Choose another"
    return DatasetError(
        f"no reference with a wanted structure was drawn on {wanted}; they were drawn on {_count_modalities(drawn_on)}",
        code="no_masks", remedy=remedy,
    )  # fmt: skip


def _count_modalities(scans: Sequence[DicomSeries]) -> str:
    found = Counter(series.modality for series in scans)
    return ", ".join(f"{modality or 'none'} ({count} scans)" for modality, count in found.most_common())


def _require_one_modality(scans: Sequence[DicomSeries]) -> None:
    found = Counter(series.modality for series in scans)
    if len(found) > 1:
        counts = _count_modalities(scans)
        raise DatasetError(
            f"references were drawn on scans of several modalities: {counts}", code="several_modalities",
            remedy=f"Choose one with --modality {found.most_common(1)[0][0]}",
        )  # fmt: skip


def _parse_date(text: str) -> datetime.date | None:
    try:
        return datetime.datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None
