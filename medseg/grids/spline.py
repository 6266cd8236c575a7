"""Interpolation along one axis as a matrix: each output sample as a weighted sum of input samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Order = Literal[1, 3]

# The pole of the cubic B-spline's inverse filter (Unser 1999, "Splines", box 2); its powers are the inverse's tail.
CUBIC_POLE = math.sqrt(3.0) - 2.0
# Samples on each side that the inverse filter reaches: |pole|**15 is 3e-9, below float32's rounding, |pole|**29 is
# 3e-17, below float64's.
RADIUS_FLOAT32 = 14
RADIUS_FLOAT64 = 28
# Rows that share one dense block: enough for a fast matrix product, few enough to leave out most zeros (measured).
BLOCK_ROWS = 32


@dataclass(frozen=True, eq=False)
class Block:
    """A dense piece of an axis's matrix: output rows ``start <= row < stop`` from inputs ``first <= column < last``."""

    start: int
    stop: int
    first: int
    last: int
    weights: NDArray[Any]


def sample_coordinates(n_in: int, n_out: int) -> NDArray[np.float64]:
    """Where the centres of ``n_out`` output samples lie among ``n_in`` input samples of the same extent."""
    position: NDArray[np.float64] = (n_in / n_out) * (np.arange(n_out, dtype=np.float64) + 0.5) - 0.5
    return position


def nearest_samples(n_in: int, n_out: int) -> NDArray[np.int64]:
    """The input sample next to each output sample's centre; of two equally near ones the later."""
    nearest = np.floor(sample_coordinates(n_in, n_out) + 0.5).astype(np.int64)
    return np.clip(nearest, 0, n_in - 1)


@lru_cache(maxsize=512)
def make_blocks(n_in: int, n_out: int, order: Order, exact: bool, start: int, stop: int) -> tuple[Block, ...]:
    """The matrix that resamples ``n_in`` samples to ``n_out``, rows ``start`` to ``stop``, as dense blocks of its band.

    Args:
        n_in: input samples; beyond the first and last one their values go on unchanged.
        n_out: output samples over the same extent, half-pixel-centre coordinates.
        order: 1 linear, 3 interpolating cubic B-spline.
        exact: float64 and the whole reach of the spline, else float32.
        start, stop: the rows wanted.
    Returns:
        blocks in the order of their rows, without a gap.
    Source: Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing Magazine 1999; the
    boundary is that of ``scipy.ndimage.zoom(mode="nearest", grid_mode=True)``.
    """
    columns, weights = _band(n_in, n_out, order, RADIUS_FLOAT64 if exact else RADIUS_FLOAT32)
    pieces = max(1, math.ceil((stop - start) / BLOCK_ROWS))
    edges = np.linspace(start, stop, pieces + 1).round().astype(int)
    blocks = []
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        first, last = int(columns[low:high].min()), int(columns[low:high].max()) + 1
        dense = np.zeros((high - low, last - first))
        np.add.at(dense, (np.arange(high - low)[:, None], columns[low:high] - first), weights[low:high])
        blocks.append(Block(low, high, first, last, dense.astype(np.float64 if exact else np.float32)))
    return tuple(blocks)


def _band(n_in: int, n_out: int, order: Order, radius: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Input samples and their weights for every output sample; samples beyond an edge stand for the edge."""
    position = sample_coordinates(n_in, n_out)
    below = np.floor(position)
    fraction = position - below
    if order == 1:
        offsets = np.arange(2)
        weights = np.stack([1.0 - fraction, fraction], axis=1)
    else:
        offsets = np.arange(-1 - radius, 3 + radius)
        taps = np.arange(-1, 3)
        inverse = math.sqrt(3.0) * CUBIC_POLE ** np.abs(taps[:, None] - offsets).astype(np.float64)
        weights = _cubic_taps(fraction) @ inverse
    columns = np.clip(below.astype(np.int64)[:, None] + offsets, 0, n_in - 1)
    return columns, weights


def _cubic_taps(fraction: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic B-spline at the four samples around a position, ``fraction`` past the second of them."""
    rest = 1.0 - fraction
    return np.stack(
        [
            rest**3 / 6.0,
            2.0 / 3.0 - fraction**2 * (2.0 - fraction) / 2.0,
            2.0 / 3.0 - rest**2 * (2.0 - rest) / 2.0,
            fraction**3 / 6.0,
        ],
        axis=1,
    )
