"""Probabilities of a network's channels on the scan's own grid, a few rows at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medseg.core.labels import LabelScheme
from medseg.preprocessing.blocks import LogitBlock, check_blocks
from medseg.preprocessing.prepare import PreparedGrid, view_flipped
from medseg.preprocessing.reads import GridReads, list_reads
from medseg.preprocessing.restore import as_block, as_resampled_type, is_worth_compiling

if TYPE_CHECKING:
    from torch import Tensor

# Probabilities that are handed on at once: 64 MB of float32.
PIECE_VALUES = 2**24

Piece = tuple[slice, NDArray[np.float32]]


def restore_probabilities(
    logits: Tensor | Iterable[LogitBlock], grid: PreparedGrid, labels: LabelScheme, *, floor: float | None = None
) -> NDArray[np.float32]:
    """The probability of every channel on the scan's own grid.

    Args:
        logits: (channel, a, b, c) on the prepared grid, or blocks of them in order; any float type, any device.
        grid: the prepared case's.
        labels: what each channel stands for.
        floor: see ``bound_logits``; None for none.
    Returns:
        (channel, i, j, k) from 0 to 1, float32; outside the box that was kept the background's is 1, all others 0.
    Raises:
        GeometryError: the logits have another shape than the grid and the labels say.
    """
    import torch

    blocks = [as_block(logits)] if isinstance(logits, torch.Tensor) else logits
    full = np.empty((labels.channel_count, *grid.shape), np.float32)
    turned = full.transpose(0, *(1 + axis for axis in grid.axis_order))[:, *view_flipped(grid.flipped)]
    for rows, piece in stream_probabilities(blocks, grid, labels, floor=floor):
        turned[:, rows] = piece
    return full


def stream_probabilities(
    blocks: Iterable[LogitBlock], grid: PreparedGrid, labels: LabelScheme, *, floor: float | None = None
) -> Iterator[Piece]:
    """The probability of every channel on the scan's own grid, piece by piece as logits come.

    Args:
        blocks: they tile the prepared grid in the order of its first axis, then its second; any float type, any device.
        grid: the prepared case's.
        labels: what each channel stands for.
        floor: see ``bound_logits``; None for none.
    Returns:
        pieces that make up the whole scan, seen in the network's axis order and directions: rows along the first axis,
        rising, and probabilities (channel, row, b, c), float32, there. Pieces of one scan, one axis order and one
        number of channels have the same rows whatever the blocks were. Outside the box that was kept the background's
        probability is 1 (softmax), all others 0. Besides a piece the blocks of one interval of the first axis are held.
    Raises:
        GeometryError: the blocks do not tile the prepared grid, or have another number of channels than the labels.
    """
    reads, shape = list_reads(grid), (labels.channel_count, *grid.resampled_shape)
    wanted = _cut_pieces(grid, labels)
    planes, done = _Planes(), 0
    for block in check_blocks(blocks, shape):
        planes.add(block)
        if block.stop[1] == shape[2]:
            while done < len(wanted) and _find_planes(wanted[done], grid, reads)[1] <= block.stop[0]:
                yield wanted[done], _make_piece(wanted[done], planes, grid, labels, reads, floor)
                done += 1
            planes.forget(_find_planes(wanted[done], grid, reads)[0] if done < len(wanted) else block.stop[0])
        del block


class _Planes:
    """Logits of the last planes along the first axis."""

    def __init__(self) -> None:
        self.start = 0
        self.kept: Tensor | None = None  # planes from earlier intervals
        self.blocks: list[LogitBlock] = []  # the interval that is coming in

    def add(self, block: LogitBlock) -> None:
        self.blocks.append(block)

    def take(self, start: int, stop: int) -> Tensor:
        """Planes ``start <= plane < stop``, (channel, a, b, c)."""
        import torch

        first = self.blocks[0].start[0]
        parts = []
        if self.kept is not None and start < first:
            parts.append(self.kept[:, start - self.start : stop - self.start])
        if stop > first:
            rows = slice(max(0, start - first), stop - first)
            parts.append(torch.cat([block.logits[:, rows] for block in self.blocks], dim=2))
        return torch.cat(parts, dim=1)

    def forget(self, before: int) -> None:
        """Drop the planes before a place, and hold the others without their blocks."""
        stop = self.blocks[-1].stop[0]
        self.kept = self.take(before, stop) if before < stop else None
        self.start, self.blocks = before, []


def _cut_pieces(grid: PreparedGrid, labels: LabelScheme) -> list[slice]:
    """The rows of each piece along the network's first axis."""
    total = grid.shape[grid.axis_order[0]]
    step = max(1, PIECE_VALUES // (labels.channel_count * math.prod(grid.shape) // total))
    return [slice(start, min(start + step, total)) for start in range(0, total, step)]


def _find_outputs(rows: slice, grid: PreparedGrid) -> slice:
    """Which voxels of the kept box lie in some rows of the scan; empty where none does."""
    start = max(rows.start, grid.crop_start[0]) - grid.crop_start[0]
    return slice(start, max(start, min(rows.stop, grid.crop_stop[0]) - grid.crop_start[0]))


def _find_planes(rows: slice, grid: PreparedGrid, reads: GridReads) -> tuple[int, int]:
    """The planes of the prepared grid that some rows of the scan are made from: first, one past the last."""
    outputs = _find_outputs(rows, grid)
    if outputs.start == outputs.stop:
        return (0, 0) if rows.stop <= grid.crop_start[0] else (grid.resampled_shape[0],) * 2
    used, _ = reads.reduce(0, outputs)
    axis = reads.axes[0]
    return int(axis.low[used.start]), int(axis.high[used.stop - 1]) + 1


def _make_piece(
    rows: slice, planes: _Planes, grid: PreparedGrid, labels: LabelScheme, reads: GridReads, floor: float | None
) -> NDArray[np.float32]:
    columns = [grid.shape[axis] for axis in grid.axis_order[1:]]
    piece = np.zeros((labels.channel_count, rows.stop - rows.start, *columns), np.float32)
    if labels.output == "softmax":
        piece[0] = 1.0
    outputs = _find_outputs(rows, grid)
    if outputs.start < outputs.stop:
        first, last = _find_planes(rows, grid, reads)
        logits = as_resampled_type(planes.take(first, last), labels, floor)
        start = outputs.start + grid.crop_start[0] - rows.start
        place = [slice(start, start + outputs.stop - outputs.start)]
        place += [slice(*side) for side in list(zip(grid.crop_start, grid.crop_stop, strict=True))[1:]]
        piece[:, *place] = _find_chances(logits, first, outputs, grid, labels, reads)
    return piece


def _find_chances(
    logits: Tensor, first: int, outputs: slice, grid: PreparedGrid, labels: LabelScheme, reads: GridReads
) -> NDArray[np.float32]:
    """Probabilities of some rows of the kept box, (channel, a, b, c)."""
    import torch

    used = reads.reduce(0, outputs)
    axes = (reads.axes[0].cut(used[0], first), reads.axes[1], reads.axes[2])
    if is_worth_compiling(grid, labels) and logits.device.type == "cpu":
        from medseg.preprocessing.restore_compiled import resample_compiled as resample
    else:
        from medseg.preprocessing.restore_plain import resample_plain as resample
    values = resample(logits, axes)
    chances = (_take_softmax(values) if labels.output == "softmax" else torch.sigmoid(values)).cpu().numpy()
    repeats = [used[1], *(reads.expand(axis, slice(0, len(reads.axes[axis].low)))[1] for axis in (1, 2))]
    for axis, repeat in enumerate(repeats):
        chances = chances if repeat is None else chances.take(repeat, axis=1 + axis)
    return chances


def _take_softmax(values: Tensor) -> Tensor:
    """The softmax over channels, (channel, a, b, c), the same to the last bit however many threads compute it."""
    import torch

    if values.device.type != "cpu":
        return torch.softmax(values, dim=0)
    # Along the first axis PyTorch rounds a voxel by where it lies in a thread's share; along the last one it does not.
    return torch.softmax(values.movedim(0, -1).contiguous(), dim=-1).movedim(-1, 0)
