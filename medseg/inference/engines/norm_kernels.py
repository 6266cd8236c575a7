"""Compiled loops for instance normalisation followed by leaky ReLU, in place; importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.loops import Loop, compile_loop

Array = NDArray[Any]

# Voxels whose sums fit float32 without losing what bfloat16 can show; they are then added in float64.
BLOCK_VOXELS = 256


def _fused(loop: Loop) -> Loop:
    """Compile with products and sums fused, as the compiler of PyTorch fuses them; sums keep their order."""
    return compile_loop(loop, fastmath={"contract"})


@compile_loop
def _sum_rows(x: Array, rows: Array, means: Array, squares: Array) -> None:
    """The mean of eight rows and the sum of squares around it, each summed from the first voxel to the last.

    A sum in this order cannot be spread over a vector register, and one addition waits for the one before it. Eight
    rows side by side are eight sums that don't wait for one another.
    """
    a, b, c, d, e, f, g, h = rows
    voxels = x.shape[1]
    s, t, u, v, w, p, q, r = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(voxels):
        s += x[a, i]
        t += x[b, i]
        u += x[c, i]
        v += x[d, i]
        w += x[e, i]
        p += x[f, i]
        q += x[g, i]
        r += x[h, i]
    sums = (s, t, u, v, w, p, q, r)
    for k in range(8):
        means[k] = np.float32(sums[k] / voxels)
    ma, mb, mc, md, me, mf, mg, mh = means
    s, t, u, v, w, p, q, r = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(voxels):
        s += (x[a, i] - ma) * (x[a, i] - ma)
        t += (x[b, i] - mb) * (x[b, i] - mb)
        u += (x[c, i] - mc) * (x[c, i] - mc)
        v += (x[d, i] - md) * (x[d, i] - md)
        w += (x[e, i] - me) * (x[e, i] - me)
        p += (x[f, i] - mf) * (x[f, i] - mf)
        q += (x[g, i] - mg) * (x[g, i] - mg)
        r += (x[h, i] - mh) * (x[h, i] - mh)
    sums = (s, t, u, v, w, p, q, r)
    for k in range(8):
        squares[k] = np.float32(sums[k])


@_fused
def _scale_row(row: Array, mean: Any, square: Any, weight: Any, bias: Any, epsilon: float, slope: np.float32) -> None:
    """Normalise one row and let what is negative through with ``slope``."""
    variance = np.float64(square / np.float32(row.size))
    inverse = np.float32(1.0 / np.sqrt(variance + epsilon))
    alpha = inverse * weight
    beta = bias - mean * alpha
    for i in range(row.size):
        y = row[i] * alpha + beta
        row[i] = y if y > 0 else y * slope


@compile_loop
def normalise_rows(
    x: Array, weight: Array, bias: Array, epsilon: float, slope: np.float32, first: int, last: int
) -> None:
    """Normalise the rows from ``first`` to before ``last`` in place, with PyTorch's own arithmetic.

    Args:
        x: a row per window and channel, (rows, voxels), float32.
        weight, bias: per channel, float32; row r belongs to channel r % channels.
        epsilon: added to the variance.
        slope: of the leaky ReLU; 1 for none.
        first, last: which rows.
    """
    means, squares = np.empty(8, np.float32), np.empty(8, np.float32)
    rows = np.empty(8, np.int64)
    for start in range(first, last, 8):
        for k in range(8):  # a last group of fewer rows sums its last one several times
            rows[k] = min(start + k, last - 1)
        _sum_rows(x, rows, means, squares)
        for k in range(min(8, last - start)):
            channel = (start + k) % weight.size
            _scale_row(x[start + k], means[k], squares[k], weight[channel], bias[channel], epsilon, slope)


@compile_loop
def _widen(bits: np.uint16) -> np.float32:
    """A bfloat16, given as its bits, as float32."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@compile_loop
def _round_to_half(value: np.float32) -> np.uint16:
    """The bits of the nearest bfloat16, of two as near the even one."""
    bits = np.float32(value).view(np.uint32)
    return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@_fused
def sum_halves(x: Array, first: int, last: int, sums: Array, squares: Array) -> None:
    """Add the voxels from ``first`` to before ``last`` to each channel's sum and sum of squares.

    Args:
        x: bfloat16 as its bits, (voxel, channel), uint16. Sums are of the difference to the first voxel of all.
        first, last: which voxels.
        sums, squares: per channel, float64.
    """
    channels = x.shape[1]
    shift, part, square = np.empty(channels, np.float32), np.empty(channels, np.float32), np.empty(channels, np.float32)
    for c in range(channels):
        shift[c] = _widen(x[0, c])
    for start in range(first, last, BLOCK_VOXELS):
        part[:] = 0
        square[:] = 0
        for i in range(start, min(start + BLOCK_VOXELS, last)):
            for c in range(channels):
                value = _widen(x[i, c]) - shift[c]
                part[c] += value
                square[c] += value * value
        for c in range(channels):
            sums[c] += part[c]
            squares[c] += square[c]


@_fused
def scale_halves(x: Array, alpha: Array, beta: Array, slope: np.float32, first: int, last: int) -> None:
    """Scale the voxels from ``first`` to before ``last`` in place and let what is negative through with ``slope``.

    Args:
        x: bfloat16 as its bits, (voxel, channel), uint16.
        alpha, beta: per channel, float32; x becomes x * alpha + beta.
        slope: of the leaky ReLU; 1 for none.
        first, last: which voxels.
    """
    for i in range(first, last):
        for c in range(x.shape[1]):
            y = _widen(x[i, c]) * alpha[c] + beta[c]
            x[i, c] = _round_to_half(y if y > 0 else y * slope)
