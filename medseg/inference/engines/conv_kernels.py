"""A compiled loop for 3D convolutions, in the order of sums of a matrix library; importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.loops import compile_loop

Array = NDArray[Any]

# Outputs that are summed side by side: each voxel that is read serves all of them.
QUAD = 4
# Neighbours whose weights stand together. Twice as many are added at once, whose weights for four outputs fill the
# vector registers of AVX-512; where a sum has no whole sixes, the last three are by themselves.
TRIPLE = 3
# Sums beyond the last one that is wanted, so that the compiler's wide loops have no rest to do one by one.
WIDTH = 16


def _fused(loop: Any) -> Any:
    """Compile with products and sums fused into one rounding, as matrix libraries do; sums keep their order."""
    return compile_loop(loop, fastmath={"contract"})


@_fused
def _add_triple(flat: Array, at: int, starts: Array, w: Array, p: Array, q: Array, r: Array, s: Array) -> None:
    """Add three neighbours, one after the other, to the sums of four outputs, whose weights are ``w`` (4, 3)."""
    a, b, c = w[0, 0], w[0, 1], w[0, 2]
    d, e, f = w[1, 0], w[1, 1], w[1, 2]
    g, h, i = w[2, 0], w[2, 1], w[2, 2]
    j, k, m = w[3, 0], w[3, 1], w[3, 2]
    # Unsigned: of signed places the compiler would ask each time whether they count from the end.
    one, two, three = np.uint64(at + starts[0]), np.uint64(at + starts[1]), np.uint64(at + starts[2])
    for n in range(np.uint64(p.size)):
        x, y, z = flat[one + n], flat[two + n], flat[three + n]
        p[n] = z * c + (y * b + (x * a + p[n]))
        q[n] = z * f + (y * e + (x * d + q[n]))
        r[n] = z * i + (y * h + (x * g + r[n]))
        s[n] = z * m + (y * k + (x * j + s[n]))


@_fused
def _add_six(flat: Array, at: int, starts: Array, v: Array, w: Array, p: Array, q: Array, r: Array, s: Array) -> None:
    """Add six neighbours, one after the other: those of the first three have the weights ``v``, the others ``w``."""
    pa, pb, pc, pd, pe, pf = v[0, 0], v[0, 1], v[0, 2], w[0, 0], w[0, 1], w[0, 2]
    qa, qb, qc, qd, qe, qf = v[1, 0], v[1, 1], v[1, 2], w[1, 0], w[1, 1], w[1, 2]
    ra, rb, rc, rd, re, rf = v[2, 0], v[2, 1], v[2, 2], w[2, 0], w[2, 1], w[2, 2]
    sa, sb, sc, sd, se, sf = v[3, 0], v[3, 1], v[3, 2], w[3, 0], w[3, 1], w[3, 2]
    one, two, three = np.uint64(at + starts[0]), np.uint64(at + starts[1]), np.uint64(at + starts[2])
    four, five, six = np.uint64(at + starts[3]), np.uint64(at + starts[4]), np.uint64(at + starts[5])
    for n in range(np.uint64(p.size)):
        a, b, c, d, e, f = flat[one + n], flat[two + n], flat[three + n], flat[four + n], flat[five + n], flat[six + n]
        p[n] = f * pf + (e * pe + (d * pd + (c * pc + (b * pb + (a * pa + p[n])))))
        q[n] = f * qf + (e * qe + (d * qd + (c * qc + (b * qb + (a * qa + q[n])))))
        r[n] = f * rf + (e * re + (d * rd + (c * rc + (b * rb + (a * ra + r[n])))))
        s[n] = f * sf + (e * se + (d * sd + (c * sc + (b * sb + (a * sa + s[n])))))


@compile_loop
def _add_block(totals: Array, sums: Array) -> None:
    for quad in range(QUAD):
        for n in range(sums.shape[1]):
            totals[quad, n] += sums[quad, n]
            sums[quad, n] = 0


@compile_loop
def count_sums(rows: int, line: int, length: int) -> int:
    """How many sums of an output stand side by side: rows follow one another, and what lies between the end of one and
    the next is nobody's."""
    return ((rows - 1) * line + length + WIDTH - 1) // WIDTH * WIDTH


