"""Which voxels of the prepared grid each voxel of the scan lies between, and how near it is to each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.grids import split_nearest
from medseg.grids.spline import sample_coordinates
from medseg.preprocessing.prepare import PreparedGrid


class AxisReads(NamedTuple):
    """The two samples that each output of linear interpolation along an axis is made from.

    Args:
        low, high: the samples, rising, int64; the same one where an output lies upon a sample or beyond the edge.
        weight_low, weight_high: their weights, float64, 1 together.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    weight_low: NDArray[Any]
    weight_high: NDArray[Any]

    def cut(self, outputs: slice, first: int = 0) -> AxisReads:
        """What some outputs read from samples that begin at ``first``."""
        return AxisReads(
            self.low[outputs] - first, self.high[outputs] - first, self.weight_low[outputs], self.weight_high[outputs]
        )


@dataclass(frozen=True, eq=False)
class GridReads:
    """How a scan is read from its prepared grid.

    Args:
        axes: what is read along each of the network's axes; along the coarse axis one output per slice that is used.
        repeat: for each voxel of the kept box along the coarse axis, which of those outputs it takes; None without one.
        coarse_axis: the network axis without interpolation; None where there is none.
    """

    axes: tuple[AxisReads, AxisReads, AxisReads]
    repeat: NDArray[np.int64] | None
    coarse_axis: int | None

    def expand(self, axis: int, outputs: slice) -> tuple[slice, NDArray[np.int64] | None]:
        """Where some outputs along an axis stand in the kept box, and which of them each voxel there takes."""
        if axis != self.coarse_axis or self.repeat is None:
            return outputs, None
        start, stop = np.searchsorted(self.repeat, [outputs.start, outputs.stop]).tolist()
        return slice(start, stop), self.repeat[start:stop] - outputs.start

    def reduce(self, axis: int, voxels: slice) -> tuple[slice, NDArray[np.int64] | None]:
        """Which outputs some voxels of the kept box along an axis take, and which of those each takes."""
        if axis != self.coarse_axis or self.repeat is None:
            return voxels, None
        taken = self.repeat[voxels]
        return slice(int(taken[0]), int(taken[-1]) + 1), taken - taken[0]


def list_reads(grid: PreparedGrid) -> GridReads:
    """How a scan's kept box is read from its prepared grid.

    Args:
        grid: the prepared case's.
    Returns:
        linear interpolation along each axis; along an axis that is more than 3 times coarser the nearest slice.
    Source: nnU-Net v2, ``resample_data_or_seg`` with order 1 and order_z 0.
    """
    coarse, repeat = grid.coarse_axis_back, None
    axes = []
    for axis, (n_in, n_out) in enumerate(zip(grid.resampled_shape, grid.cropped_shape, strict=True)):
        if axis == coarse:
            used, repeat = split_nearest(n_in, n_out)
            axes.append(AxisReads(used, used, np.ones(len(used)), np.zeros(len(used))))
        else:
            axes.append(make_reads(n_in, n_out))
    return GridReads((axes[0], axes[1], axes[2]), repeat, coarse)


@lru_cache(maxsize=64)
def make_reads(n_in: int, n_out: int) -> AxisReads:
    """What linear interpolation from ``n_in`` samples to ``n_out`` over the same extent reads.

    Args:
        n_in: samples; beyond the first and last one their values go on unchanged.
        n_out: outputs, half-pixel-centre coordinates.
    Returns:
        samples and weights, the very numbers of ``scipy.ndimage.zoom(order=1, mode="nearest", grid_mode=True)``.
    """
    position = sample_coordinates(n_in, n_out)
    below = np.floor(position)
    weight_low = 1.0 - (position - below)
    weight_high = 1.0 - weight_low  # not the fraction itself: the last bit may differ
    start = below.astype(np.int64)
    # Beyond an edge both weights fall on the edge sample, which is not quite the same as that sample alone.
    low, high = start.clip(0, n_in - 1), (start + (weight_high > 0)).clip(0, n_in - 1)
    return AxisReads(low, high, weight_low, weight_high)


def cut_tiles(reads: AxisReads, length: int) -> NDArray[np.int64]:
    """Where tiles of at most ``length`` outputs, and about as many samples, begin along an axis, and the end."""
    outputs, samples = len(reads.low), int(reads.high[-1] - reads.low[0]) + 1
    step = max(1, int(length * min(1.0, outputs / samples)))
    return np.append(np.arange(0, outputs, step), outputs)
