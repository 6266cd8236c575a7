"""Where the compressed frames of a file lie: fragments that follow one another, and which of them make a frame.

Source: DICOM PS3.5, annex A.4 (encapsulated pixel data, the basic offset table).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from medseg.core.errors import FormatError
from medseg.io.dicom.bytes_window import REMEDY, Window, truncated

# A frame of 512 x 512 in fragments of 64 bytes; a file of 20000 frames in several fragments each.
LARGEST_FRAGMENTS = 4_000_000
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
# How a frame's first fragment begins: JPEG and JPEG-LS (SOI), JPEG 2000 (SOC, SIZ).
_BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")


class Fragment(NamedTuple):
    """A part of the compressed pixels: the byte at which it begins, and how many there are."""

    offset: int
    size: int


def list_fragments(window: Window, position: int) -> tuple[list[Fragment], int]:
    """The fragments of compressed pixels.

    Args:
        window: on the file.
        position: byte at which the value of the pixel element begins.
    Returns:
        the offset table (which may be empty) and the fragments after it, and the byte after the last one.
    Raises:
        FormatError: the file ends within them, or there is no item at all.
    """
    found: list[Fragment] = []
    while window.size - position >= 8:
        data, at = window.reach(position, 8)
        group, element, length = struct.unpack_from("<HHI", data, at)  # annex A.4: always little endian
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM or position + 8 + length > window.size:
            raise truncated(window, f"compressed pixels end within fragment {len(found)}")
        found.append(Fragment(position + 8, length))
        position += 8 + length
        if len(found) > LARGEST_FRAGMENTS:
            raise truncated(window, f"more than {LARGEST_FRAGMENTS} fragments")
    else:  # some writers leave the end's mark out
        if any(window.read(position, window.size - position)):
            raise truncated(window, f"compressed pixels end within fragment {len(found)}")
    if not found:
        raise truncated(window, "compressed pixels without an offset table")
    return found, position


def split_frames(window: Window, fragments: Sequence[Fragment], frames: int) -> list[list[Fragment]]:
    """The fragments of each frame.

    Args:
        window: on the file.
        fragments: as ``list_fragments`` gives them, the offset table first.
        frames: how many frames the header declares.
    Returns:
        a list per frame.
    Raises:
        FormatError: the fragments are those of another number of frames, or it cannot be told which belong together.
    """
    table, parts = fragments[0], [fragment for fragment in fragments[1:] if fragment.size]
    if len(parts) < frames:
        raise _refuse(window.path, frames, f"{len(parts)} fragments")
    if frames == 1:
        return [parts]
    if len(parts) == frames:
        return [[part] for part in parts]
    starts = _read_table(window, table, parts, frames)
    if starts is None:
        starts = [number for number, part in enumerate(parts) if window.read(part.offset, 4).startswith(_BEGINNINGS)]
    if len(starts) != frames or starts[0] != 0:
        raise _refuse(window.path, frames, f"{len(parts)} fragments of which {len(starts)} begin a frame")
    return [list(parts[start:stop]) for start, stop in zip(starts, [*starts[1:], len(parts)], strict=True)]


def _read_table(window: Window, table: Fragment, parts: Sequence[Fragment], frames: int) -> list[int] | None:
    """Which fragments begin a frame by the offset table; None where it is empty or does not fit them."""
    if table.size != 4 * frames:
        return None
    first = table.offset + table.size  # offsets count from the item of the first fragment
    at = {part.offset - 8 - first: number for number, part in enumerate(parts)}
    starts = [at.get(offset) for offset in struct.unpack(f"<{frames}I", window.read(table.offset, table.size))]
    known = [start for start in starts if start is not None]
    return known if len(known) == frames and known == sorted(set(known)) else None


def _refuse(path: str | Path, frames: int, found: str) -> FormatError:
    return FormatError(
        f"{frames} compressed frames expected, found {found}", code="frame_count", file=path, remedy=REMEDY
    )
