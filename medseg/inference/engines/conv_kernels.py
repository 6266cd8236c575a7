"""A compiled loop for 3D convolutions, in the order of sums of a matrix library; importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.loops import compile_loop

Array = NDArray[Any]

# Outputs that are summed side by side: each voxel that is read serves all of them.
QUAD = 4
# Neighbours that are added at once.
TRIPLE = 3
# Sums beyond the last one that is wanted, so that the compiler's wide loops have no rest to do one by one.
WIDTH = 16


def _fused(loop: Any) -> Any:
    """Compile with products and sums fused into one rounding, as matrix libraries do; sums keep their order."""
    return compile_loop(loop, fastmath={"contract"})


@_fused
def _add_triple(
    flat: Array, first: int, second: int, third: int, w: Array, quad: int, triple: int,
    p: Array, q: Array, r: Array, s: Array,
) -> None:  # fmt: skip
    """Add three neighbours, one after the other, to the sums of four outputs."""
    a, b, c = w[quad, triple, 0, 0], w[quad, triple, 0, 1], w[quad, triple, 0, 2]
    d, e, f = w[quad, triple, 1, 0], w[quad, triple, 1, 1], w[quad, triple, 1, 2]
    g, h, i = w[quad, triple, 2, 0], w[quad, triple, 2, 1], w[quad, triple, 2, 2]
    j, k, m = w[quad, triple, 3, 0], w[quad, triple, 3, 1], w[quad, triple, 3, 2]
    # Unsigned: of signed places the compiler would ask each time whether they count from the end.
    one, two, three = np.uint64(first), np.uint64(second), np.uint64(third)
    for n in range(np.uint64(p.size)):
        x, y, z = flat[one + n], flat[two + n], flat[three + n]
        p[n] = z * c + (y * b + (x * a + p[n]))
        q[n] = z * f + (y * e + (x * d + q[n]))
        r[n] = z * i + (y * h + (x * g + r[n]))
        s[n] = z * m + (y * k + (x * j + s[n]))


@compile_loop
def _add_block(totals: Array, sums: Array) -> None:
    for quad in range(QUAD):
        for n in range(sums.shape[1]):
            totals[quad, n] += sums[quad, n]
            sums[quad, n] = 0


@compile_loop
def sum_terms(
    flat: Array, starts: Array, weights: Array, bias: Array, block: int, size: tuple[int, int], first: int, last: int,
    result: Array,
) -> None:  # fmt: skip
    """Some rows of a convolution's outputs, each output summed term by term.

    Args:
        flat: an image as one row of float32, and ``WIDTH`` values more.
        starts: in the order of the sum, where the first output's neighbour of each term stands. The neighbour of the
            next output is the next value, that of the next row's first output a line on.
        weights: (outputs / 4, terms / 3, 4, 3), float32, of each term in that order.
        bias: per output, float32.
        block: so many terms, a multiple of 3, are summed from 0 on, then added to what was before.
        size: lines from one plane to the next, and values from one line to the next: at least a plane's rows of
            outputs, and a row's outputs.
        first, last: which rows, counted by lines from the first plane on; those between two planes are nobody's.
        result: written; (outputs, a, b, c).
    """
    outputs, planes, rows, length = result.shape
    lines, line = size
    # Rows follow one another; what is summed between the end of one and the next is nobody's.
    count = ((last - first - 1) * line + length + WIDTH - 1) // WIDTH * WIDTH
    totals, sums = np.empty((QUAD, count), np.float32), np.zeros((QUAD, count), np.float32)
    p, q, r, s = sums[0], sums[1], sums[2], sums[3]
    offset = first * line
    for quad in range(weights.shape[0]):
        for n in range(QUAD):
            totals[n, :] = bias[quad * QUAD + n]
        added = 0
        for triple in range(weights.shape[1]):
            term = TRIPLE * triple
            x, y, z = offset + starts[term], offset + starts[term + 1], offset + starts[term + 2]
            _add_triple(flat, x, y, z, weights, quad, triple, p, q, r, s)
            added += TRIPLE
            if added == block:
                _add_block(totals, sums)
                added = 0
        if added > 0:
            _add_block(totals, sums)
        for row in range(first, last):
            plane, inner, start = row // lines, row % lines, (row - first) * line
            if plane < planes and inner < rows:
                for n in range(min(QUAD, outputs - quad * QUAD)):
                    for c in range(length):
                        result[quad * QUAD + n, plane, inner, c] = totals[n, start + c]
