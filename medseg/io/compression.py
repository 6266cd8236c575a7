"""Compressed streams, read to their end with the checksum checked and never more than a few megabytes at once."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from medseg.core.errors import FormatError
from medseg.io import guard

GZIP = 31  # zlib's wbits for a gzip wrapper with CRC-32 and length
ZLIB = 15  # zlib's wbits for a zlib wrapper with Adler-32
# Deflate cannot do better than 1032 to 1 (zlib's technical notes, "Maximum Compression Factor").
LARGEST_RATIO = 1032

# Small enough to stay in a processor's cache between decompressing and the checks that follow.
_READ_BYTES = 1 << 17
_PIECE_BYTES = 1 << 20
# A gzip file may consist of many members (bgzip's hold up to 64 KiB each); a file of almost empty ones is an attack on
# whoever reads it.
_MEMBERS_AT_LEAST = 1000
_MEMBER_BYTES = 256


def read_pieces(stream: IO[bytes], path: str | Path) -> Iterator[bytes]:
    """The rest of an uncompressed stream, 1 MiB at a time; raises FormatError where the system cannot read it."""
    while True:
        data = _read(stream, path, _PIECE_BYTES)
        if not data:
            return
        yield data


def inflate(
    stream: IO[bytes], path: str | Path, *, wrapper: int = GZIP, piece_bytes: int = _PIECE_BYTES
) -> Iterator[bytes]:
    """Decompress a stream piece by piece, checking its checksum at the end.

    Args:
        stream: compressed bytes from the current position on; for gzip, several members may follow one another.
        path: the file, for messages.
        wrapper: GZIP or ZLIB.
        piece_bytes: how much to decompress at once, at most.
    Returns:
        an iterator over pieces of at most that size.
    Raises:
        FormatError: the stream ends early, is damaged, or consists of far too many members.
    """
    decoder = zlib.decompressobj(wbits=wrapper)
    members, produced = 1, 0
    data = _read(stream, path, _READ_BYTES)
    try:
        while data:
            piece = decoder.decompress(data, piece_bytes)
            produced += len(piece)
            yield piece
            if decoder.eof:
                data = _next_member(decoder.unused_data, stream, path)
                if data:
                    decoder, members = zlib.decompressobj(wbits=wrapper), members + 1
                    _check_members(members, produced, path)
            else:
                data = decoder.unconsumed_tail or _read(stream, path, _READ_BYTES)
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


def _read(stream: IO[bytes], path: str | Path, count: int) -> bytes:
    try:
        return stream.read(count)
    except OSError as error:
        raise guard.unreadable(error, path) from None


def _next_member(data: bytes, stream: IO[bytes], path: str | Path) -> bytes:
    # Zero bytes may pad a gzip file (gzip's manual, "tapes").
    while True:
        data = data.lstrip(b"\0")
        if data:
            return data
        data = _read(stream, path, _READ_BYTES)
        if not data:
            return b""


def _check_members(members: int, produced: int, path: str | Path) -> None:
    if members > _MEMBERS_AT_LEAST and produced < members * _MEMBER_BYTES:
        raise FormatError(
            f"the first {members} parts of its compressed data hold {produced} bytes in all",
            code="corrupt",
            file=path,
            remedy="Decompress and compress it again with gzip",
        )


def gzip_pieces(pieces: Iterator[bytes | memoryview], level: int) -> Iterator[bytes]:
    """Compress pieces as one gzip stream without a time or name, so that equal content gives equal bytes."""
    encoder = zlib.compressobj(level, wbits=GZIP)
    for piece in pieces:
        yield encoder.compress(piece)
    yield encoder.flush()
