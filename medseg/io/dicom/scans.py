"""Scans to segment in a tree of DICOM files: series for each channel of a model."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medseg.core.dataset import Case, Dataset, ImageSource
from medseg.core.errors import DatasetError, GeometryError, MedsegError, show_name
from medseg.core.volume import Volume
from medseg.grids import align_volume
from medseg.io.dicom.channel_rules import ChannelRule, settle_rules
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import plan_stack, read_series
from medseg.io.dicom.series import DicomSeries, DicomTree
from medseg.io.dicom.source import DicomSource
from medseg.io.dicom.suv import scale_to_suv

_KEY_DIGITS = 8


@dataclass(frozen=True, eq=False)
class DicomScans:
    """What a tree holds for a model.

    Args:
        dataset: the cases; those that cannot be used are its problems.
        series: by the case's name, a series per channel.
        rules: which series a channel takes, one each.
        tilt, gaps: as ``read_series`` takes them.
    """

    dataset: Dataset
    series: Mapping[str, tuple[DicomSeries, ...]]
    rules: tuple[ChannelRule, ...]
    tilt: str
    gaps: str

    def list_files(self, name: str) -> tuple[Path, ...]:
        """All files of a case."""
        return tuple(dict.fromkeys(file for series in self.series[name] for file in series.files))

    def read(self, name: str) -> tuple[Volume, DicomSource, tuple[str, ...]]:
        """The volume of a case on its first channel's grid, where that one's planes came from, and what is doubtful;
        raises as ``read_series``, and GeometryError where a channel lies elsewhere."""
        parts = [self._read(rule, series) for rule, series in zip(self.rules, self.series[name], strict=True)]
        first, source, _ = parts[0]
        notes = [note for _, _, own in parts for note in own]
        arrays = [first.array]
        for rule, (volume, _, _) in zip(self.rules[1:], parts[1:], strict=True):
            if not volume.geometry.same_grid(first.geometry):
                place = f"{volume.geometry.describe()} brought onto the grid of {self.rules[0].channel}"
                notes.append(f"{rule.channel}: {place} ({first.geometry.describe()})")
            arrays.append(align_volume(volume, first.geometry).array)
        array = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
        return Volume(array, first.geometry, tuple(rule.channel for rule in self.rules)), source, tuple(notes)

    def _read(self, rule: ChannelRule, series: DicomSeries) -> tuple[Volume, DicomSource, tuple[str, ...]]:
        notes: tuple[str, ...] = ()
        if rule.as_suv and series.modality == "PT":
            planes, notes = scale_to_suv(series.planes)
            series = replace(series, planes=tuple(planes))
        volume, source, more = read_series(series, tilt=self.tilt, gaps=self.gaps)
        return volume, source, (*notes, *more)


def find_scans(
    root: str | Path, channels: Sequence[str], *, rules: str | None = None, tilt: str = "refuse", gaps: str = "refuse"
) -> DicomScans:
    """The series of a tree that a model can segment; no pixels are read.

    Args:
        root: a series' folder, a tree of many patients, or one file.
        channels: of the model.
        rules: which series is which channel (``settle_rules``).
        tilt, gaps: as ``read_series`` takes them.
    Returns:
        a case per series for a model of one channel; of several a case per study that has one series for each, all in
        one frame of reference. Cases are called after study, modality, series number and series of the first channel,
        by keys of their identifiers, since names of patients and places do not belong into paths.
    Raises:
        DatasetError: no series fits, or a rule is none.
    """
    settled, tree = settle_rules(channels, rules), find_series(root)
    if not any(rule.fits(series) for rule in settled for series in tree.images):
        wanted = " or ".join(sorted({rule.modality for rule in settled} - {""})) or "images that the rules ask for"
        raise DatasetError(
            f"no series of {wanted} among {_count(tree)}", code="no_image",
            file=Path(root), remedy=f"List what there is with medseg check {root}",
        )  # fmt: skip
    found, problems = dict[str, tuple[DicomSeries, ...]](), list[MedsegError]()
    for chosen in _choose_series(tree, settled):
        if isinstance(chosen, MedsegError):
            problems.append(chosen)
            continue
        name = name_case(chosen[0])
        problem = next((fault for one in chosen if (fault := _find_problem(name, one, tilt, gaps))), None)
        if problem is None:
            found[name] = chosen
        else:
            problems.append(problem)
    cases = tuple(
        Case(name, tuple(ImageSource(one.files[0]) for one in found[name]), patient=name) for name in sorted(found)
    )
    layout = f"DICOM, {sum(map(len, found.values()))} of {_count(tree)}"
    dataset = Dataset(Path(root), Path(root).name, layout, cases, problems=tuple(problems))
    return DicomScans(dataset, found, settled, tilt, gaps)


def name_case(series: DicomSeries) -> str:
    """A series' name for files: keys of the study and of the series around modality and number."""
    first = series.planes[0]
    kind = re.sub("[^A-Z]", "", series.modality.upper())[:4] or "image"
    number = "" if first.series_number is None else str(abs(first.series_number))
    return f"{_make_key(series.study_uid)}_{kind}{number}_{_make_key(f'{series.series_uid} {series.part}')}"


