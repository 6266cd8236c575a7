"""The compiled loops of the way back to a scan's grid; importing this module loads numba.

Logits come as whole numbers with the bits of halves or of float32. Each value is interpolated in float64 in the order
of ``scipy.ndimage.zoom`` (a logit times its weights axis by axis, eight products added up, the last axis first) and
rounded once to the logits' own type, so that results are equal to the last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.compute.loops import compile_loop

Array = NDArray[Any]

EXPONENT_BITS = 0x7FF0000000000000  # of a float64


class FloatKind(NamedTuple):
    """How the bits of halves or float32 become float64, and how float64 is rounded to their type.

    Args:
        mask: all bits but the sign.
        shift: what brings exponent and fraction to their place in a float64.
        scale: what corrects the exponent then.
        smallest: the smallest number that the type holds with all its bits.
        magic: a number's power of two times this, added and taken away again, rounds it to the type.
    """

    mask: int
    shift: int
    scale: float
    smallest: float
    magic: float


HALF = FloatKind(0x7FFF, 42, 2.0**1008, 2.0**-14, 1.5 * 2.0**42)
FLOAT32 = FloatKind(0x7FFFFFFF, 29, 2.0**896, 2.0**-126, 1.5 * 2.0**29)


class Source(NamedTuple):
    """Logits (channel, a, b, c) whose last axis lies without gaps in memory.

    Args:
        signed, unsigned: the bits, flat, as signed and unsigned whole numbers in the same memory.
        channels: their number.
        steps: from one channel, a, b to the next, in numbers.
    """

    signed: Array
    unsigned: Array
    channels: int
    steps: tuple[int, int, int]


@compile_loop
def _decode(bits: int, kind: FloatKind, word: Array) -> float:
    """The number that unsigned bits stand for; ``word`` is room for one int64."""
    word[0] = (bits & kind.mask) << kind.shift
    value: float = word.view(np.float64)[0] * kind.scale
    return -value if bits > kind.mask else value


@compile_loop
def _find_extremes(source: Source, start: int, rows: tuple[int, int], top: Array, above: Array, under: Array) -> None:
    """Along the last axis the largest signed, largest unsigned and smallest unsigned bits over all rows."""
    width = top.size
    for i in range(rows[0]):
        for j in range(rows[1]):
            at = start + i * source.steps[1] + j * source.steps[2]
            signed, unsigned = source.signed[at : at + width], source.unsigned[at : at + width]
            if i == 0 and j == 0:
                top[:] = signed
                above[:] = unsigned
                under[:] = unsigned
                continue
            for k in range(width):
                top[k] = max(top[k], signed[k])
            for k in range(width):
                above[k] = max(above[k], unsigned[k])
                under[k] = min(under[k], unsigned[k])


@compile_loop
def find_ranges(source: Source, kind: FloatKind, box: Array, reads: Any, edges: Array) -> tuple[Array, Array]:
    """The smallest and largest logit of each tile's source voxels, (tile, channel), float64.

    Args:
        source, kind: the logits.
        box: the source voxels along a and b: start, stop, start, stop.
        reads: of the last axis.
        edges: first outputs of the tiles along the last axis, and the end.
    """
    low = np.empty((edges.size - 1, source.channels))
    high = np.empty((edges.size - 1, source.channels))
    width = reads.high[-1] + 1
    top, word = np.empty(width, source.signed.dtype), np.empty(1, np.int64)
    above, under = np.empty(width, source.unsigned.dtype), np.empty(width, source.unsigned.dtype)
    for channel in range(source.channels):
        start = channel * source.steps[0] + box[0] * source.steps[1] + box[2] * source.steps[2]
        _find_extremes(source, start, (box[1] - box[0], box[3] - box[2]), top, above, under)
        for tile in range(edges.size - 1):
            first, last = reads.low[edges[tile]], reads.high[edges[tile + 1] - 1] + 1
            highest, outermost, innermost = top[first], above[first], under[first]
            for k in range(first + 1, last):
                highest = max(highest, top[k])
                outermost = max(outermost, above[k])
                innermost = min(innermost, under[k])
            # Bits with the sign set are negative numbers, the further from zero the larger the bits.
            low[tile, channel] = _decode(outermost if outermost > kind.mask else innermost, kind, word)
            high[tile, channel] = _decode(highest if highest >= 0 else innermost, kind, word)
    return low, high


@compile_loop
def list_candidates(low: Array, high: Array, found: Array) -> int:
    """Write the channels that may be largest somewhere into ``found`` and return their number.

    What cannot reach a channel whose smallest logit is at least its largest is left out; of equal ones the lower wins.
    Interpolation and rounding keep values within their sources' range, so that this changes nothing.
    """
    sure = 0
    for channel in range(1, low.size):
        if low[channel] > low[sure]:
            sure = channel
    count = 0
    for channel in range(low.size):
        if channel == sure or high[channel] > low[sure] or (high[channel] == low[sure] and channel < sure):
            found[count] = channel
            count += 1
    return count


@compile_loop
def _load_box(
    source: Source, kind: FloatKind, channel: int, box: Array, reads: Any, outputs: Any, word: Array, sides: Array
) -> None:
    """Fill ``sides`` with the values below and above each output along the last axis: (2, source row, output)."""
    number = word.view(np.float64)
    lows, highs = reads.low[outputs[0] : outputs[1]], reads.high[outputs[0] : outputs[1]]
    first = lows[0]
    width = highs[-1] + 1 - first
    row = 0
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            at = channel * source.steps[0] + i * source.steps[1] + j * source.steps[2] + first
            bits = source.signed[at : at + width]
            for k in range(width):
                whole = np.int64(bits[k])
                word[k] = ((whole >> 63) << 63) | ((whole & kind.mask) << kind.shift)
            for k in range(width):
                number[k] *= kind.scale
            below, above = sides[0, row], sides[1, row]
            for k in range(lows.size):
                below[k] = number[lows[k] - first]
                above[k] = number[highs[k] - first]
            row += 1


@compile_loop
def _add_row(sides: Array, row: int, weights: Any, low: Array, high: Array, fresh: bool, result: Array) -> None:
    """Add what one source row gives to a row of outputs."""
    below, above = sides[0, row], sides[1, row]
    first, second = weights
    if fresh:
        for k in range(low.size):
            result[k] = below[k] * first * second * low[k] + above[k] * first * second * high[k]
    else:
        for k in range(low.size):
            result[k] = (result[k] + below[k] * first * second * low[k]) + above[k] * first * second * high[k]


@compile_loop
def _interpolate(sides: Array, box: Array, reads: Any, ranges: Any, outputs: Any, values: Array) -> None:
    """Fill ``values`` (row of outputs, output) from the source rows in ``sides``."""
    reads_a, reads_b, reads_c = reads
    low = reads_c.weight_low[outputs[0] : outputs[1]]
    high = reads_c.weight_high[outputs[0] : outputs[1]]
    width = box[3] - box[2]
    row = 0
    for a in range(ranges[0], ranges[1]):
        for b in range(ranges[2], ranges[3]):
            result = values[row]
            for side_a in range(2):
                place_a = reads_a.high[a] if side_a else reads_a.low[a]
                weight_a = reads_a.weight_high[a] if side_a else reads_a.weight_low[a]
                for side_b in range(2):
                    place_b = reads_b.high[b] if side_b else reads_b.low[b]
                    weight_b = reads_b.weight_high[b] if side_b else reads_b.weight_low[b]
                    if weight_a > 0 and weight_b > 0:
                        source_row = (place_a - box[0]) * width + place_b - box[2]
                        fresh = side_a == 0 and side_b == 0
                        _add_row(sides, source_row, (weight_a, weight_b), low, high, fresh, result)
            row += 1


@compile_loop
def _round(values: Array, kind: FloatKind, word: Array) -> None:
    """Round float64 to the nearest number of a smaller type, of two equally near ones to the even one."""
    bits, power = values.view(np.int64), word.view(np.float64)
    for k in range(values.size):
        word[k] = bits[k] & EXPONENT_BITS
    for k in range(values.size):
        large = (power[k] if power[k] > kind.smallest else kind.smallest) * kind.magic
        values[k] = (values[k] + large) - large


@compile_loop
def _fill_values(
    source: Source, kind: FloatKind, channel: int, box: Array, reads: Any, ranges: Any, outputs: Any, room: Any
) -> None:
    """A channel's interpolated and rounded values in a tile: ``room`` is (word, sides, values)."""
    word, sides, values = room
    _load_box(source, kind, channel, box, reads[2], outputs, word, sides)
    _interpolate(sides, box, reads, ranges, outputs, values)
    width = outputs[1] - outputs[0]
    for row in range(values.shape[0]):
        _round(values[row, :width], kind, word)