@compile_loop
def sum_terms(
    flat: Array, starts: Array, weights: Array, bias: Array, block: int, size: tuple[int, int], first: int, last: int,
    room: Array, result: Array,
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
        room: where sums stand meanwhile, ``2 * QUAD`` values for each of ``count_sums``; best on a boundary
            of 64 bytes.
        result: written; (outputs, a, b, c).
    """
    outputs, planes, rows, length = result.shape
    lines, line = size
    count = count_sums(last - first, line, length)
    totals = room[: QUAD * count].reshape((QUAD, count))
    sums = room[QUAD * count : 2 * QUAD * count].reshape((QUAD, count))
    sums[:, :] = 0
    p, q, r, s = sums[0], sums[1], sums[2], sums[3]
    offset = first * line
    for quad in range(weights.shape[0]):
        for n in range(QUAD):
            totals[n, :] = bias[quad * QUAD + n]
        triples = weights.shape[1]
        for opening in range(0, triples, block // TRIPLE):
            closing = min(opening + block // TRIPLE, triples)
            sixes = (closing - opening) // 2
            for triple in range(opening, opening + 2 * sixes, 2):
                v, w = weights[quad, triple], weights[quad, triple + 1]
                _add_six(flat, offset, starts[TRIPLE * triple :], v, w, p, q, r, s)
            if opening + 2 * sixes < closing:
                triple = closing - 1
                _add_triple(flat, offset, starts[TRIPLE * triple :], weights[quad, triple], p, q, r, s)
            _add_block(totals, sums)
        for row in range(first, last):
            plane, inner, start = row // lines, row % lines, (row - first) * line
            if plane < planes and inner < rows:
                for n in range(min(QUAD, outputs - quad * QUAD)):
                    for c in range(length):
                        result[quad * QUAD + n, plane, inner, c] = totals[n, start + c]


@compile_loop
def deal_out(
    image: Array, shape: tuple[int, int, int, int], strides: tuple[int, int, int], padding: tuple[int, int, int],
    size: tuple[int, int, int], flat: Array,
) -> None:  # fmt: skip
    """Put zeros around an image and deal its voxels out, so that neighbouring outputs read neighbouring values.

    Args:
        image: flat, float32.
        shape: its channels and its lengths along a, b, c.
        strides: of the convolution, along a, b, c.
        padding: zeros before the first voxel along each; behind the last one there are as many as the parts hold.
        size: planes, lines and values of a line in each part.
        flat: written; (channel, stride a, stride b, stride c, planes, lines, values): of every so many voxels along an
            axis those that come first, second, ...
    """
    channels, planes, rows, length = shape
    p, q, r = strides
    target = 0
    for channel in range(channels):
        for i, j, k in np.ndindex(strides):
            low = max(0, (padding[2] - k + r - 1) // r)
            count = max(0, min(size[2], (length + padding[2] - k - 1) // r + 1) - low)
            for plane in range(size[0]):
                a = plane * p + i - padding[0]
                for row in range(size[1]):
                    b = row * q + j - padding[1]
                    inside = 0 <= a < planes and 0 <= b < rows
                    before = low if inside else size[2]
                    for n in range(before):
                        flat[np.uint64(target + n)] = 0
                    if inside:
                        source = np.uint64(((channel * planes + a) * rows + b) * length + low * r + k - padding[2])
                        first = np.uint64(target + low)
                        if r == 1:
                            for n in range(np.uint64(count)):
                                flat[first + n] = image[source + n]
                        else:
                            for n in range(np.uint64(count)):
                                flat[first + n] = image[source + n * np.uint64(r)]
                        for n in range(low + count, size[2]):
                            flat[np.uint64(target + n)] = 0
                    target += size[2]
