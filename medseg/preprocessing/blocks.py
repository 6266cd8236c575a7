"""Logits that come block by block, and what of the scan each block completes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medseg.core.errors import GeometryError
from medseg.preprocessing.reads import AxisReads

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class LogitBlock:
    """The logits of a part of the prepared grid: some rows along the first two axes, the third axis whole.

    Blocks come in the order of the first axis, then the second, without a gap or an overlap, and those of one interval
    of the first axis have the same one.

    Args:
        start: first voxel along the first and second axis.
        stop: one past the last.
        logits: (channel, a, b, c), any float type, any device.
    """

    start: tuple[int, int]
    stop: tuple[int, int]
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Region:
    """Outputs along the first two axes, and the logits that they read.

    Args:
        logits: (channel, a, b, c).
        first: where on the prepared grid its first two axes begin.
        rows, columns: the outputs along the first and second axis.
    """

    logits: Tensor
    first: tuple[int, int]
    rows: slice
    columns: slice

    def list_reads(self, axes: Sequence[AxisReads]) -> tuple[AxisReads, AxisReads, AxisReads]:
        """What the outputs read, counted from where the logits begin."""
        return axes[0].cut(self.rows, self.first[0]), axes[1].cut(self.columns, self.first[1]), axes[2]

    def cut_rows(self, reads: AxisReads, count: int) -> Iterator[Region]:
        """The same region in parts of at most ``count`` output rows; ``reads`` is the first axis's."""
        for start in range(self.rows.start, self.rows.stop, count):
            stop = min(start + count, self.rows.stop)
            first, last = int(reads.low[start]), int(reads.high[stop - 1]) + 1
            logits = self.logits[:, first - self.first[0] : last - self.first[0]]
            yield replace(self, logits=logits, first=(first, self.first[1]), rows=slice(start, stop))


def check_blocks(blocks: Iterable[LogitBlock], shape: Sequence[int]) -> Iterator[LogitBlock]:
    """Hand blocks on while they tile the prepared grid.

    Args:
        blocks: in their order.
        shape: channels and voxels that they should tile, (channel, a, b, c).
    Returns:
        the same blocks; none is kept.
    Raises:
        GeometryError: a block of another size, out of order, or missing.
    """
    place, row_stop = (0, 0), 0
    for block in blocks:
        (a, b), (c, d) = block.start, block.stop
        expected = (shape[0], c - a, d - b, shape[3])
        if tuple(block.logits.shape) != expected or c > shape[1] or d > shape[2]:
            reason = f"logits of shape {tuple(block.logits.shape)} at {block.start}, expected {expected} within {shape}"
            raise GeometryError(reason, code="bad_logits")
        if block.start != place or c <= a or d <= b or (b > 0 and c != row_stop):
            reason = f"logits from {block.start} to {block.stop}, expected from {place} on"
            raise GeometryError(reason, code="bad_logits")
        row_stop = c
        place = (c, 0) if d == shape[2] else (a, d)
        yield block
        del block  # the next one is computed before this name would be given to it
    if place != (shape[1], 0):
        raise GeometryError(f"logits end at {place}, expected {(shape[1], 0)}", code="bad_logits")


def cut_regions(blocks: Iterable[LogitBlock], shape: Sequence[int], reads: Sequence[AxisReads]) -> Iterator[Region]:
    """What each block completes: its inside, and the seams between it and earlier blocks.

    Args:
        blocks: in their order.
        shape: channels and voxels of the prepared grid, (channel, a, b, c).
        reads: of the first two axes.
    Returns:
        regions that make up all outputs, each once. Of earlier blocks only the last plane and the last row are kept.
    Raises:
        GeometryError: blocks that do not tile the prepared grid.
    """
    import torch

    above: Tensor | None = None  # the last plane along the first axis, of the whole second one
    left: Tensor | None = None  # the last row along the second axis, of this interval of the first one
    planes: list[Tensor] = []
    for block in check_blocks(blocks, shape):
        (a, b), (c, d) = block.start, block.stop
        for rows, seam_a in _split_outputs(reads[0], a, c):
            for columns, seam_b in _split_outputs(reads[1], b, d):
                logits = _join(block.logits, above, left, (b, d), seam_a, seam_b)
                yield Region(logits, (a - seam_a, b - seam_b), rows, columns)
                del logits
        planes.append(block.logits[:, -1:].clone())
        left = block.logits[:, :, -1:].clone()
        if d == shape[2]:
            above, left, planes = torch.cat(planes, dim=2), None, []
        del block


def _split_outputs(reads: AxisReads, start: int, stop: int) -> Iterator[tuple[slice, bool]]:
    """Outputs between the last sample before ``start`` and ``start``, and those among ``start`` to ``stop``."""
    lead, first = np.searchsorted(reads.high, start), np.searchsorted(reads.low, start)
    last = np.searchsorted(reads.high, stop)
    if lead < first:
        yield slice(int(lead), int(first)), True
    if first < last:
        yield slice(int(first), int(last)), False


def _join(
    logits: Tensor, above: Tensor | None, left: Tensor | None, columns: tuple[int, int], seam_a: bool, seam_b: bool
) -> Tensor:
    """A block's logits, or across a seam its first plane or row with the last one before it."""
    import torch

    if seam_a:
        logits = logits[:, :1]
    if seam_b and left is not None:
        logits = torch.cat([left[:, :1] if seam_a else left, logits[:, :, :1]], dim=2)
    if seam_a and above is not None:
        start, stop = (columns[0] - 1, columns[0] + 1) if seam_b else columns
        logits = torch.cat([above[:, :, start:stop], logits], dim=1)
    return logits
