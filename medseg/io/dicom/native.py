"""Uncompressed planes, read straight to where they belong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError
from medseg.io.dicom.bytes_window import REMEDY, inflate
from medseg.io.dicom.encoding import DEFLATED_LITTLE, EXPLICIT_BIG
from medseg.io.dicom.headers import PixelFormat
from medseg.io.dicom.stored_values import type_of_words
from medseg.io.dicom.structure import check_structure
from medseg.io.guard import LARGEST_PADDING_BYTES, unreadable


def count_plane_bytes(pixels: PixelFormat) -> int:
    """Bytes of one uncompressed plane."""
    return pixels.rows * pixels.columns * type_of_words(pixels).itemsize


def read_native(path: Path, pixels: PixelFormat, numbers: Sequence[int], planes: Sequence[NDArray[Any]]) -> None:
    """Fill arrays with the stored values of a file's planes.

    Args:
        path: the file.
        pixels: how it keeps its pixels.
        numbers: which planes, from 0 on.
        planes: an array for each, (row, column), of ``type_of_words``, contiguous.
    Raises:
        FormatError: truncated, or more bytes than the header declares.
    """
    if pixels.transfer_syntax_uid == DEFLATED_LITTLE:
        _read_deflated(path, pixels, numbers, planes)
        return
    size = count_plane_bytes(pixels)
    offset, held = pixels.offset, pixels.size
    if offset is None or held is None:
        element = check_structure(path).pixels
        offset, held = (None, None) if element is None else (element.offset, element.size)
    if offset is None or held is None:
        raise _refuse("its pixels lie in fragments, but the file says they are not compressed", path)
    try:
        with path.open("rb", buffering=0) as stream:
            declared = size * pixels.frames
            tail = _read_at(stream, offset + declared, min(held - declared, LARGEST_PADDING_BYTES + 1))
            _check_held(path, pixels, held, tail)
            for number, plane in zip(numbers, planes, strict=True):
                stream.seek(offset + number * size)
                _fill(stream, plane, path)
            if pixels.transfer_syntax_uid == EXPLICIT_BIG:
                paired = _read_at(stream, offset - 8, 2) == b"OW"
                for plane in planes:
                    _swap(plane, paired)
    except OSError as error:
        raise unreadable(error, path) from None


def _read_deflated(path: Path, pixels: PixelFormat, numbers: Sequence[int], planes: Sequence[NDArray[Any]]) -> None:
    structure = check_structure(path)
    element = structure.pixels
    if element is None or element.size is None:
        raise _refuse("its pixels lie in fragments, but the file says they are not", path)
    data, size = inflate(path, structure.start), count_plane_bytes(pixels)
    _check_held(path, pixels, element.size, data[element.offset + size * pixels.frames : element.end])
    for number, plane in zip(numbers, planes, strict=True):
        start = element.offset + number * size
        plane[...] = np.frombuffer(data[start : start + size], plane.dtype.newbyteorder("<")).reshape(plane.shape)


def _check_held(path: Path, pixels: PixelFormat, held: int, tail: bytes) -> None:
    """Refuse an element of fewer bytes than the header declares, or of more that are no padding."""
    declared = count_plane_bytes(pixels) * pixels.frames
    said = f"{pixels.frames} x {pixels.rows} x {pixels.columns} values of {pixels.bits_allocated} bits"
    if held < declared:
        raise FormatError(
            f"{held} bytes of pixels, expected {declared} for {said}", code="truncated", file=path, remedy=REMEDY
        )
    if held - declared > 1 and (len(tail) > LARGEST_PADDING_BYTES or any(tail)):
        raise FormatError(
            f"{held} bytes of pixels, expected {declared} for {said}", code="wrong_size", file=path, remedy=REMEDY
        )


def _read_at(stream: BinaryIO, position: int, count: int) -> bytes:
    if count <= 0:
        return b""
    stream.seek(position)
    return stream.read(count)


def _fill(stream: BinaryIO, plane: NDArray[Any], path: Path) -> None:
    view = plane.reshape(-1).view(np.uint8).data
    while view:
        count = stream.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise FormatError("the file ends within its pixels", code="truncated", file=path, remedy=REMEDY)
        view = view[count:]


def _swap(plane: NDArray[Any], paired: bool) -> None:
    """Big endian values in the machine's order; single bytes lie swapped in pairs where they are written as words."""
    if plane.dtype.itemsize > 1:
        plane[...] = plane.view(plane.dtype.newbyteorder(">"))
    elif paired and plane.size % 2 == 0:
        pairs = plane.reshape(-1, 2)
        pairs[...] = pairs[:, ::-1].copy()


def _refuse(reason: str, path: Path) -> FormatError:
    return FormatError(reason, code="corrupt", file=path, remedy=REMEDY)
