"""The mean of several models' probabilities, which arrive in pieces; no scan is held in all classes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError, ResourceError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.inference.label_matching import Channels, match_channels
from medseg.preprocessing.prepare import PreparedGrid, view_flipped

Piece = tuple[slice, NDArray[np.float32]]

# Mean probabilities that are read at once from the file they were summed up in: 64 MB of float32.
PIECE_VALUES = 2**24


def average_probabilities(
    streams: Sequence[Iterator[Piece]],
    grids: Sequence[PreparedGrid],
    schemes: Sequence[LabelScheme],
    *,
    with_probabilities: bool = False,
    folder: Path | None = None,
) -> tuple[Segmentation, NDArray[np.float32] | None]:
    """The mask that the mean of several models' probabilities stands for.

    Args:
        streams: for each model the probabilities of the scan, seen in its network's axis order and directions: rows
            along the first axis, rising, and values (channel, row, b, c), as ``stream_probabilities`` gives them.
        grids: of the scan as prepared for each model.
        schemes: each model's labels, the same by name; values and painting are the first one's.
        with_probabilities: also return the mean.
        folder: for a temporary file where the models' networks go through the scan along different axes; the system's
            where None. It is gone afterwards, however this ends.
    Returns:
        the mask on the scan's grid: of a softmax the likeliest label, of equals the lowest value; of a sigmoid what is
        above one half, painted in order. And the mean, (channel, i, j, k) in the first model's order, float32, or None.
    Raises:
        ModelError: the models have different labels.
        GeometryError: a model's probabilities do not cover the scan.
        ResourceError: there is no room for the temporary file.
    """
    labels, shape = schemes[0], grids[0].shape
    channels = [match_channels(labels, scheme) for scheme in schemes]
    mask = np.zeros(shape, labels.value_type())
    mean = np.empty((labels.channel_count, *shape), np.float32) if with_probabilities else None
    with contextlib.ExitStack() as stack:
        for stream in streams:
            stack.callback(getattr(stream, "close", lambda: None))
        if len({(grid.axis_order[0], grid.flipped[0]) for grid in grids}) == 1:
            pieces = _walk_together(streams, grids, channels)
        else:
            pieces = _sum_up(streams, grids, channels, stack.enter_context(_open_sums(labels, grids, folder)))
        for box, piece in pieces:
            mask[box] = pick_labels(piece, labels)
            if mean is not None:
                mean[:, *box] = piece
    return Segmentation(mask, grids[0].to_geometry()), mean


def pick_labels(probabilities: NDArray[np.float32], labels: LabelScheme) -> NDArray[Any]:
    """The label values that probabilities stand for.

    Args:
        probabilities: (channel, ...).
        labels: their scheme.
    Returns:
        values (...), uint8 or uint16.
    """
    values = labels.channel_values()
    picked = np.full(probabilities.shape[1:], values[0] if labels.output == "softmax" else 0, labels.value_type())
    if labels.output == "sigmoid":
        for chance, value in zip(probabilities, values, strict=True):
            picked[chance > 0.5] = value
        return picked
    best = probabilities[0].copy()
    for value, channel in sorted((value, channel) for channel, value in enumerate(values))[1:]:
        picked[probabilities[channel] > best] = value
        np.maximum(best, probabilities[channel], out=best)
    return picked


Box = tuple[slice, slice, slice]


def _turn_piece(piece: Piece, grid: PreparedGrid) -> tuple[Box, NDArray[np.float32]]:
    """Where a piece lies in the scan, and its values in file order."""
    rows, values = piece
    axis, length = grid.axis_order[0], grid.shape[grid.axis_order[0]]
    if values.shape[1] != rows.stop - rows.start or not 0 <= rows.start < rows.stop <= length:
        raise GeometryError(f"probabilities of rows {rows.start} to {rows.stop} of {length}", code="bad_probabilities")
    if grid.flipped[0]:
        rows = slice(length - rows.stop, length - rows.start)
    back = np.argsort(grid.axis_order)
    return _make_box(grid.shape, axis, rows), values[:, *view_flipped(grid.flipped)].transpose(0, *(1 + back))


def _make_box(shape: Sequence[int], axis: int, rows: slice) -> Box:
    i, j, k = (rows if own == axis else slice(0, count) for own, count in enumerate(shape))
    return i, j, k


def _walk_together(
    streams: Sequence[Iterator[Piece]], grids: Sequence[PreparedGrid], channels: Sequence[Channels]
) -> Iterator[tuple[Box, NDArray[np.float32]]]:
    """Means along the axis that all networks share; of each stream one piece is held."""
    length = grids[0].shape[grids[0].axis_order[0]]
    held = [_next_piece(stream, 0) for stream in streams]
    position = 0
    while position < length:
        stop = min(rows.stop for rows, _ in held)
        total: NDArray[np.float32] | None = None
        for (rows, values), grid, chosen in zip(held, grids, channels, strict=True):
            part = (slice(position, stop), values[:, position - rows.start : stop - rows.start])
            box, turned = _turn_piece(part, grid)
            total = chosen.take(turned) if total is None else np.add(total, chosen.take(turned), out=total)
        assert total is not None  # there is at least one model
        total /= np.float32(len(held))
        yield box, total
        position = stop
        if position < length:
            held = [
                piece if piece[0].stop > position else _next_piece(stream, position)
                for piece, stream in zip(held, streams, strict=True)
            ]


def _next_piece(stream: Iterator[Piece], position: int) -> Piece:
    rows, values = next(stream, (slice(-1, -1), np.empty((0, 0, 0, 0), np.float32)))
    if rows.start != position or rows.stop <= position:
        raise GeometryError(f"probabilities go on at row {rows.start}, expected {position}", code="bad_probabilities")
    return rows, values


def _sum_up(
    streams: Sequence[Iterator[Piece]],
    grids: Sequence[PreparedGrid],
    channels: Sequence[Channels],
    sums: NDArray[np.float32],
) -> Iterator[tuple[Box, NDArray[np.float32]]]:
    """Means from sums, (channel, i, j, k), that the streams are added to one after another."""
    for number, (stream, grid, chosen) in enumerate(zip(streams, grids, channels, strict=True)):
        position = 0
        for rows, values in stream:
            if rows.start != position:
                break
            box, turned = _turn_piece((rows, values), grid)
            if number == 0:
                sums[:, *box] = chosen.take(turned)
            else:
                sums[:, *box] += chosen.take(turned)
            position = rows.stop
        if position != grid.shape[grid.axis_order[0]]:
            raise GeometryError(f"probabilities end at row {position}", code="bad_probabilities")
    axis, shape = grids[0].axis_order[0], grids[0].shape
    step = max(1, PIECE_VALUES * shape[axis] // sums.size)
    for start in range(0, shape[axis], step):
        box = _make_box(shape, axis, slice(start, min(start + step, shape[axis])))
        yield box, sums[:, *box] / np.float32(len(streams))


@contextlib.contextmanager
def _open_sums(
    labels: LabelScheme, grids: Sequence[PreparedGrid], folder: Path | None
) -> Iterator[NDArray[np.float32]]:
    """Room for sums (channel, i, j, k) in a file without a name, which the system removes whatever happens."""
    shape = grids[0].shape
    # The axes that pieces come along stand first, so that a piece lies in few stretches of the file.
    axes = list(dict.fromkeys([*(grid.axis_order[0] for grid in grids), 0, 1, 2]))
    lengths = [shape[axes[0]], shape[axes[1]], labels.channel_count, shape[axes[2]]]
    size = 4 * int(np.prod(lengths, dtype=np.int64))
    with tempfile.TemporaryFile(prefix=".tmp-", dir=folder) as stream:
        try:
            # Memory mapped onto a full disk would end the program without a word.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.truncate(size)
        except OSError as error:
            raise ResourceError(
                f"{size / 1e9:.1f} GB are needed to average models that see a scan along different axes: "
                f"{error.strerror}", code="disk", file=folder or tempfile.gettempdir(),
                remedy="Make room there, or name another folder in the variable TMPDIR",
            ) from None  # fmt: skip
        stored = np.memmap(stream, np.float32, "r+", shape=tuple(lengths))
        places = {axes[0]: 0, axes[1]: 1, axes[2]: 3}
        yield stored.transpose(2, places[0], places[1], places[2])
