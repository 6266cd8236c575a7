"""What the first bytes of a compressed frame say of it, so that a decoder is given only what fits the header.

Source: ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000), DICOM PS3.5 annex G (RLE).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

RLE = "1.2.840.10008.1.2.5"
_START, _END = b"\xff\xd8", b"\xff\xd9"
_START_2000, _BOX = b"\xff\x4f\xff\x51", b"jP  "
# Markers of a frame's header: SOF0 to SOF15 without DHT, JPG and DAC; SOF55 is that of JPEG-LS.
_FRAME_MARKERS = frozenset([*range(0xC0, 0xD0), 0xF7]) - {0xC4, 0xC8, 0xCC}
_LARGEST_BOXES_BYTES = 1024
_RLE_HEADER_BYTES = 64


class Codestream(NamedTuple):
    """What a compressed frame declares: rows, columns, values per pixel, bits of each; None where it says nothing."""

    rows: int | None
    columns: int | None
    samples: int | None
    bits: int | None


def inspect_codestream(data: bytes, transfer_syntax_uid: str) -> Codestream:
    """What a compressed frame declares of itself.

    Args:
        data: the whole frame.
        transfer_syntax_uid: how the file says it is compressed.
    Returns:
        its size, values per pixel and bits.
    Raises:
        ValueError: it does not begin or end as a frame of that kind does.
    """
    if transfer_syntax_uid == RLE:
        return _inspect_rle(data)
    if not data.rstrip(b"\0\xff").endswith(_END):  # fragments are filled up to even length with either
        raise ValueError("the compressed frame breaks off before its end")
    start = data.find(_START_2000, 0, _LARGEST_BOXES_BYTES)  # some writers leave the boxes of a JP2 file around it
    if start == 0 or (start > 0 and data[4:8] == _BOX):
        return _inspect_jpeg_2000(data[start:])
    if data.startswith(_START):
        return _inspect_jpeg(data)
    raise ValueError("the compressed frame does not begin as one")


def _inspect_jpeg(data: bytes) -> Codestream:
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise ValueError("the compressed frame's markers are damaged")
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        length = struct.unpack_from(">H", data, position + 2)[0]
        if marker in _FRAME_MARKERS and position + 10 <= len(data):
            bits, rows, columns, samples = struct.unpack_from(">BHHB", data, position + 4)
            return Codestream(rows or None, columns, samples, bits)
        if marker == 0xDA:  # a scan before the frame's header
            break
        position += 2 + length
    raise ValueError("the compressed frame has no header")


def _inspect_jpeg_2000(data: bytes) -> Codestream:
    if len(data) < 43:
        raise ValueError("the compressed frame has no header")
    right, lower, left, upper = struct.unpack_from(">IIII", data, 8)
    samples, bits = struct.unpack_from(">HB", data, 40)
    return Codestream(lower - upper, right - left, samples, (bits & 0x7F) + 1)


def _inspect_rle(data: bytes) -> Codestream:
    """Checks the table of segments; RLE says nothing of its size."""
    if len(data) < _RLE_HEADER_BYTES:
        raise ValueError("the compressed frame has no header")
    count, *offsets = struct.unpack_from("<16I", data)
    offsets = offsets[:count]
    if not 1 <= count <= 15 or offsets[0] != _RLE_HEADER_BYTES or sorted(set(offsets)) != offsets:
        raise ValueError("the compressed frame's table of segments is damaged")
    if offsets[-1] >= len(data):
        raise ValueError("the compressed frame breaks off before its last segment")
    return Codestream(None, None, None, None)
