"""What a data set is made of: cases with their files, channels and labels. Files are named here, not opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from medseg.core.channel_rules import ChannelRule
from medseg.core.drawing import LoadImage, MaskDrawing
from medseg.core.errors import FormatError, MedsegError
from medseg.core.label_codes import LabelCodes
from medseg.core.labels import LabelScheme
from medseg.core.records import Record


@dataclass(frozen=True)
class ImageSource:
    """Where one channel comes from.

    Args:
        path: the image file.
        index: which volume of a 4D file, counted from 0; None where the file holds one.
    """

    path: Path
    index: int | None = None


@dataclass(frozen=True)
class MaskSource:
    """Where a reference mask comes from.

    Args:
        path: a label map, or a folder with one binary file per structure.
        structures: for a folder, (name, file) of each structure; empty for a label map.
        drawing: what draws it, where a file holds no label map: contours on a DICOM series, segments. ``path`` is then
            that file; of several, ``structures`` names them all.
    """

    path: Path
    structures: tuple[tuple[str, Path], ...] = ()
    drawing: MaskDrawing | None = None


@dataclass(frozen=True)
class Case:
    """One scan to train on, predict or score.

    Args:
        name: unique in its data set; output files are called after it.
        images: a source per channel, in the order of the data set's channels.
        mask: the reference, where there is one.
        patient: whom the scan belongs to; folds never divide a patient.
        day: days since the patient's first scan, where known.
        fill_nonfinite: whether NaN and infinite voxels of its images are filled; they are refused otherwise.
        load: reads the image where no image files hold it: a DICOM series, whose files ``images`` then lists.
    """

    name: str
    images: tuple[ImageSource, ...]
    mask: MaskSource | None = None
    patient: str = ""
    day: int | None = None
    fill_nonfinite: bool = False
    load: LoadImage | None = None

    def __post_init__(self) -> None:
        if not self.patient:
            object.__setattr__(self, "patient", self.name)


def list_files(case: Case) -> tuple[Path, ...]:
    """Every file that a case names: its channels, its mask, the mask's structures."""
    masks = () if case.mask is None else tuple(path for _, path in case.mask.structures) or (case.mask.path,)
    return (*(source.path for source in case.images), *masks)


@dataclass(frozen=True)
class Dataset:
    """A data set as its layout describes it.

    Args:
        root: the folder or CSV that was opened.
        name: the data set's name.
        layout: which layout it was read as, in words.
        cases: the usable cases, sorted by name.
        channels: the channels' names; ``()`` where nothing names them, until the modality is inferred.
        labels: the label scheme; None where nothing names the labels, until the masks are read.
        test_cases: further cases that are not for training (``imagesTs``), with masks where there are any.
        problems: cases that cannot be used, one error each.
        notes: what was decided while reading, a line each, for the user.
        spacing_mm: the spacing to use for files that have none (pictures).
        channel_rules: which DICOM series each channel was made from; empty where nothing says so.
        codes: what labels are in DICOM's vocabulary, by label; empty where nothing says so.
    """

    root: Path
    name: str
    layout: str
    cases: tuple[Case, ...]
    channels: tuple[str, ...] = ()
    labels: LabelScheme | None = None
    test_cases: tuple[Case, ...] = ()
    problems: tuple[MedsegError, ...] = ()
    notes: tuple[str, ...] = ()
    spacing_mm: tuple[float, ...] | None = None
    channel_rules: tuple[ChannelRule, ...] = ()
    codes: Mapping[str, LabelCodes] = field(default_factory=dict)

    def with_names(self, channels: tuple[str, ...], labels: LabelScheme, notes: tuple[str, ...] = ()) -> Dataset:
        """The same data set with its channels and labels named."""
        return replace(self, channels=channels, labels=labels, notes=self.notes + notes)

    @property
    def fills_nonfinite(self) -> bool:
        """Whether NaN and infinite voxels of its images are filled."""
        return any(case.fill_nonfinite for case in (*self.cases, *self.test_cases))

    def filled(self) -> Dataset:
        """The same data set, the NaN and infinite voxels of whose images are filled instead of refused."""
        cases, test_cases = (
            tuple(replace(case, fill_nonfinite=True) for case in cases) for cases in (self.cases, self.test_cases)
        )
        return replace(self, cases=cases, test_cases=test_cases)


class _CaseRecord(Record):
    name: str
    images: tuple[tuple[str, int | None], ...]
    mask: str | None
    structures: tuple[tuple[str, str], ...]
    patient: str
    day: int | None
    fill_nonfinite: bool = False


class _DatasetRecord(Record):
    format: Literal["medseg-dataset-1"] = "medseg-dataset-1"
    root: str
    name: str
    layout: str
    channels: tuple[str, ...]
    labels: LabelScheme | None
    cases: tuple[_CaseRecord, ...]
    test_cases: tuple[_CaseRecord, ...]
    notes: tuple[str, ...]
    spacing_mm: tuple[float, ...] | None
    channel_rules: tuple[ChannelRule, ...] = ()
    codes: dict[str, LabelCodes] = Field(default_factory=dict)


def write_dataset(path: str | Path, dataset: Dataset) -> None:
    """Note in a workspace where the usable cases' files are, so that later commands need not be told again."""
    _DatasetRecord(
        root=str(dataset.root),
        name=dataset.name,
        layout=dataset.layout,
        channels=dataset.channels,
        labels=dataset.labels,
        cases=tuple(_note_case(case) for case in dataset.cases),
        test_cases=tuple(_note_case(case) for case in dataset.test_cases),
        notes=dataset.notes,
        spacing_mm=dataset.spacing_mm,
        channel_rules=dataset.channel_rules,
        codes=dict(dataset.codes),
    ).write(path)


def read_dataset(path: str | Path) -> Dataset:
    """The data set that ``write_dataset`` noted; raises FormatError where the file is missing or damaged."""
    if not Path(path).is_file():
        remedy = f"Run medseg plan DATASET --workspace {Path(path).parent} first"
        raise FormatError("no data set is noted here yet", code="missing_file", file=path, remedy=remedy)
    record = _DatasetRecord.read(path)
    return Dataset(
        root=Path(record.root),
        name=record.name,
        layout=record.layout,
        cases=tuple(_recall_case(case) for case in record.cases),
        channels=record.channels,
        labels=record.labels,
        test_cases=tuple(_recall_case(case) for case in record.test_cases),
        notes=record.notes,
        spacing_mm=record.spacing_mm,
        channel_rules=record.channel_rules,
        codes=record.codes,
    )


def _note_case(case: Case) -> _CaseRecord:
    return _CaseRecord(
        name=case.name,
        images=tuple((str(source.path.absolute()), source.index) for source in case.images),
        mask=None if case.mask is None else str(case.mask.path.absolute()),
        structures=tuple((name, str(path.absolute())) for name, path in case.mask.structures) if case.mask else (),
        patient=case.patient,
        day=case.day,
        fill_nonfinite=case.fill_nonfinite,
    )


def _recall_case(record: _CaseRecord) -> Case:
    structures = tuple((name, Path(path)) for name, path in record.structures)
    return Case(
        name=record.name,
        images=tuple(ImageSource(Path(path), index) for path, index in record.images),
        mask=None if record.mask is None else MaskSource(Path(record.mask), structures),
        patient=record.patient,
        day=record.day,
        fill_nonfinite=record.fill_nonfinite,
    )
