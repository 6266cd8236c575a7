"""How DICOM writes its elements: transfer syntaxes, byte order, whether types are stated, and where a data set begins.

Source: DICOM PS3.5 section 7 and annex A, PS3.10 section 7.1 (the file's own header).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from medseg.core.errors import FormatError
from medseg.io.dicom.bytes_window import REMEDY, Window, truncated

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE_SYNTAXES = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE, EXPLICIT_BIG)

PIXEL_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
UNDEFINED = 0xFFFFFFFF
LONG_TYPES = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
SHORT_TYPES = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
PREAMBLE_BYTES = 128
# As many as ``is_dicom`` asks for.
FIRST_BYTES = 160

_PREFIX = b"DICM"
_SYNTAX = 0x00020010
_LONGEST_UID = 64


class Encoding(NamedTuple):
    """How elements are written: whether each states its type, and the byte order as ``struct`` has it."""

    explicit: bool
    order: str


class FileHeader(NamedTuple):
    """What stands before a data set.

    Args:
        start: byte at which the data set begins.
        transfer_syntax_uid: as stated; empty where it is not.
        has_preamble: whether the file begins with 128 free bytes and ``DICM``.
    """

    start: int
    transfer_syntax_uid: str
    has_preamble: bool


def is_dicom(first: bytes) -> bool:
    """Whether a file that begins so is DICOM, with the preamble and prefix that it should have or without.

    Args:
        first: at least its first 160 bytes where it has so many.
    Returns:
        True or False.
    """
    return (
        first[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == _PREFIX
        or first[:4] == _PREFIX
        or guess_encoding(first[:8]) is not None
    )


def guess_encoding(head: bytes) -> Encoding | None:
    """How a data set that begins so is written; None where this is the beginning of none.

    Args:
        head: its first 8 bytes.
    Returns:
        the encoding that its first element shows.
    """
    if len(head) < 8:
        return None
    for order in "<>":
        group, element = struct.unpack_from(order + "HH", head)
        if group not in (2, 8) or element > 0x2000:
            continue
        if head[4:6].isalpha() and head[4:6].isupper():
            return Encoding(True, order)
        if order == "<" and struct.unpack_from("<I", head, 4)[0] < 1024:
            return Encoding(False, order)
    return None


def name_syntax(encoding: Encoding) -> str:
    """The transfer syntax of elements that are written so."""
    if not encoding.explicit:
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE if encoding.order == "<" else EXPLICIT_BIG


def read_file_header(window: Window) -> FileHeader:
    """Where the data set of a file begins and how it says that it is written.

    Args:
        window: on a file that ``is_dicom``.
    Returns:
        its header.
    Raises:
        FormatError: it breaks off, or is written as none may be.
    """
    first = window.read(0, min(window.size, FIRST_BYTES))
    has_preamble = first[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == _PREFIX
    position = PREAMBLE_BYTES + 4 if has_preamble else 4 if first[:4] == _PREFIX else 0
    syntax = ""
    while position + 8 <= window.size:
        group, element, kind, length = struct.unpack("<HH2sH", window.read(position, 8))
        if group != 2:
            return FileHeader(position, syntax, has_preamble)
        position += 8
        if kind in LONG_TYPES and position + 4 <= window.size:
            length = struct.unpack("<I", window.read(position, 4))[0]
            position += 4
        elif kind not in SHORT_TYPES:
            raise FormatError(
                "damaged: its file header breaks off or is not in explicit little endian", code="corrupt",
                file=window.path, remedy=REMEDY,
            )  # fmt: skip
        if (group << 16 | element) == _SYNTAX and length <= _LONGEST_UID:
            syntax = window.read(position, length).rstrip(b"\0 ").decode("ascii", "replace")
        position += length
    raise truncated(window, "its header goes up to the last byte or beyond")
