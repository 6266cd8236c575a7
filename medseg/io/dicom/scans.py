"""Scans to segment in a tree of DICOM files: series for each channel of a model."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.core.channel_rules import ChannelRule
from medseg.core.dataset import Case, Dataset, ImageSource
from medseg.core.errors import DatasetError, MedsegError, show_name
from medseg.io.dicom.channel_choice import check_register, choose_channels, list_fitting, require_frame
from medseg.io.dicom.channel_reading import ScanReading, read_channels
from medseg.io.dicom.channel_rules import fits, settle_rules, tell_rule
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import plan_stack
from medseg.io.dicom.reading import account_files
from medseg.io.dicom.series import DicomSeries, DicomTree

_KEY_DIGITS = 8


@dataclass(frozen=True, eq=False)
class DicomScans:
    """What a tree holds for a model.

    Args:
        dataset: the cases; those that cannot be used are its problems.
        series: by the case's name, a series per channel.
        rules: which series a channel takes, one each.
        left: every other scan of the tree, with the reason.
        tilt, gaps, register: as ``read_channels`` takes them.
        files: how many files there are, and why those are unused that are, as ``account_files`` counts them, with
            ``tilt`` and ``gaps``.
    """

    dataset: Dataset
    series: Mapping[str, tuple[DicomSeries, ...]]
    rules: tuple[ChannelRule, ...]
    left: tuple[tuple[DicomSeries, str], ...]
    tilt: str
    gaps: str
    register: str
    files: Mapping[str, Any]

    def describe(self) -> str:
        """How it was read, in words: what changes masks where it changes."""
        registered = f", register {self.register}" if len(self.rules) > 1 else ""
        return f"tilt {self.tilt}, gaps {self.gaps}{registered}, {self.tell_rules()}"

    def tell_rules(self) -> str:
        """The rules as ``--channels`` takes them."""
        return "; ".join(map(tell_rule, self.rules))

    def tell_left(self) -> list[str]:
        """A line for each reason why scans are left, with the first of them and how many."""
        reasons: dict[str, list[DicomSeries]] = defaultdict(list)
        for series, reason in self.left:
            reasons[reason].append(series)
        return [f"left: {len(group)} series, the first {group[0].name}: {reason}" for reason, group in reasons.items()]

    def list_files(self, name: str) -> tuple[Path, ...]:
        """All files of a case."""
        return tuple(dict.fromkeys(file for series in self.series[name] for file in series.files))

    def read(self, name: str) -> ScanReading:
        """The volume of a case on its first channel's grid; raises as ``read_channels``."""
        try:
            return read_channels(self.rules, self.series[name], tilt=self.tilt, gaps=self.gaps, register=self.register)
        except MedsegError as error:
            error.case = name  # the series calls itself by its description
            raise


def find_scans(
    root: str | Path,
    channels: Sequence[str],
    *,
    rules: str | None = None,
    known: Sequence[ChannelRule] = (),
    tilt: str = "refuse",
    gaps: str = "refuse",
    register: str = "refuse",
) -> DicomScans:
    """The series of a tree that a model can segment; no pixels are read.

    Args:
        root: a series' folder, a tree of many patients, or one file.
        channels: of the model.
        rules: which series is which channel (``settle_rules``).
        known: the model's own rules, for channels that ``rules`` does not name.
        tilt, gaps, register: as ``read_channels`` takes them.
    Returns:
        a case per series for a model of one channel; of several a case per study that has one series for each, all in
        one frame of reference or to be registered. Where the model's rules know the descriptions of the series that it
        was trained on, a study's series of such descriptions are taken and the others left. Cases are called after
        study, modality, series number and series of the first channel, by keys of their identifiers, since names of
        patients and places do not belong into paths.
    Raises:
        DatasetError: no series fits, or a rule or option is none.
    """
    settled, tree = settle_rules(channels, rules, known=known), find_series(root)
    check_register(register)
    if not any(fits(rule, series) for rule in settled for series in tree.images):
        asked = "; ".join(map(tell_rule, settled))
        raise DatasetError(
            f"no series fits the channels of the model ({asked}) among {_count(tree)}", code="no_image",
            file=Path(root), remedy=f"List what there is with medseg check {root}, and say which with --channels",
        )  # fmt: skip
    found, problems = dict[str, tuple[DicomSeries, ...]](), list[MedsegError]()
    left: list[tuple[DicomSeries, str]] = []
    refused: list[tuple[DicomSeries, str]] = []
    for study in _divide_studies(tree):
        for chosen in _choose_scans(study, settled, left, problems):
            name = name_case(chosen[0])
            try:
                require_frame(chosen, register)
                for series in chosen:
                    _check_stack(series, tilt, gaps)
                found[name] = chosen
            except MedsegError as error:
                problems.append(error.for_case(name))
                refused += [(series, error.reason) for series in chosen]
    cases = tuple(
        Case(name, tuple(ImageSource(one.files[0]) for one in found[name]), patient=name) for name in sorted(found)
    )
    layout = f"DICOM, {sum(map(len, found.values()))} of {_count(tree)}"
    dataset = Dataset(Path(root), Path(root).name, layout, cases, problems=tuple(problems))
    used = {file for chosen in found.values() for series in chosen for file in series.files}
    reasons = {id(series): reason for series, reason in (*left, *refused)}
    files = {**account_files(tree, used, reasons), "tilt": tilt, "gaps": gaps}
    return DicomScans(dataset, found, settled, tuple(left), tilt, gaps, register, files)


def name_case(series: DicomSeries) -> str:
    """A series' name for files: keys of the study and of the series around modality and number."""
    first = series.planes[0]
    kind = re.sub("[^A-Z]", "", series.modality.upper())[:4] or "image"
    number = "" if first.series_number is None else str(abs(first.series_number))
    return f"{_make_key(series.study_uid)}_{kind}{number}_{_make_key(f'{series.series_uid} {series.part}')}"


def _divide_studies(tree: DicomTree) -> list[list[DicomSeries]]:
    studies: dict[str, list[DicomSeries]] = defaultdict(list)
    for series in tree.images:
        studies[series.study_uid].append(series)
    return list(studies.values())


def _choose_scans(
    study: Sequence[DicomSeries],
    rules: Sequence[ChannelRule],
    left: list[tuple[DicomSeries, str]],
    problems: list[MedsegError],
) -> list[tuple[DicomSeries, ...]]:
    """The scans of a study, a series per channel each; what is left or refused is noted."""
    fitting = [series for series in study if any(fits(rule, series) for rule in rules)]
    left += [(series, "it fits no channel of the model") for series in study if series not in fitting]
    if not fitting:
        return []
    if len(rules) == 1:
        scans: list[tuple[DicomSeries, ...]] = [(series,) for series in list_fitting(study, rules[0])]
    else:
        try:
            scans = [choose_channels(study, rules)]
        except MedsegError as error:
            problems.append(error.for_case(name_case(fitting[0])))
            return []
    taken = {id(series) for scan in scans for series in scan}
    familiar = "other series of its study bear descriptions that the model was trained on"
    left += [(series, familiar) for series in fitting if id(series) not in taken]
    return scans


def _check_stack(series: DicomSeries, tilt: str, gaps: str) -> None:
    try:
        plan_stack(series, tilt=tilt, gaps=gaps)
    except MedsegError as error:
        error.file = error.file or show_name(str(series.files[0]))
        raise


def _make_key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_KEY_DIGITS]


def _count(tree: DicomTree) -> str:
    return f"{len(tree.series)} series ({tree.file_count} files, {len(tree.unused)} unused)"
