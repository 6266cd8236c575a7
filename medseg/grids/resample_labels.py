"""Resampling of label maps, where a value between two labels would mean a third."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.grids.resample import apply_blocks, split_nearest
from medseg.grids.spline import make_blocks, nearest_samples, sample_coordinates

# Shares nearer than this are a tie: above float32's rounding of a trilinear sum, below any difference that matters.
TIE = 1e-6


def resample_labels(
    array: NDArray[Any], shape: Sequence[int], values: Sequence[int], *, coarse_axis: int | None = None
) -> NDArray[Any]:
    """A label map on another number of voxels: each label is interpolated linearly, the largest share wins.

    Args:
        array: label values, (a, b, c).
        shape: voxels wanted.
        values: every value the map may hold.
        coarse_axis: along it the nearest slice is taken.
    Returns:
        label values of the same type, ``shape``; of labels with the same share, that of the nearest voxel where it is
        among them, else the lowest; the very same array where its shape is right already.
    Source: nnU-Net v2 with batchgenerators 0.25.5, ``resize_segmentation(order=1, seg_tiebreak="nearest")``.
    """
    wanted = tuple(int(n) for n in shape)
    if array.shape == wanted:
        return array
    inner, repeat = list(wanted), None
    if coarse_axis is not None:
        used, repeat = split_nearest(array.shape[coarse_axis], wanted[coarse_axis])
        array = array.take(used, axis=coarse_axis)
        inner[coarse_axis] = len(used)
    result = _vote(array, tuple(inner), sorted(set(values)))
    return result if repeat is None or coarse_axis is None else result.take(repeat, axis=coarse_axis)


def _vote(array: NDArray[Any], shape: tuple[int, ...], values: Sequence[int]) -> NDArray[Any]:
    """Each voxel's label of the largest linear share; every label is resampled only around its own box."""
    from scipy import ndimage

    nearest = array[np.ix_(*[nearest_samples(n, m) for n, m in zip(array.shape, shape, strict=True)])]
    # find_objects skips 0, so labels are shifted by one; a lone label needs no vote.
    boxes = ndimage.find_objects(array.astype(np.int32) + 1)  # type: ignore[attr-defined]
    present = [value for value in values if value < len(boxes) and boxes[value] is not None]
    if len(present) == 1:
        return nearest
    winner = np.zeros(shape, array.dtype)
    best = np.zeros(shape, np.float32)
    for value in present:
        region, share = _resample_share(array, value, boxes[value], shape)
        top, near, label = best[region], nearest[region], winner[region]
        better = (share > top + TIE) | ((share > top - TIE) & (near == value))
        label[better] = value
        np.maximum(top, share, out=top)
    return winner


def _resample_share(
    array: NDArray[Any], value: int, box: tuple[slice, ...], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], NDArray[Any]]:
    """A label's linear share in the output voxels that its box reaches, and which voxels those are."""
    import torch

    source, target = [], []
    for axis, (side, n_out) in enumerate(zip(box, shape, strict=True)):
        n_in = array.shape[axis]
        below = np.floor(sample_coordinates(n_in, n_out))
        reached = np.flatnonzero((below + 1 >= side.start) & (below <= side.stop - 1))
        target.append(slice(int(reached[0]), int(reached[-1]) + 1) if len(reached) else slice(0, 0))
        source.append(slice(max(0, side.start - 1), min(n_in, side.stop + 1)))
    if any(side.stop == side.start for side in target):
        return tuple(target), np.zeros([side.stop - side.start for side in target], np.float32)
    share = torch.from_numpy((array[tuple(source)] == value).astype(np.float32))
    for axis, (side, rows) in enumerate(zip(source, target, strict=True)):
        n_in, n_out = array.shape[axis], shape[axis]
        if n_in == n_out:
            share = share.narrow(axis, rows.start - side.start, rows.stop - rows.start)
        else:
            share = apply_blocks(share, axis, make_blocks(n_in, n_out, 1, False, rows.start, rows.stop), side.start)
    return tuple(target), share.numpy()
