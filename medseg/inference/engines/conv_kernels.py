"""A compiled loop for 3D convolutions, in the order of sums of a matrix library; importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.loops import compile_loop

Array = NDArray[Any]

# Outputs that are summed side by side: each voxel that is read serves all of them.
QUAD = 4
# Sums beyond the last one that is wanted, so that the compiler's wide loops have no rest to do one by one.
WIDTH = 16


def _fused(loop: Any) -> Any:
    """Compile with products and sums fused into one rounding, as matrix libraries do; sums keep their order."""
    return compile_loop(loop, fastmath={"contract"})


@_fused
def _add_taps(x: Array, w: Array, p: Array, q: Array, r: Array, s: Array) -> None:
    """Add three neighbours along the last axis, one after the other, to the sums of four outputs."""
    a, b, c = w[0, 0], w[0, 1], w[0, 2]
    d, e, f = w[1, 0], w[1, 1], w[1, 2]
    g, h, i = w[2, 0], w[2, 1], w[2, 2]
    j, k, m = w[3, 0], w[3, 1], w[3, 2]
    for n in range(p.size):
        before, at, after = x[n], x[n + 1], x[n + 2]
        p[n] = after * c + (at * b + (before * a + p[n]))
        q[n] = after * f + (at * e + (before * d + q[n]))
        r[n] = after * i + (at * h + (before * g + r[n]))
        s[n] = after * m + (at * k + (before * j + s[n]))


@compile_loop
def _add_block(totals: Array, sums: Array) -> None:
    for quad in range(QUAD):
        for n in range(sums.shape[1]):
            totals[quad, n] += sums[quad, n]
            sums[quad, n] = 0


@compile_loop
def sum_neighbours(
    flat: Array,
    size: tuple[int, int, int],
    weights: Array,
    bias: Array,
    block: int,
    plane: int,
    row: int,
    result: Array,
) -> None:  # fmt: skip
    """Some rows of a convolution's outputs in one plane, summed in the order of a product of matrices.

    Args:
        flat: an image with zeros around it, (channel, a, b, c) as one row, and ``WIDTH`` values more.
        size: of that image along a, b, c.
        weights: (outputs / 4, channel, kernel a, kernel b, 4, 3), float32: kernels of three along c.
        bias: per output, float32.
        block: so many products, a multiple of 3, are summed from 0 on, then added to what was before.
        plane, row: the first output along a and b.
        result: written; (outputs, rows, c).
    """
    quads, channels, height, width = weights.shape[:4]
    outputs, rows, length = result.shape
    line = size[2]
    # Lines follow one another; sums that begin in the last two voxels of a line are nobody's.
    count = (rows * line - 2 + WIDTH - 1) // WIDTH * WIDTH
    totals, sums = np.empty((QUAD, count), np.float32), np.zeros((QUAD, count), np.float32)
    for quad in range(quads):
        for n in range(QUAD):
            totals[n, :] = bias[quad * QUAD + n]
        added = 0
        for channel in range(channels):
            for i in range(height):
                for j in range(width):
                    start = ((channel * size[0] + plane + i) * size[1] + row + j) * line
                    part = flat[start : start + count + 2]
                    _add_taps(part, weights[quad, channel, i, j], sums[0], sums[1], sums[2], sums[3])
                    added += 3
                    if added == block:
                        _add_block(totals, sums)
                        added = 0
        if added > 0:
            _add_block(totals, sums)
        for n in range(min(QUAD, outputs - quad * QUAD)):
            for r in range(rows):
                result[quad * QUAD + n, r] = totals[n, r * line : r * line + length]
