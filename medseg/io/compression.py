"""Compressed streams, read to their end with the checksum checked and never more than a few megabytes at once."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from medseg.core.errors import FormatError

GZIP = 31  # zlib's wbits for a gzip wrapper with CRC-32 and length
ZLIB = 15  # zlib's wbits for a zlib wrapper with Adler-32
# Deflate cannot do better than 1032 to 1 (zlib's technical notes, "Maximum Compression Factor").
LARGEST_RATIO = 1032

_READ_BYTES = 1 << 20
_PIECE_BYTES = 1 << 22


def inflate(stream: IO[bytes], path: str | Path, *, wrapper: int = GZIP) -> Iterator[bytes]:
    """Decompress a stream piece by piece, checking its checksum at the end.

    Args:
        stream: compressed bytes from the current position on; for gzip, several members may follow one another.
        path: the file, for messages.
        wrapper: GZIP or ZLIB.
    Returns:
        an iterator over pieces of at most 4 MiB.
    Raises:
        FormatError: the stream ends early, or is damaged.
    """
    decoder = zlib.decompressobj(wbits=wrapper)
    data = stream.read(_READ_BYTES)
    try:
        while data:
            yield decoder.decompress(data, _PIECE_BYTES)
            if decoder.eof:
                data = _next_member(decoder.unused_data, stream)
                if data:
                    decoder = zlib.decompressobj(wbits=wrapper)
            else:
                data = decoder.unconsumed_tail or stream.read(_READ_BYTES)
        if not decoder.eof:
            yield decoder.flush()
    except zlib.error as error:
        raise FormatError(
            f"the compressed data is damaged ({error})", code="corrupt", file=path, remedy="Fetch it again"
        ) from None
    if not decoder.eof:
        raise FormatError(
            "the file is truncated: its compressed data has no end",
            code="truncated",
            file=path,
            remedy="Fetch it again",
        )


def _next_member(data: bytes, stream: IO[bytes]) -> bytes:
    # Zero bytes may pad a gzip file (gzip's manual, "tapes").
    while True:
        data = data.lstrip(b"\0")
        if data:
            return data
        data = stream.read(_READ_BYTES)
        if not data:
            return b""


def gzip_pieces(pieces: Iterator[bytes | memoryview], level: int) -> Iterator[bytes]:
    """Compress pieces as one gzip stream without a time or name, so that equal content gives equal bytes."""
    encoder = zlib.compressobj(level, wbits=GZIP)
    for piece in pieces:
        yield encoder.compress(piece)
    yield encoder.flush()
