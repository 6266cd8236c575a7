"""The pixels of a DICOM segmentation, frame by frame."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError, show_name
from medseg.io.dicom.compressed import COMPRESSED_SYNTAXES, Packed, locate_frames
from medseg.io.dicom.compressed import decode_frames as decode_packed
from medseg.io.dicom.headers import PixelFormat
from medseg.io.dicom.identity import quiet
from medseg.io.dicom.seg_object import SegObject
from medseg.io.dicom.structure import check_structure
from medseg.io.guard import check_room

# Little endian, implicit, explicit and deflated, and a file that states none.
_NATIVE = ("", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
_RLE = "1.2.840.10008.1.2.5"
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"


def decode_frames(seg: SegObject) -> Iterator[NDArray[Any]]:
    """The stored values of each frame in turn.

    Args:
        seg: the object.
    Returns:
        an iterator of (row, column): 0 or 1 of a BINARY object, 0 to ``largest_value`` of a FRACTIONAL one, segment
        numbers of a LABELMAP.
    Raises:
        FormatError: pixels are missing, truncated, damaged, or in a transfer syntax that segmentations do not have.
    """
    syntax = str(getattr(getattr(seg.content, "file_meta", None), "TransferSyntaxUID", ""))
    if "PixelData" not in seg.content:
        raise FormatError("the segmentation has no pixels", code="no_pixels", file=seg.path, remedy="Export it again")
    if syntax in _NATIVE:
        return _cut_native(seg)
    if syntax == _RLE and seg.bits_allocated > 1:
        return _decode_rle(seg)
    if syntax == _DEFLATED_FRAMES:
        return _inflate_frames(seg)
    if syntax in COMPRESSED_SYNTAXES and seg.bits_allocated > 1:
        return _decode_compressed(seg, syntax)
    raise _unknown(seg, syntax)


def _unknown(seg: SegObject, syntax: str) -> FormatError:
    return FormatError(
        f"its pixels are stored in the transfer syntax {show_name(syntax)[:64]}, which is not read for segmentations",
        code="unknown_syntax", file=seg.path, remedy="Decompress it, e.g. with gdcmconv --raw",
    )  # fmt: skip


def _cut_native(seg: SegObject) -> Iterator[NDArray[Any]]:
    stored = np.frombuffer(seg.content.PixelData, np.uint8)
    count = seg.rows * seg.columns
    needed = (seg.frames * count * seg.bits_allocated + 7) // 8
    if stored.size < needed:
        raise FormatError(
            f"the pixels are truncated: {stored.size} bytes of {needed}", code="truncated", file=seg.path,
            remedy="Fetch it again",
        )  # fmt: skip
    return (_unpack(stored, number * count, count, seg) for number in range(seg.frames))


def _unpack(stored: NDArray[np.uint8], first: int, count: int, seg: SegObject) -> NDArray[Any]:
    """One frame out of all bytes; frames of bits follow one another without filling the last byte (PS3.5, 8.1.1)."""
    if seg.bits_allocated == 1:
        begin, skipped = divmod(first, 8)
        piece = stored[begin : (first + count + 7) // 8]
        flat = np.unpackbits(piece, count=skipped + count, bitorder="little")[skipped:]
    else:
        size = seg.bits_allocated // 8
        flat = stored[first * size : (first + count) * size].view("<u2" if size == 2 else np.uint8)
    return flat.reshape(seg.rows, seg.columns)


def _decode_rle(seg: SegObject) -> Iterator[NDArray[Any]]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import RLELossless

    # pydicom's own decoder is Python: damaged data raise an error there and crash nothing.
    frames = get_decoder(RLELossless).iter_array(seg.content, raw=True, decoding_plugin="pydicom")
    for number in range(seg.frames):
        try:
            with quiet():
                found = next(frames, None)
            if found is None or found[0].shape != (seg.rows, seg.columns):
                raise ValueError(f"frame {number + 1} is missing or of another size")
        except Exception as error:  # on damaged data the decoder raises errors of every kind
            raise _damaged(seg, error) from None
        yield found[0]


def _decode_compressed(seg: SegObject, syntax: str) -> Iterator[NDArray[Any]]:
    """JPEG 2000, JPEG-LS and the like, in a child that may die."""
    found = check_structure(seg.path).pixels
    if found is None:
        raise _damaged(seg, ValueError("no pixels"))
    bits, dtype = seg.bits_allocated, np.dtype(np.uint8 if seg.bits_allocated == 8 else np.uint16)
    check_room(seg.frames * seg.rows * seg.columns * dtype.itemsize, seg.path)
    stored = np.empty((seg.frames, seg.rows, seg.columns), dtype)
    pixels = PixelFormat(
        syntax, seg.rows, seg.columns, seg.frames, bits_allocated=bits, bits_stored=bits, high_bit=bits - 1,
        offset=found.offset,
    )  # fmt: skip
    parts = locate_frames(seg.path, pixels, found.offset)

    def put(frame: Packed, values: NDArray[Any]) -> None:
        stored[frame.slot] = values

    packed = [Packed(number, seg.path, number, pixels, part) for number, part in enumerate(parts)]
    decode_packed(packed, lambda _: dtype, put)
    return iter(stored)


def _inflate_frames(seg: SegObject) -> Iterator[NDArray[Any]]:
    from pydicom.encaps import generate_frames

    count = seg.rows * seg.columns
    size = (count * seg.bits_allocated + 7) // 8
    try:
        for frame in generate_frames(seg.content.PixelData, number_of_frames=seg.frames):
            stored = np.frombuffer(zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, size), np.uint8)
            if stored.size != size:
                raise ValueError(f"a frame of {stored.size} bytes, expected {size}")
            yield _unpack(stored, 0, count, seg)
    except Exception as error:  # as above
        raise _damaged(seg, error) from None


def _damaged(seg: SegObject, error: Exception) -> FormatError:
    lines = str(error).splitlines() or [type(error).__name__]
    return FormatError(
        f"its pixels cannot be decoded: {lines[0][:200]}", code="corrupt", file=seg.path, remedy="Fetch it again"
    )
