# mypy: disable-error-code="no-untyped-call"
"""Compiled loops for 3D convolutions, in the order of sums of a matrix library; importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from medseg.compute.loops import compile_loop

Array = NDArray[Any]

# Outputs that are summed side by side: each voxel that is read serves all of them.
QUAD = 4
# Sums in a vector of the compiler's: AVX-512 has it in one register, AVX2 in two.
WIDTH = 16
# Vectors whose sums for four outputs stay in registers while all terms are added: 16 of the 32 that AVX-512 has.
VECTORS = 4 if get_host_cpu_features().get("avx512f") else 1

_INTEGER, _FLOAT = ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, WIDTH)
_ZEROS = ir.Constant(_VECTOR, [0.0] * WIDTH)


def _make_adder(vectors: int) -> Any:
    """A function that adds terms to some neighbouring sums of four outputs, all of which stay in registers.

    It stands in the file of its callers, since numba keeps compiled code until that file changes.

    It is written in the compiler's own language: loops of numba's keep sums in memory, and reading and writing them
    takes as long as adding. Products and sums are fused into one rounding, as matrix libraries do, where the processor
    can. Its arguments: the image, where each term's neighbour stands in it, the weights (term, output) and the totals
    (output, ``count``), all flat; where the totals' first sum stands in the image, which sum is the first one meant,
    ``count``, and which terms, at least one.
    """

    @intrinsic
    def add_terms(
        context: Any, flat: Any, starts: Any, weights: Any, totals: Any,
        place: Any, number: Any, count: Any, first: Any, last: Any,
    ) -> Any:  # fmt: skip
        return types.void(flat, starts, weights, totals, *[types.int64] * 5), generate

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = zip(signature.args[:4], arguments[:4], strict=True)
        flat, starts, weights, totals = (
            context.make_array(kind)(context, builder, value).data for kind, value in arrays
        )
        place, number, count, first, last = arguments[4:]
        before, body = builder.block, builder.append_basic_block("term")
        done = builder.append_basic_block("done")
        builder.branch(body)
        builder.position_at_end(body)
        term = builder.phi(_INTEGER)
        sums = [builder.phi(_VECTOR) for _ in range(QUAD * vectors)]
        start = builder.add(builder.add(place, number), builder.load(builder.gep(starts, [term])))
        values = [_load(builder, flat, _shift(builder, start, WIDTH * n)) for n in range(vectors)]
        added = []
        for output in range(QUAD):
            column = _shift(builder, builder.mul(term, _INTEGER(QUAD)), output)
            weight = _repeat(builder, builder.load(builder.gep(weights, [column])))
            added += [
                _multiply_add(builder, value, weight, sums[output * vectors + n]) for n, value in enumerate(values)
            ]
        following = builder.add(term, _INTEGER(1))
        for phi, begin, later in zip([term, *sums], [first] + [_ZEROS] * len(sums), [following, *added], strict=True):
            phi.add_incoming(begin, before)
            phi.add_incoming(later, body)
        builder.cbranch(builder.icmp_signed("<", following, last), body, done)
        builder.position_at_end(done)
        for n, value in enumerate(added):
            row = builder.add(builder.mul(count, _INTEGER(n // vectors)), number)
            _add_to(builder, totals, _shift(builder, row, WIDTH * (n % vectors)), value)
        return context.get_dummy_value()

    return add_terms


def _shift(builder: Any, place: Any, by: int) -> Any:
    return builder.add(place, _INTEGER(by)) if by else place


def _point(builder: Any, array: Any, place: Any) -> Any:
    return builder.bitcast(builder.gep(array, [place]), _VECTOR.as_pointer())


def _load(builder: Any, array: Any, place: Any) -> Any:
    return builder.load(_point(builder, array, place), align=4)


def _add_to(builder: Any, array: Any, place: Any, value: Any) -> None:
    builder.store(builder.fadd(_load(builder, array, place), value), _point(builder, array, place), align=4)


def _repeat(builder: Any, value: Any) -> Any:
    """A vector of equal numbers."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), places)


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    kind, name = ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fmuladd.v{WIDTH}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a, b, c])


_add_many, _add_few = _make_adder(VECTORS), _make_adder(1)


@compile_loop
def count_sums(rows: int, line: int, length: int) -> int:
    """How many sums of an output stand side by side: rows follow one another, and what lies between the end of one and
    the next is nobody's."""
    return ((rows - 1) * line + length + WIDTH - 1) // WIDTH * WIDTH


@compile_loop
def sum_terms(
    flat: Array, starts: Array, weights: Array, bias: Array, block: int, size: tuple[int, int], first: int, last: int,
    totals: Array, result: Array,
) -> None:  # fmt: skip
    """Some rows of a convolution's outputs, each output summed term by term.

    Args:
        flat: an image as one row of float32, and ``WIDTH`` values more.
        starts: in the order of the sum, where the first output's neighbour of each term stands. The neighbour of the
            next output is the next value, that of the next row's first output a line on.
        weights: (outputs / 4, terms * 4), float32: of each term in that order those of four outputs.
        bias: per output, float32.
        block: so many terms are summed from 0 on, then added to what was before.
        size: lines from one plane to the next, and values from one line to the next: at least a plane's rows of
            outputs, and a row's outputs.
        first, last: which rows, counted by lines from the first plane on; those between two planes are nobody's.
        totals: where sums stand meanwhile, ``QUAD`` times ``count_sums``, float32.
        result: written; (outputs, a, b, c).
    """
    outputs, planes, rows, length = result.shape
    lines, line = size
    count, terms, offset = count_sums(last - first, line, length), starts.size, first * line
    for quad in range(weights.shape[0]):
        for n in range(QUAD):
            totals[n * count : (n + 1) * count] = bias[quad * QUAD + n]
        number = 0
        while number < count:
            wide = count - number >= VECTORS * WIDTH
            for opening in range(0, terms, block):
                closing = min(opening + block, terms)
                if wide:
                    _add_many(flat, starts, weights[quad], totals, offset, number, count, opening, closing)
                else:
                    _add_few(flat, starts, weights[quad], totals, offset, number, count, opening, closing)
            number += VECTORS * WIDTH if wide else WIDTH
        for row in range(first, last):
            plane, inner, start = row // lines, row % lines, (row - first) * line
            if plane < planes and inner < rows:
                for n in range(min(QUAD, outputs - quad * QUAD)):
                    for c in range(length):
                        result[quad * QUAD + n, plane, inner, c] = totals[n * count + start + c]


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
