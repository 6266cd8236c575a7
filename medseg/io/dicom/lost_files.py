"""Files that may have been slices of a series: what is empty or damaged so far that it names none, or another one.

A slice that is missing within a series leaves a gap; of one at its end nothing else is seen than such a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medseg.core.errors import GeometryError
from medseg.io.dicom.headers import FrameHeader
from medseg.io.dicom.kinds import IMAGE
from medseg.io.dicom.series import DicomSeries
from medseg.io.dicom.stacking import FEWEST_PLANES, LARGEST_ROUNDING, LARGEST_SHIFT_VOXELS, Stack, lay_out, place_of

_PREAMBLE_BYTES = 128
_SNIFFED_BYTES = 4096
# How the file header of every DICOM file begins, after its mark: its group's length.
_FILE_HEADER = b"\x02\x00\x00\x00UL"
# What macOS puts beside files on foreign disks, called as they are with ._ before.
_COMPANION = b"\x00\x05\x16\x07"
_PACKED = ((b"\x1f\x8b", "a gzip file"), (b"PK\x03\x04", "a zip archive"), (b"7z\xbc\xaf", "a 7z archive"))
_ENDINGS = frozenset((".dcm", ".dicom", ".ima"))


def explain_no_dicom(path: Path) -> tuple[str, bool]:
    """Why a file is no DICOM file, and whether it may have been one.

    Args:
        path: a plain file.
    """
    try:
        with path.open("rb", buffering=0) as stream:
            first = stream.read(_SNIFFED_BYTES)
    except OSError:
        first = b"?"  # its reader has said why
    if not first:
        return "the file is empty", True
    if first.startswith(_COMPANION):
        return "a companion file of macOS, no DICOM file", False
    for mark, kind in _PACKED:
        if first.startswith(mark):
            return f"{kind}: unpack it first", True
    if not any(first):
        return "the file begins with zeros alone, as after a copy that failed", True
    if first[_PREAMBLE_BYTES + 4 :].startswith(_FILE_HEADER):
        return "damaged: the mark DICM is not where it should be", True
    return "no DICOM file", path.suffix.lower() in _ENDINGS


def note_lost(series: Sequence[DicomSeries], lost: Sequence[Path]) -> list[DicomSeries]:
    """Series with a note where files lie beside theirs of which nobody knows whose they were.

    Args:
        series: as they were sorted.
        lost: such files.
    Returns:
        the series in their order.
    """
    noted = []
    for one in series:
        folders = {path.parent for path in one.files}
        count = sum(path.parent in folders for path in lost)
        if count:
            what = "empty or damaged files" if count > 1 else "empty or damaged file"
            one = _add(one, f"{count} {what} beside it: nobody knows whose slices they were; some may be missing here")
        noted.append(one)
    return noted


def note_strays(series: Sequence[DicomSeries]) -> list[DicomSeries]:
    """Series with a note where a single slice, which names another series, lies where their next slice would.

    Args:
        series: as they were sorted.
    Returns:
        the series in their order.
    """
    single = [one for one in series if one.kind == IMAGE and len(one.planes) == 1 and one.planes[0].place is not None]
    return [_note_stray(one, single) for one in series] if single else list(series)


def _note_stray(series: DicomSeries, single: Sequence[DicomSeries]) -> DicomSeries:
    if series.kind != IMAGE or series.problem is not None or len(series.planes) < FEWEST_PLANES:
        return series
    first = series.planes[0]
    alike = [one for one in single if one.series_uid != first.series_uid and _are_alike(first, one.planes[0])]
    if not alike:
        return series
    try:
        stack = lay_out(series.planes)
    except GeometryError:
        return series
    for one in alike:
        if _is_next(stack, one.planes[0]):
            text = f"{one.planes[0].label}, the one slice of another series, lies where its next slice would: if it is"
            return _add(series, f"{text} one of this series, its header is damaged and a slice is missing")
    return series


def _are_alike(one: FrameHeader, other: FrameHeader) -> bool:
    if one.pixels is None or other.pixels is None or one.place is None or other.place is None:
        return False
    same_size = (one.pixels.rows, one.pixels.columns) == (other.pixels.rows, other.pixels.columns)
    same_world = one.frame_of_reference_uid == other.frame_of_reference_uid
    return same_size and same_world and one.place.orientation == other.place.orientation


def _is_next(stack: Stack, plane: FrameHeader) -> bool:
    """Whether a plane goes on a stack at either end, one step beyond."""
    offset = stack.axes @ (np.asarray(place_of(plane).position_mm) - np.asarray(place_of(stack.planes[0]).position_mm))
    drift = stack.offsets_mm[-1] / (len(stack.planes) - 1)
    for place, steps in ((-stack.step_mm, -1), (stack.distances_mm[-1] + stack.step_mm, len(stack.planes))):
        sideways = np.abs(offset[:2] - steps * drift) <= LARGEST_SHIFT_VOXELS * np.asarray(stack.pixel_mm)
        if abs(offset[2] - place) <= LARGEST_ROUNDING * stack.step_mm and np.all(sideways):
            return True
    return False


def _add(series: DicomSeries, note: str) -> DicomSeries:
    return replace(series, notes=(*series.notes, note))
