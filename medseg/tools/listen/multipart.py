"""The parts of a multipart answer, one after another, each within bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from medseg.core.errors import FormatError

# RFC 2046, 5.1.1: a boundary has 70 characters at most, and a line's blanks may follow it.
_BOUNDARY = re.compile(r"boundary=(?:\"([^\"]{1,70})\"|([^\s;\"]{1,70}))", re.IGNORECASE)
_LARGEST_HEAD_BYTES = 1 << 14


def find_boundary(content_type: str) -> bytes:
    """The boundary that an answer's ``Content-Type`` states; raises FormatError where it is no multipart."""
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/related") or found is None:
        raise FormatError("the answer is no multipart of DICOM files", code="bad_answer", remedy="Check the url")
    return (found[1] or found[2]).encode("ascii", "replace")


def read_parts(pieces: Iterable[bytes], boundary: bytes, largest: int) -> Iterator[bytes]:
    """The bodies of a multipart message.

    Args:
        pieces: the message's bytes as they come.
        boundary: between parts, without the dashes before it.
        largest: bytes that one part may have.
    Returns:
        an iterator of the bodies, without their heads.
    Raises:
        FormatError: the message breaks off, or a part is larger.
    """
    delimiter, held = b"\r\n--" + boundary, bytearray(b"\r\n")
    begun, searched = False, 0
    for piece in pieces:
        held += piece
        while (place := held.find(delimiter, searched)) >= 0:
            end = place + len(delimiter)
            if len(held) < end + 2:
                break  # whether it is the last one stands in the next piece
            if begun:
                yield _take_body(held[:place])
            if held[end : end + 2] == b"--":
                return
            del held[:end]
            begun, searched = True, 0
        searched = max(0, len(held) - len(delimiter) - 2)
        if len(held) > largest + _LARGEST_HEAD_BYTES:
            raise FormatError(f"a part has more than {largest} bytes", code="too_large", remedy="Raise instance_mb")
    raise FormatError("the answer breaks off", code="truncated", remedy="Try again")


def _take_body(part: bytearray) -> bytes:
    place = part.find(b"\r\n\r\n", 0, _LARGEST_HEAD_BYTES)
    if place < 0:
        raise FormatError("a part of the answer has no head", code="bad_answer", remedy="Check the url")
    return bytes(part[place + 4 :])