def _choose_series(tree: DicomTree, rules: Sequence[ChannelRule]) -> Iterator[tuple[DicomSeries, ...] | MedsegError]:
    if len(rules) == 1:
        yield from ((series,) for series in tree.images if rules[0].fits(series))
        return
    studies: dict[str, list[DicomSeries]] = defaultdict(list)
    for series in tree.images:
        studies[series.study_uid].append(series)
    for study in studies.values():
        fitting = [[series for series in study if rule.fits(series)] for rule in rules]
        if any(fitting):
            yield _choose_one_each(rules, fitting)


def _choose_one_each(
    rules: Sequence[ChannelRule], fitting: Sequence[Sequence[DicomSeries]]
) -> tuple[DicomSeries, ...] | MedsegError:
    some = next(series for group in fitting for series in group)
    name, file = name_case(some), some.files[0]
    for rule, group in zip(rules, fitting, strict=True):
        if len(group) != 1:
            names = ", ".join(series.name for series in group)
            return DatasetError(
                f"{len(group)} series of its study fit the channel {rule.channel}, expected one{': ' if names else ''}"
                f"{names}",
                code="ambiguous_series" if group else "missing_channel", case=name, file=file,
                remedy=f"Say which with --channels '{rule.channel}: SeriesNumber=...'",
            )  # fmt: skip
    chosen = tuple(group[0] for group in fitting)
    if len(set(chosen)) < len(chosen):
        return DatasetError(
            f"one series fits several channels ({', '.join(rule.channel for rule in rules)})", code="ambiguous_series",
            case=name, file=file, remedy="Say which series is which channel with --channels",
        )  # fmt: skip
    frames = {series.planes[0].frame_of_reference_uid for series in chosen}
    if len(frames) > 1 or frames == {""}:
        return GeometryError(
            f"the series of its channels ({', '.join(series.name for series in chosen)}) lie in different frames of"
            " reference: nothing says where one is in the other", code="other_frame", case=name, file=file,
            remedy="Register them and give them as NIfTI on one grid, CASE_0000 and so on",
        )  # fmt: skip
    return chosen


def _make_key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_KEY_DIGITS]


def _find_problem(name: str, series: DicomSeries, tilt: str, gaps: str) -> MedsegError | None:
    try:
        plan_stack(series, tilt=tilt, gaps=gaps)
    except MedsegError as error:
        error.file = error.file or show_name(str(series.files[0]))
        return error.for_case(name)
    return None


def _count(tree: DicomTree) -> str:
    return f"{len(tree.series)} series ({tree.file_count} files, {len(tree.unused)} unused)"
