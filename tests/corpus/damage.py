"""Files cut short and bits flipped at many places, and what a reader makes of each: refused, the same, or changed."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from medseg.core.errors import MedsegError
from medseg.core.geometry import Geometry
from medseg.io.read import read_array


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Notes about unusual headers are no matter here."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def pick_places(size: int, count: int, seed: int, *, first: int = 0) -> list[int]:
    """So many different places in a file, its first and last ones among them; all of them where there are fewer."""
    if size - first <= count:
        return list(range(first, size))
    drawn = np.random.default_rng(seed).choice(np.arange(first + 1, size - 1), count - 2, replace=False)
    return sorted([first, *drawn.tolist(), size - 1])


def cut_files(content: bytes, places: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """The file cut before each place, and what was done."""
    for place in places:
        yield f"cut at {place}", content[:place]


def flip_bits(content: bytes, places: Iterable[int], seed: int) -> Iterator[tuple[str, bytes]]:
    """The file with one bit flipped at each place, and what was done."""
    bits = np.random.default_rng(seed)
    for place in places:
        bit = int(bits.integers(8))
        yield f"bit {bit} of byte {place}", content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def judge(
    path: Path, damaged: Iterable[tuple[str, bytes]], array: np.ndarray, geometry: Geometry
) -> tuple[Counter[str], list[str]]:
    """What becomes of each damaged file.

    Args:
        path: where each is written and read.
        damaged: what was done, and the bytes.
        array: what the sound file holds, (channel, i, j, k).
        geometry: its grid.
    Returns:
        how many were ``refused``, read as the ``same``, and ``changed``; and what was done to those that changed.
    """
    counts: Counter[str] = Counter()
    changed = []
    with silence():
        for name, content in damaged:
            path.write_bytes(content)
            try:
                found, place = read_array(path)
            except MedsegError:
                counts["refused"] += 1
                continue
            same = np.array_equal(found, array) and place.shape == geometry.shape
            same = same and bool((place.affine == geometry.affine).all()) and place.spacing_mm == geometry.spacing_mm
            counts["same" if same else "changed"] += 1
            changed += [] if same else [name]
    return counts, changed
