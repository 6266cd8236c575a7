"""The pixels of planes, from files of any transfer syntax, as one array of real values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.compute.devices import count_cores
from medseg.core.errors import FormatError
from medseg.io.dicom.bytes_window import REMEDY
from medseg.io.dicom.compressed import (
    COMPRESSED_SYNTAXES,
    LOSSY_SYNTAXES,
    Packed,
    decode_frames,
    locate_frames,
    name_syntax,
)
from medseg.io.dicom.encoding import NATIVE_SYNTAXES
from medseg.io.dicom.headers import FrameHeader, PixelFormat
from medseg.io.dicom.native import count_plane_bytes, read_native
from medseg.io.dicom.stored_values import Marks, type_of_words
from medseg.io.dicom.values import scale_frames
from medseg.io.guard import check_room

# Waiting for a disk or a network drive takes no core.
_READERS = 8
# A header states rows and columns in 16 bits; scanners go up to some thousand, a pathologist's tile to 10^4.
_LARGEST_FRAME_PIXELS = 1 << 28
_GREY = ("MONOCHROME1", "MONOCHROME2", "")


class PixelStack(NamedTuple):
    """The planes that were read.

    Args:
        array: real values, (i, j, k): along a row, down the rows, from plane to plane; the smallest integer type that
            holds them where all are integers, else float32.
        padded_voxels: how many stood for no measurement and were given the lowest value of the others.
        notes: what was doubtful, a line each; empty as a rule.
    """

    array: NDArray[Any]
    padded_voxels: int
    notes: tuple[str, ...]


def read_frames(frames: Sequence[FrameHeader]) -> PixelStack:
    """The pixels of planes as real values: decoded, scaled plane by plane, padding replaced by the lowest value.

    MONOCHROME1 is left as stored: it says how to show values, not what they are.

    Args:
        frames: the planes' headers, in the order of k; all of one size, of one value per pixel.
    Returns:
        the values, and how many voxels were padding.
    Raises:
        FormatError: a file is missing, truncated or damaged, holds colours, its header contradicts its pixels, or its
            decoder died or took too long.
        ResourceError: the memory cannot hold them.
    """
    formats = [_check_format(frame) for frame in frames]
    if not formats:
        raise FormatError("no planes to read", code="no_pixels", remedy="Give at least one")
    rows, columns = formats[0].rows, formats[0].columns
    for frame, pixels in zip(frames, formats, strict=True):
        if (pixels.rows, pixels.columns) != (rows, columns):
            raise FormatError(
                f"{pixels.columns} x {pixels.rows} pixels, expected {columns} x {rows} as in the first plane",
                code="bad_shape", file=frame.path, remedy="Split the series by size",
            )  # fmt: skip
    dtype = np.result_type(*{type_of_words(pixels) for pixels in formats})
    # At most: stored values of 16 bits, and real ones of 32 beside them.
    check_room(3 * len(frames) * rows * columns * dtype.itemsize, frames[0].path)
    stored = np.empty((len(frames), rows, columns), dtype)
    marks = Marks(len(frames))
    _fill(stored, marks, frames, formats)
    array, padded, notes = scale_frames(stored, frames, marks)
    return PixelStack(array.transpose(2, 1, 0), padded, (*notes, *_note_loss(formats)))


def _note_loss(formats: Sequence[PixelFormat]) -> list[str]:
    lossy = sorted({pixels.transfer_syntax_uid for pixels in formats} & LOSSY_SYNTAXES)
    said = "values may differ from those that were measured"
    return [f"compressed with loss ({name_syntax(uid)}): {said}" for uid in lossy]


def _check_format(frame: FrameHeader) -> PixelFormat:
    pixels = frame.pixels
    if pixels is None or not pixels.keyword:
        raise FormatError("it has no pixels", code="no_pixels", file=frame.path, remedy="Leave it out")
    if pixels.samples != 1 or pixels.photometric not in _GREY:
        raise FormatError(
            f"{pixels.samples} values per pixel ({ascii(pixels.photometric)[1:-1][:16]}): colours, no measurement",
            code="colours", file=frame.path, remedy="Leave it out",
        )  # fmt: skip
    allowed = {"PixelData": (8, 16, 32), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}[pixels.keyword]
    stored = pixels.bits_stored
    if pixels.bits_allocated not in allowed or (
        pixels.keyword == "PixelData" and not 1 <= stored <= pixels.high_bit + 1 <= pixels.bits_allocated
    ):
        raise FormatError(
            f"values of {stored} bits up to bit {pixels.high_bit} in {pixels.bits_allocated} bits, expected"
            f" {' or '.join(map(str, allowed))} bits that hold them",
            code="bad_data_type", file=frame.path, remedy=REMEDY,
        )  # fmt: skip
    if not (pixels.rows >= 1 and pixels.columns >= 1 and pixels.rows * pixels.columns <= _LARGEST_FRAME_PIXELS):
        raise FormatError(
            f"{pixels.columns} x {pixels.rows} pixels a plane", code="bad_shape", file=frame.path, remedy=REMEDY
        )
    if not 0 <= frame.number <= pixels.frames:
        raise FormatError(
            f"frame {frame.number} of {pixels.frames}", code="frame_count", file=frame.path, remedy=REMEDY
        )
    return pixels


class _File(NamedTuple):
    """Some planes of one file: which of all they are, and which of the file's."""

    path: Path
    pixels: PixelFormat
    slots: list[int]
    numbers: list[int]


