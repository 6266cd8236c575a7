"""What a folder of DICOM files holds: series, each a volume or a reference, and files that are none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import MedsegError, show_name
from medseg.io.dicom.headers import FrameHeader
from medseg.io.dicom.kinds import IMAGE

_LONGEST_DESCRIPTION = 64


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """The planes of one volume, or the files of one reference.

    Args:
        kind: ``image``, ``segmentation`` (SEG) or ``contours`` (RTSTRUCT).
        planes: of an image, the header of each plane; of a reference, that of each file.
        part: what sets it apart from other volumes that share its series UID, such as ``echo 2 of 3``; empty where it
            is the only one.
        problem: why it cannot be used; None where nothing is known so far (planes are stacked by ``read_series``).
        notes: what is doubtful about it, a line each.
    """

    kind: str
    planes: tuple[FrameHeader, ...]
    part: str = ""
    problem: MedsegError | None = None
    notes: tuple[str, ...] = ()

    @property
    def series_uid(self) -> str:
        """The series' unique identifier."""
        return self.planes[0].series_uid

    @property
    def study_uid(self) -> str:
        """The study's unique identifier."""
        return self.planes[0].study_uid

    @property
    def modality(self) -> str:
        """CT, MR, PT, ...; empty where not stated."""
        return self.planes[0].modality

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold its planes, each once."""
        return tuple(dict.fromkeys(plane.path for plane in self.planes))

    @property
    def name(self) -> str:
        """For messages: modality, number, description, part; nothing that names a patient, nothing that is no text."""
        first = self.planes[0]
        number = "" if first.series_number is None else str(first.series_number)
        words = (first.modality[:16], number, first.description[:_LONGEST_DESCRIPTION] or first.series_uid[:64])
        name = " ".join(word for word in words if word)
        return show_name(f"{name}, {self.part}" if self.part else name)


@dataclass(frozen=True, eq=False)
class DicomTree:
    """All files of a folder, sorted out.

    Args:
        root: the folder or file.
        series: what can be read or at least named; a series UID has several entries where it holds several volumes.
        unused: every file that belongs to none, with the reason.
    """

    root: Path
    series: tuple[DicomSeries, ...]
    unused: tuple[tuple[Path, str], ...]

    @property
    def images(self) -> tuple[DicomSeries, ...]:
        """The series that are scans."""
        return tuple(series for series in self.series if series.kind == IMAGE)

    @property
    def file_count(self) -> int:
        """How many files there are: those of series, each once, and the unused ones."""
        return len({path for series in self.series for path in series.files} | {path for path, _ in self.unused})
