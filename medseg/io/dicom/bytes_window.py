"""Reading a few bytes here and there of a file, without mapping it and without reading it whole."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from medseg.core.errors import FormatError
from medseg.io.guard import check_room, unreadable

REMEDY = "Fetch it again from the archive; if it opens elsewhere, write it anew there"
_BLOCK_BYTES = 1 << 14
_INFLATED_STEP_BYTES = 1 << 24


class Window:
    """Bytes of a file by position; a block around the last asked for is kept.

    Args:
        stream: the file; None where ``data`` is all there is.
        size: its bytes.
        path: for messages.
        data: its first bytes.
    """

    def __init__(self, stream: BinaryIO | None, size: int, path: str | Path, data: bytes = b"") -> None:
        self.stream, self.size, self.path = stream, size, path
        self.data, self.start = data, 0

    @classmethod
    def of_bytes(cls, data: bytes, path: str | Path) -> Window:
        """A window on bytes in memory."""
        return cls(None, len(data), path, data)

    def reach(self, position: int, count: int) -> tuple[bytes, int]:
        """Bytes that hold those from a position on, and where in them it lies; fewer follow at the file's end."""
        at = position - self.start
        if at < 0 or at + count > len(self.data):
            if self.stream is not None:
                self.stream.seek(position)
                self.data, self.start, at = self.stream.read(max(count, _BLOCK_BYTES)), position, 0
            if len(self.data) - at < min(count, self.size - position):
                raise truncated(self, f"{self.size} bytes, of which some cannot be read")
        return self.data, at

    def read(self, position: int, count: int) -> bytes:
        """At most ``count`` bytes from a position on, fewer at the file's end."""
        data, at = self.reach(position, count)
        return data[at : at + count]


def truncated(window: Window, what: str) -> FormatError:
    """The FormatError for a file that ends before its elements do."""
    return FormatError(f"truncated or damaged: {what}", code="truncated", file=window.path, remedy=REMEDY)


@contextmanager
def open_window(path: str | Path, size: int) -> Iterator[Window]:
    """A window on a file, closed afterwards; raises FormatError where the system does not let us read it."""
    try:
        with Path(path).open("rb", buffering=0) as stream:
            yield Window(stream, size, path)
    except OSError as error:
        raise unreadable(error, path) from None


def inflate(path: str | Path, start: int) -> bytes:
    """The data set of a deflated file.

    Args:
        path: the file.
        start: byte at which the deflated bytes begin.
    Returns:
        the data set's bytes, explicit little endian.
    Raises:
        FormatError: truncated or damaged.
        ResourceError: more than the memory holds.
    """
    with Path(path).open("rb") as stream:
        stream.seek(start)
        rest = stream.read()
    engine = zlib.decompressobj(-zlib.MAX_WBITS)  # DICOM PS3.5, A.5: without zlib's header
    parts, total = [], 0
    try:
        while not engine.eof:
            part = engine.decompress(rest, _INFLATED_STEP_BYTES)
            rest = engine.unconsumed_tail
            if not part and not rest and not engine.eof:
                raise zlib.error("incomplete")
            parts.append(part)
            total += len(part)
            check_room(2 * total, path)  # joined below
    except zlib.error:
        raise FormatError(
            "truncated or damaged: its deflated bytes break off", code="truncated", file=path, remedy=REMEDY
        ) from None
    return b"".join(parts)