def _fill(stored: NDArray[Any], marks: Marks, frames: Sequence[FrameHeader], formats: Sequence[PixelFormat]) -> None:
    """Read, decode and mend every plane; what is read in the type of all goes straight to its place."""
    files = list(_group_files(frames, formats))

    def put(slot: int, words: NDArray[Any], pixels: PixelFormat) -> None:
        plane = marks.take(slot, words, pixels, frames[slot].scale.padding)
        if not np.may_share_memory(plane, stored):
            stored[slot] = plane

    def work(file: _File) -> list[Packed]:
        if not _is_native(file.pixels):
            return _locate(file)
        words = type_of_words(file.pixels)
        planes = [stored[slot] if words == stored.dtype else np.empty(stored.shape[1:], words) for slot in file.slots]
        read_native(file.path, file.pixels, file.numbers, planes)
        for slot, plane in zip(file.slots, planes, strict=True):
            put(slot, plane, file.pixels)
        return []

    pool = ThreadPoolExecutor(max(1, min(_READERS, len(files), 2 * count_cores())))
    try:
        packed = [frame for future in [pool.submit(work, file) for file in files] for frame in future.result()]
    finally:
        pool.shutdown(cancel_futures=True)  # after a file that is refused the others need not be read
    decode_frames(packed, type_of_words, lambda frame, words: put(frame.slot, words, frame.pixels))


def _is_native(pixels: PixelFormat) -> bool:
    """Whether pixels are uncompressed: as the file says, or as their size says where it was written wrongly.

    Not so of a syntax that is not known: a private one may have another order of bytes, as GE's has.
    """
    if pixels.transfer_syntax_uid in NATIVE_SYNTAXES:
        return True
    return pixels.transfer_syntax_uid in COMPRESSED_SYNTAXES and _is_plain(pixels)


def _is_plain(pixels: PixelFormat) -> bool:
    return pixels.size is not None and 0 <= pixels.size - count_plane_bytes(pixels) * pixels.frames <= 1


def _group_files(frames: Sequence[FrameHeader], formats: Sequence[PixelFormat]) -> Iterator[_File]:
    order = sorted(range(len(frames)), key=lambda slot: str(frames[slot].path))
    for path, group in groupby(order, key=lambda slot: frames[slot].path):
        slots = list(group)
        yield _File(path, formats[slots[0]], slots, [max(frames[slot].number - 1, 0) for slot in slots])


def _locate(file: _File) -> list[Packed]:
    pixels, offset = file.pixels, file.pixels.offset
    if pixels.transfer_syntax_uid not in COMPRESSED_SYNTAXES:
        raise FormatError(
            f"its pixels are written as {name_syntax(pixels.transfer_syntax_uid)}, which cannot be decoded",
            code="unknown_syntax", file=file.path, remedy="Have the archive send it uncompressed",
        )  # fmt: skip
    if pixels.size is not None or offset is None:
        raise FormatError(
            "the file says that its pixels are compressed, but they do not lie in fragments", code="corrupt",
            file=file.path, remedy=REMEDY,
        )  # fmt: skip
    # What is coded has no bits beside the stored ones.
    coded = replace(pixels, high_bit=pixels.bits_stored - 1)
    fragments = locate_frames(file.path, pixels, offset)
    return [
        Packed(slot, file.path, number, coded, fragments[number])
        for slot, number in zip(file.slots, file.numbers, strict=True)
    ]