@compile_loop
def _make_room(box: Array, reads: Any, ranges: Any, edges: Array) -> Any:
    longest, width = 0, 0
    for tile in range(edges.size - 1):
        longest = max(longest, edges[tile + 1] - edges[tile])
        width = max(width, reads[2].high[edges[tile + 1] - 1] + 1 - reads[2].low[edges[tile]])
    rows = (ranges[1] - ranges[0]) * (ranges[3] - ranges[2])
    sides = np.empty((2, (box[1] - box[0]) * (box[3] - box[2]), longest))
    return np.empty(max(width, longest), np.int64), sides, np.empty((rows, longest))


@compile_loop
def _find_box(reads: Any, ranges: Any) -> Array:
    """The source voxels that some outputs read: start and stop along a and b."""
    reads_a, reads_b, _ = reads
    box = np.empty(4, np.int64)
    box[0], box[1] = reads_a.low[ranges[0]], reads_a.high[ranges[1] - 1] + 1
    box[2], box[3] = reads_b.low[ranges[2]], reads_b.high[ranges[3] - 1] + 1
    return box


@compile_loop
def label_strip(
    source: Source, kind: FloatKind, reads: Any, ranges: Any, edges: Array, values: Array, target: Array
) -> None:
    """Write the value of the channel with the largest logit, the lowest of equal ones, tile by tile.

    Args:
        source, kind: the logits.
        reads: of the three axes.
        ranges: the outputs along a and b: start, stop, start, stop.
        edges: first outputs of the tiles along c, and the end.
        values: what each channel writes.
        target: (a, b, c), all outputs.
    """
    box = _find_box(reads, ranges)
    low, high = find_ranges(source, kind, box, reads[2], edges)
    room = _make_room(box, reads, ranges, edges)
    best, found = np.empty_like(room[2]), np.empty(source.channels, np.int64)
    width = ranges[3] - ranges[2]
    for tile in range(edges.size - 1):
        outputs = (edges[tile], edges[tile + 1])
        count = list_candidates(low[tile], high[tile], found)
        target[ranges[0] : ranges[1], ranges[2] : ranges[3], outputs[0] : outputs[1]] = values[found[0]]
        if count == 1:
            continue
        best[:] = -np.inf
        for channel in found[:count]:
            _fill_values(source, kind, channel, box, reads, ranges, outputs, room)
            for row in range(best.shape[0]):
                picked = target[ranges[0] + row // width, ranges[2] + row % width, outputs[0] : outputs[1]]
                largest, fresh, value = best[row], room[2][row], values[channel]
                for k in range(picked.size):
                    better = fresh[k] > largest[k]
                    largest[k] = fresh[k] if better else largest[k]
                    picked[k] = value if better else picked[k]


@compile_loop
def paint_strip(
    source: Source,
    kind: FloatKind,
    reads: Any,
    ranges: Any,
    edges: Array,
    values: Array,
    threshold: float,
    target: Array,
) -> None:
    """Write each channel's value where its logit is above ``threshold``, later channels over earlier ones.

    Args:
        source, kind, reads, ranges, edges, values, target: as for ``label_strip``; 0 is written where no channel is.
        threshold: a number of the logits' own type.
    """
    box = _find_box(reads, ranges)
    low, high = find_ranges(source, kind, box, reads[2], edges)
    room = _make_room(box, reads, ranges, edges)
    width = ranges[3] - ranges[2]
    for tile in range(edges.size - 1):
        outputs = (edges[tile], edges[tile + 1])
        part = target[ranges[0] : ranges[1], ranges[2] : ranges[3], outputs[0] : outputs[1]]
        part[...] = 0
        for channel in range(source.channels):
            if low[tile, channel] > threshold:
                part[...] = values[channel]
            elif high[tile, channel] > threshold:
                _fill_values(source, kind, channel, box, reads, ranges, outputs, room)
                for row in range(room[2].shape[0]):
                    painted = target[ranges[0] + row // width, ranges[2] + row % width, outputs[0] : outputs[1]]
                    fresh, value = room[2][row], values[channel]
                    for k in range(painted.size):
                        painted[k] = value if fresh[k] > threshold else painted[k]


@compile_loop
def resample_strip(source: Source, kind: FloatKind, reads: Any, ranges: Any, edges: Array, target: Array) -> None:
    """Write interpolated logits, rounded to their own type, as float32.

    Args:
        source, kind, reads, ranges, edges: as for ``label_strip``.
        target: (channel, a, b, c), all outputs.
    """
    box = _find_box(reads, ranges)
    room = _make_room(box, reads, ranges, edges)
    width = ranges[3] - ranges[2]
    for channel in range(source.channels):
        for tile in range(edges.size - 1):
            outputs = (edges[tile], edges[tile + 1])
            _fill_values(source, kind, channel, box, reads, ranges, outputs, room)
            for row in range(room[2].shape[0]):
                written = target[channel, ranges[0] + row // width, ranges[2] + row % width, outputs[0] : outputs[1]]
                written[:] = room[2][row, : written.size]
