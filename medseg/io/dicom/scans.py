"""Scans to segment in a tree of DICOM files: a case per series that a model of one channel can read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medseg.core.dataset import Case, Dataset, ImageSource
from medseg.core.errors import DatasetError, MedsegError, show_name
from medseg.core.volume import Volume
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import plan_stack, read_series
from medseg.io.dicom.series import DicomSeries, DicomTree
from medseg.io.dicom.source import DicomSource
from medseg.io.dicom.suv import scale_to_suv

# Words of channels' names and the modality that they mean; of other names any modality is taken.
_MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR", "PET": "PT", "PT": "PT", "SUV": "PT"}
_SUV = ("PET", "PT", "SUV")
_KEY_DIGITS = 8


@dataclass(frozen=True, eq=False)
class DicomScans:
    """What a tree holds for a model.

    Args:
        dataset: a case per series; those that cannot be used are its problems.
        series: by the case's name.
        channel: the model's only channel.
        tilt, gaps: as ``read_series`` takes them.
    """

    dataset: Dataset
    series: Mapping[str, DicomSeries]
    channel: str
    tilt: str
    gaps: str

    def read(self, name: str) -> tuple[Volume, DicomSource, tuple[str, ...]]:
        """The volume of a case, where its planes came from, and what is doubtful; raises as ``read_series``."""
        series, notes = self.series[name], tuple[str, ...]()
        if _words(self.channel) & set(_SUV):
            planes, notes = scale_to_suv(series.planes)
            series = replace(series, planes=tuple(planes))
        volume, source, more = read_series(series, tilt=self.tilt, gaps=self.gaps)
        return Volume(volume.array, volume.geometry, (self.channel,)), source, (*notes, *more)


def find_scans(root: str | Path, channels: Sequence[str], *, tilt: str = "refuse", gaps: str = "refuse") -> DicomScans:
    """The series of a tree that a model can segment; no pixels are read.

    Args:
        root: a series' folder, a tree of many patients, or one file.
        channels: of the model; a name that holds CT, MR, PET, ... takes series of that modality, another name any.
        tilt, gaps: as ``read_series`` takes them.
    Returns:
        a case per series, called after study, modality, series number and series: by keys of their identifiers, since
        names of patients and places do not belong into paths.
    Raises:
        DatasetError: no series fits, or the model reads several channels.
    """
    if len(channels) != 1:
        raise DatasetError(
            f"the model reads {len(channels)} channels ({', '.join(channels)}), and which series is which is not said",
            code="channel_count", file=Path(root),
            remedy="Convert the series to NIfTI files CASE_0000, CASE_0001, ... on one grid",
        )  # fmt: skip
    tree = find_series(root)
    wanted = {_MODALITIES[word] for word in _words(channels[0]) if word in _MODALITIES}
    fitting = [series for series in tree.images if not wanted or series.modality in wanted]
    if not fitting:
        raise DatasetError(
            f"no series of {' or '.join(sorted(wanted)) or 'images'} among {_count(tree)}", code="no_image",
            file=Path(root), remedy=f"List what there is with medseg check {root}",
        )  # fmt: skip
    series = {name_case(one): one for one in fitting}
    problems = [problem for name, one in series.items() if (problem := _find_problem(name, one, tilt, gaps))]
    refused = {problem.case for problem in problems}
    cases = tuple(
        Case(name, (ImageSource(one.files[0]),), patient=name)
        for name, one in sorted(series.items())
        if name not in refused
    )
    layout = f"DICOM, {len(fitting)} of {_count(tree)}"
    return DicomScans(
        Dataset(Path(root), Path(root).name, layout, cases, problems=tuple(problems)), series, channels[0], tilt, gaps
    )


def name_case(series: DicomSeries) -> str:
    """A series' name for files: keys of the study and of the series around modality and number."""
    first = series.planes[0]
    kind = re.sub("[^A-Z]", "", series.modality.upper())[:4] or "image"
    number = "" if first.series_number is None else str(abs(first.series_number))
    return f"{_make_key(series.study_uid)}_{kind}{number}_{_make_key(f'{series.series_uid} {series.part}')}"


def _make_key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_KEY_DIGITS]


def _words(channel: str) -> set[str]:
    return set(re.findall("[A-Z]+", channel.upper()))


def _find_problem(name: str, series: DicomSeries, tilt: str, gaps: str) -> MedsegError | None:
    try:
        plan_stack(series, tilt=tilt, gaps=gaps)
    except MedsegError as error:
        error.file = error.file or show_name(str(series.files[0]))
        return error.for_case(name)
    return None


def _count(tree: DicomTree) -> str:
    count = len(tree.series)
    return f"{count} series ({tree.file_count} files, {len(tree.unused)} unused)"
