"""Whether two files hold the same pixels, byte for byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medseg.io.dicom.encoding import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from medseg.io.dicom.headers import FrameHeader, PixelFormat

_PIECE_BYTES = 1 << 20


def hold_same_pixels(first: FrameHeader, other: FrameHeader) -> bool:
    """Whether two files' pixels are the same bytes in the same format; deflated files are compared whole.

    Args:
        first, other: headers of two files.
    Returns:
        True or False; False too where one of them cannot be read.
    """
    one, two = first.pixels, other.pixels
    starts, size = [0, 0], None
    if one is not None and two is not None and one.offset is not None and two.offset is not None:
        starts, size = [one.offset, two.offset], one.size
        one, two = (replace(pixels, offset=None, transfer_syntax_uid=_name_coding(pixels)) for pixels in (one, two))
    try:
        return one == two and _are_equal(first.path, other.path, starts, size)
    except OSError:
        return False


def _name_coding(pixels: PixelFormat) -> str:
    """The transfer syntax, one name for both in which pixels are the same plain words."""
    return EXPLICIT_LITTLE if pixels.transfer_syntax_uid == IMPLICIT_LITTLE else pixels.transfer_syntax_uid


def _are_equal(first: Path, other: Path, starts: list[int], size: int | None) -> bool:
    """Whether the bytes from two positions on are equal, ``size`` of them or all."""
    left = size
    with first.open("rb") as one, other.open("rb") as two:
        one.seek(starts[0])
        two.seek(starts[1])
        while left is None or left > 0:
            count = _PIECE_BYTES if left is None else min(left, _PIECE_BYTES)
            piece, counterpart = one.read(count), two.read(count)
            if piece != counterpart:
                return False
            if not piece:
                return left is None
            left = None if left is None else left - len(piece)
    return True
