"""Sorting the files of a folder into series and volumes; every file ends in one of them or in a list with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from medseg.core.errors import DatasetError, FormatError, MedsegError
from medseg.io.dicom.grids import split_grids
from medseg.io.dicom.header_reading import ReadHeader
from medseg.io.dicom.headers import FrameHeader
from medseg.io.dicom.kinds import DIRECTORY, IMAGE, REFERENCE_CLASSES, name_kind
from medseg.io.dicom.lost_files import explain_no_dicom, note_lost, note_strays
from medseg.io.dicom.moments import split_moments
from medseg.io.dicom.pixel_bytes import hold_same_pixels
from medseg.io.dicom.series import DicomSeries, DicomTree
from medseg.io.dicom.walk import list_tree, read_headers

_Unused = list[tuple[Path, str]]


def find_series(folder: str | Path) -> DicomTree:
    """The series of a folder tree, from headers alone; no pixels are read.

    Args:
        folder: a folder with any files in any folders below it, or one file.
    Returns:
        the series, each a volume (a series UID that holds echoes, times, orientations, ... has an entry for each) or a
        reference (SEG, RTSTRUCT); and every other file with the reason why it is in none.
    Raises:
        DatasetError: there is no such folder or file.
    """
    root = Path(folder)
    if not root.exists():
        raise DatasetError("neither a folder nor a file", code="missing_file", file=root, remedy="Check the path")
    files, unused = list_tree(root)
    by_series: dict[str, list[ReadHeader]] = {}
    lost: list[Path] = []
    for read in read_headers(files):
        if read.problem is None and read.header is None:
            reason, was_one = explain_no_dicom(read.path)
            unused.append((read.path, reason))
            lost += [read.path] if was_one else []
        elif not read.series_uid:
            unused.append((read.path, read.problem.reason if read.problem else "it names no series"))
            is_directory = read.header is not None and read.header.sop_class_uid == DIRECTORY
            lost += [] if is_directory else [read.path]
        else:
            by_series.setdefault(read.series_uid, []).append(read)
    series = [found for group in by_series.values() for found in _sort_series(group, unused)]
    # A damaged file may name a series that is none.
    lost += [group[0].path for group in by_series.values() if len(group) == 1 and group[0].header is None]
    series = note_strays(note_lost(series, lost) if lost else series)
    series.sort(key=lambda one: (one.study_uid, one.planes[0].series_number or 0, one.series_uid))
    return DicomTree(root, tuple(series), tuple(sorted(unused)))


def _sort_series(group: Sequence[ReadHeader], unused: _Unused) -> list[DicomSeries]:
    """The volumes and references of one series UID; what is neither goes to ``unused``."""
    damaged = [read for read in group if read.problem is not None]
    headers = _drop_copies([read.header for read in group if read.header is not None], unused)
    by_kind: dict[str, list[FrameHeader]] = {}
    placeless: list[FrameHeader] = []
    for header in headers:
        kind, reason = name_kind(header)
        by_kind.setdefault(kind, []).append(header) if kind else unused.append((header.path, reason))
        if not kind and header.pixels is not None and header.place is None:
            placeless.append(header)
    found = _name_damaged(damaged, not headers)
    named = {file for series in found for file in series.files}
    unused += [(read.path, read.problem.reason) for read in damaged if read.problem and read.path not in named]
    for kind, members in by_kind.items():
        problem = _find_conflict(members) or _report_damage(damaged, len(members))
        if kind != IMAGE:
            found += [DicomSeries(kind, (header,), problem=problem) for header in members]
            continue
        problem = problem or _report_placeless(placeless, members)
        found += _split_images(members, problem, unused)
    return found


def _name_damaged(damaged: Sequence[ReadHeader], is_all: bool) -> list[DicomSeries]:
    """Damaged references, each by itself, and the images of a series of which nothing is whole."""
    found: list[DicomSeries] = []
    images: list[FrameHeader] = []
    for read in damaged:
        if read.damaged is None:
            continue
        kind = REFERENCE_CLASSES.get(read.damaged.sop_class_uid)
        if kind is None:
            images.append(read.damaged)
        else:
            found.append(DicomSeries(kind, (read.damaged,), problem=read.problem))
    if is_all and images:
        found.append(DicomSeries(IMAGE, tuple(images), problem=_report_damage(damaged, 0)))
    return found


def _drop_copies(headers: Sequence[FrameHeader], unused: _Unused) -> list[FrameHeader]:
    """The headers without those of files that are copies of another; copies that differ stay, to be refused later."""
    kept: dict[str, FrameHeader] = {}
    result: list[FrameHeader] = []
    for header in headers:
        first = kept.get(header.sop_instance_uid) if header.sop_instance_uid else None
        if first is not None and _is_copy(first, header):
            unused.append((header.path, f"a copy of {first.path.name}"))
            continue
        kept.setdefault(header.sop_instance_uid, header)
        result.append(header)
    return result


def _is_copy(first: FrameHeader, other: FrameHeader) -> bool:
    same = (first.place, first.scale, first.moment) == (other.place, other.scale, other.moment)
    return same and hold_same_pixels(first, other)


def _find_conflict(members: Sequence[FrameHeader]) -> MedsegError | None:
    """Why files that name the same series cannot be one: two patients, two studies, one instance twice."""
    first = members[0]
    for other in members[1:]:
        for mine, its in zip(first.patient, other.patient, strict=True):
            if mine and its and mine != its:
                return _report_conflict("two_patients", "two patients", "patients", first, other)
        if first.study_uid != other.study_uid:
            return _report_conflict("two_studies", "two studies", "studies", first, other)
    instances: dict[str, FrameHeader] = {}
    for member in members:
        known = instances.setdefault(member.sop_instance_uid, member) if member.sop_instance_uid else member
        if known is not member:
            return FormatError(
                f"{_show_near(known)} and {_show_near(member)} name the same instance and differ", code="two_versions",
                file=member.path, remedy="Keep the right one of them",
            )  # fmt: skip
    return None


def _show_near(header: FrameHeader) -> str:
    """A file with the folder it lies in: what a copy elsewhere shares is its name."""
    return f"{header.path.parent.name}/{header.path.name}"


def _report_conflict(code: str, what: str, word: str, first: FrameHeader, other: FrameHeader) -> DatasetError:
    return DatasetError(
        f"the series holds files of {what}: {other.path.name} is not of the same as {first.path.name}",
        code=code,
        file=other.path,
        remedy=f"Separate the {word} and give each a series of its own",
    )


def _report_damage(damaged: Sequence[ReadHeader], others: int) -> MedsegError | None:
    if not damaged or damaged[0].problem is None:
        return None
    first = damaged[0].problem
    total = len(damaged) + others
    return FormatError(
        f"{len(damaged)} of its {total} files cannot be used: {first.reason}", code=first.code, file=damaged[0].path,
        remedy=first.remedy,
    )  # fmt: skip


def _report_placeless(placeless: Sequence[FrameHeader], members: Sequence[FrameHeader]) -> MedsegError | None:
    """A plane without a position among others of its kind is one that would be missing."""
    classes = {member.sop_class_uid for member in members}
    lost = [header for header in placeless if header.sop_class_uid in classes]
    if not lost:
        return None
    return FormatError(
        f"{len(lost)} of its {len(lost) + len(members)} slices state no position, orientation or spacing",
        code="no_place", file=lost[0].path, remedy="Export the series again with its geometry, or move them elsewhere",
    )  # fmt: skip


def _split_images(members: Sequence[FrameHeader], problem: MedsegError | None, unused: _Unused) -> list[DicomSeries]:
    if problem is not None:
        return [DicomSeries(IMAGE, tuple(members), problem=problem)]
    try:
        planes = list(_list_planes(members))
    except MedsegError as error:
        return [DicomSeries(IMAGE, tuple(members), problem=error)]
    found: list[DicomSeries] = []
    for label, part, fault in split_grids(planes):
        if fault is not None:
            found.append(DicomSeries(IMAGE, part, label, fault))
            continue
        try:
            volumes = split_moments(part)
        except MedsegError as error:
            found.append(DicomSeries(IMAGE, part, label, error))
            continue
        found += [DicomSeries(IMAGE, volume, ", ".join(filter(None, (label, words)))) for words, volume in volumes]
    return found


def _list_planes(members: Iterable[FrameHeader]) -> Iterable[FrameHeader]:
    """The planes of files: the file itself, or the frames of a multi-frame file."""
    for member in members:
        if member.pixels is not None and (member.pixels.frames > 1 or member.place is None):
            from medseg.io.dicom.enhanced import list_frames

            yield from list_frames(member)
        else:
            yield member
