"""Bounded check of a DICOM file before a parser sees it: whether its elements fit one another and the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import FormatError
from medseg.io.dicom.bytes_window import Window, inflate, open_window
from medseg.io.dicom.element_walk import ElementWalk, PixelElement
from medseg.io.dicom.encoding import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    FIRST_BYTES,
    Encoding,
    is_dicom,
    name_syntax,
    read_file_header,
)
from medseg.io.guard import check_regular


@dataclass(frozen=True, slots=True)
class Structure:
    """How a file's elements lie.

    Args:
        transfer_syntax_uid: as the file states it; where it states none, the one its first element is written in.
        implicit, big_endian: how elements are written, which may differ from what the transfer syntax says.
        start: byte at which the data set begins, after the file's own header.
        has_preamble: whether the file begins with 128 free bytes and ``DICM``.
        elements: how many there are before the pixels, at all levels.
        depth: of the deepest sequence, 0 where there is none.
        pixels: None where the file has none.
    """

    transfer_syntax_uid: str
    implicit: bool
    big_endian: bool
    start: int
    has_preamble: bool
    elements: int
    depth: int
    pixels: PixelElement | None


def check_structure(path: str | Path) -> Structure:
    """Refuse a file that is no DICOM or whose elements do not fit it, before a parser sees it.

    Args:
        path: the file, with or without preamble and file header.
    Returns:
        how its elements lie, and where its pixels are.
    Raises:
        FormatError: no DICOM, truncated, lengths that contradict one another, or nested without end.
        ResourceError: a deflated data set that the memory cannot hold.
    """
    size = check_regular(path)
    with open_window(path, size) as window:
        first = window.read(0, min(size, FIRST_BYTES))
        header = read_file_header(window) if is_dicom(first) else None
        # Without the preamble that belongs before it, pydicom takes the prefix for elements.
        if header is None or (first.startswith(b"DICM") and not header.has_preamble):
            raise FormatError("not a DICOM file", code="not_dicom", file=path, remedy="Leave it out")
        syntax, start = header.transfer_syntax_uid, header.start
        if syntax == DEFLATED_LITTLE:
            window, start = Window.of_bytes(inflate(path, start), path), 0
        encoding = _find_encoding(window.read(start, 8), syntax)
        walk = ElementWalk(window, start, encoding)
        walk.go()
    return Structure(
        syntax or name_syntax(encoding), not encoding.explicit, encoding.order == ">", header.start,
        header.has_preamble, walk.elements, walk.depth, walk.pixels,
    )  # fmt: skip


def _find_encoding(head: bytes, syntax: str) -> Encoding:
    """How pydicom will take the elements; whether they state types the first one tells where it contradicts that."""
    explicit = all(0x41 <= byte <= 0x5A for byte in head[4:6])
    is_big = syntax == EXPLICIT_BIG or (not syntax and explicit and head[0] == 0 and head[1] != 0)
    return Encoding(explicit, ">" if is_big else "<")
