"""What a data set is made of: cases with their files, channels and labels. Files are named here, not opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from medseg.core.errors import MedsegError
from medseg.core.labels import LabelScheme


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
    """

    path: Path
    structures: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True)
class Case:
    """One scan to train on, predict or score.

    Args:
        name: unique in its data set; output files are called after it.
        images: a source per channel, in the order of the data set's channels.
        mask: the reference, where there is one.
        patient: whom the scan belongs to; folds never divide a patient.
        day: days since the patient's first scan, where known.
    """

    name: str
    images: tuple[ImageSource, ...]
    mask: MaskSource | None = None
    patient: str = ""
    day: int | None = None

    def __post_init__(self) -> None:
        if not self.patient:
            object.__setattr__(self, "patient", self.name)


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

    def with_names(self, channels: tuple[str, ...], labels: LabelScheme, notes: tuple[str, ...] = ()) -> Dataset:
        """The same data set with its channels and labels named."""
        return replace(self, channels=channels, labels=labels, notes=self.notes + notes)
