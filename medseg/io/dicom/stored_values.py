"""Stored values: bits that are none of theirs taken away, and which of them stand for no measurement.

Source: DICOM PS3.5 section 8.1 (bits stored, high bit), PS3.3 C.7.5.1.1.2 (pixel padding value and range).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom.headers import PixelFormat


def type_of_words(pixels: PixelFormat) -> np.dtype[Any]:
    """The type that stored values of a format have in memory."""
    if pixels.keyword != "PixelData":
        return np.dtype(f"f{pixels.bits_allocated // 8}")
    return np.dtype(f"{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")


def mend_words(words: NDArray[Any], pixels: PixelFormat) -> NDArray[Any]:
    """Move values down to bit 0, in place, and drop the bits beside them, in which old files keep overlays.

    Args:
        words: stored values as the file has them, of ``type_of_words``.
        pixels: how the file keeps them.
    Returns:
        the same array; two's complement carried on to its type's highest bit.
    """
    if words.dtype.kind == "f" or pixels.bits_stored == pixels.bits_allocated:
        return words
    words <<= pixels.bits_allocated - 1 - pixels.high_bit
    words >>= pixels.bits_allocated - pixels.bits_stored
    return words


def find_padding(pixels: PixelFormat, padding: tuple[int, int] | None) -> tuple[int, int] | None:
    """The stored values that stand for no measurement, as numbers of the words' type.

    Args:
        pixels: how the file keeps its values.
        padding: as the header states them, whose own sign often is not that of the values.
    Returns:
        the lowest and highest of them; None where there are none.
    """
    if padding is None or pixels.keyword != "PixelData":
        return None
    span = 1 << pixels.bits_allocated
    values = [value % span for value in padding]
    if pixels.signed:
        values = [value - span if value >= span // 2 else value for value in values]
    return min(values), max(values)


def _range_of(pixels: PixelFormat) -> tuple[int, int]:
    """The lowest and highest value that the stored bits can hold."""
    half = 1 << (pixels.bits_stored - 1)
    return (-half, half - 1) if pixels.signed else (0, 2 * half - 1)


class Marks:
    """What is known of each plane before it is scaled: the range of its measured values, and its padding.

    Args:
        count: how many planes there are.
    """

    def __init__(self, count: int) -> None:
        self.padding: list[tuple[int, int] | None] = [None] * count
        self.lowest: list[float | None] = [None] * count  # None where the plane has nothing but padding
        self.highest: list[float | None] = [None] * count
        self.padded = [0] * count
        self._stray: dict[int, NDArray[np.bool_]] = {}

    def take(
        self, slot: int, words: NDArray[Any], pixels: PixelFormat, padding: tuple[int, int] | None
    ) -> NDArray[Any]:
        """Mend a plane, in place, and note its range and its padding.

        Args:
            slot: which plane it is.
            words: its stored values as the file has them.
            pixels: how the file keeps them.
            padding: the stored values that stand for no measurement, as the header states them.
        Returns:
            the mended values.
        """
        known = find_padding(pixels, padding)
        low, high = _range_of(pixels)
        if known is not None and not low <= known[0] <= known[1] <= high:
            # Padding that the stored bits cannot hold: the words have it, and the bits that are dropped are part of it.
            self._stray[slot] = (words >= known[0]) & (words <= known[1])
        self.padding[slot] = known
        plane = mend_words(words, pixels)
        self._measure(slot, plane)
        return plane

    def mask(self, slot: int, plane: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Where a mended plane is padding; None where it has none."""
        known, stray = self.padding[slot], self._stray.get(slot)
        if stray is not None:
            return stray
        return None if known is None else (plane >= known[0]) & (plane <= known[1])

    def _measure(self, slot: int, plane: NDArray[Any]) -> None:
        low, high = plane.min().item(), plane.max().item()
        known = self.padding[slot]
        if known is not None and (slot in self._stray or (known[0] <= high and known[1] >= low)):
            mask = self.mask(slot, plane)
            assert mask is not None
            self.padded[slot] = int(np.count_nonzero(mask))
            if self.padded[slot] == plane.size:
                return
            if slot in self._stray:
                others = plane[~mask]
                low, high = others.min().item(), others.max().item()
            else:
                low, high = _narrow(plane, known, low, high)
        self.lowest[slot], self.highest[slot] = low, high


def _narrow(plane: NDArray[Any], known: tuple[int, int], low: int, high: int) -> tuple[int, int]:
    """The range of a plane without its padding, a fifth of the time that picking the others out takes.

    Counted from just above the padding, in unsigned numbers, padding is what lies farthest away.
    """
    bits = 8 * plane.dtype.itemsize
    unsigned = plane.view(f"u{plane.dtype.itemsize}")
    if known[0] <= low:
        low = known[1] + 1 + int((unsigned - unsigned.dtype.type((known[1] + 1) % (1 << bits))).min())
    if high <= known[1]:
        high = known[0] - 1 - int((unsigned.dtype.type((known[0] - 1) % (1 << bits)) - unsigned).min())
    return low, high
