"""Resampling to another number of voxels over the same extent, as a matrix product along each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.grids.spline import Block, Order, make_blocks, nearest_samples

if TYPE_CHECKING:
    import torch

# Above this ratio of the coarsest to the finest spacing, values between slices are not to be trusted (nnU-Net's
# ANISO_THRESHOLD; Isensee et al. 2021, Nature Methods, supplement).
ANISOTROPY_LIMIT = 3.0
# Spacings that differ by less are the same, rounded in another way on their way through a header.
SAME_SPACING = 1e-5


def find_coarse_axis(spacing_mm: Sequence[float]) -> int | None:
    """The axis that is so much coarser than the others that nothing is interpolated along it.

    Args:
        spacing_mm: along each axis.
    Returns:
        the axis; None where the coarsest spacing is at most 3 times the finest or two axes share it.
    Source: nnU-Net v2, ``determine_do_sep_z_and_axis``.
    """
    coarsest = max(spacing_mm)
    axes = [axis for axis, spacing in enumerate(spacing_mm) if math.isclose(spacing, coarsest, rel_tol=SAME_SPACING)]
    return axes[0] if len(axes) == 1 and _is_anisotropic(spacing_mm) else None


def choose_coarse_axis(from_mm: Sequence[float], to_mm: Sequence[float]) -> int | None:
    """The coarse axis for resampling between two spacings: the first's where that is anisotropic, else the second's.

    Args:
        from_mm: spacing of the array along each axis.
        to_mm: spacing that it gets.
    Returns:
        the axis to resample without interpolation; None where all are interpolated.
    Source: nnU-Net v2, ``determine_do_sep_z_and_axis``.
    """
    return find_coarse_axis(from_mm if _is_anisotropic(from_mm) else to_mm)


def _is_anisotropic(spacing_mm: Sequence[float]) -> bool:
    return max(spacing_mm) / min(spacing_mm) > ANISOTROPY_LIMIT


def resample_array(
    array: NDArray[Any],
    shape: Sequence[int],
    *,
    order: Order = 3,
    coarse_axis: int | None = None,
    exact: bool = False,
) -> NDArray[Any]:
    """Intensities on another number of voxels over the same extent.

    Args:
        array: (channel, a, b, c), any real type.
        shape: voxels wanted along a, b, c.
        order: 3 cubic B-spline, clipped to the range of the input; 1 linear.
        coarse_axis: 0 to 2: along it the nearest slice is taken and each slice is resampled by itself.
        exact: compute in float64 and return it.
    Returns:
        (channel, *shape), float32 or float64; the very same array where its shape is right already.
    Source: equals ``skimage.transform.resize(mode="edge", anti_aliasing=False, preserve_range=True)`` per channel, and
    nnU-Net v2's ``resample_data_or_seg`` with a coarse axis.
    """
    wanted = tuple(int(n) for n in shape)
    if array.shape[1:] == wanted:
        return array
    import torch

    dtype = np.float64 if exact else np.float32
    result = np.empty((array.shape[0], *wanted), dtype)
    for channel, source in enumerate(array):
        values = torch.from_numpy(np.require(source, dtype, ("C", "W")))
        result[channel] = _resample_channel(values, wanted, order, coarse_axis, exact).numpy()
    return result


def _resample_channel(
    values: torch.Tensor, shape: tuple[int, ...], order: Order, coarse_axis: int | None, exact: bool
) -> torch.Tensor:
    import torch

    repeat = None
    inner = list(shape)
    if coarse_axis is not None:
        used, repeat = split_nearest(values.shape[coarse_axis], shape[coarse_axis])
        values = values.index_select(coarse_axis, torch.from_numpy(used))
        inner[coarse_axis] = len(used)
    dims = [axis for axis in range(3) if axis != coarse_axis]
    low, high = values.amin(dims, keepdim=True), values.amax(dims, keepdim=True)
    values = _resample_axes(values, tuple(inner), order, exact)
    if order > 1:
        values = torch.maximum(torch.minimum(values, high), low)
    if repeat is not None and coarse_axis is not None:
        values = values.index_select(coarse_axis, torch.from_numpy(repeat))
    return values


def split_nearest(n_in: int, n_out: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Nearest-neighbour resampling in two steps: the input samples used, and which of those each output takes.

    Args:
        n_in: samples along the axis.
        n_out: samples wanted over the same extent.
    Returns:
        indices of the input samples that are used, rising, (u,), and for each output its place in that list, (n_out,).
    """
    used, repeat = np.unique(nearest_samples(n_in, n_out), return_inverse=True)
    return used, repeat.reshape(-1)


def _resample_axes(values: torch.Tensor, shape: tuple[int, ...], order: Order, exact: bool = False) -> torch.Tensor:
    """Resample the last three axes, those that shrink first, so that the others have less to do."""
    lead = values.ndim - 3
    for axis in sorted(range(3), key=lambda axis: shape[axis] / values.shape[lead + axis]):
        n_in, n_out = values.shape[lead + axis], shape[axis]
        if n_in != n_out:
            values = apply_blocks(values, lead + axis, make_blocks(n_in, n_out, order, exact, 0, n_out))
    return values


def apply_blocks(values: torch.Tensor, axis: int, blocks: Sequence[Block], offset: int = 0) -> torch.Tensor:
    """Multiply a matrix's blocks with one axis of a tensor.

    Args:
        values: any shape, the blocks' number type.
        axis: the axis whose samples are the matrix's columns.
        blocks: from ``make_blocks``; their rows become the axis's samples.
        offset: the column that the axis's first sample stands for.
    Returns:
        a tensor with as many samples along ``axis`` as the blocks have rows.
    """
    import torch

    outer, inner = math.prod(values.shape[:axis]), math.prod(values.shape[axis + 1 :])
    first_row, rows = blocks[0].start, blocks[-1].stop - blocks[0].start
    source = values.reshape(outer, values.shape[axis], inner)
    result = values.new_empty((outer, rows, inner))
    for block in blocks:
        weights = torch.from_numpy(block.weights).to(values.device)
        part = source[:, block.first - offset : block.last - offset]
        target = result[:, block.start - first_row : block.stop - first_row]
        if inner == 1:
            target[:, :, 0] = part[:, :, 0] @ weights.T
        else:
            target[:] = torch.matmul(weights, part)
    return result.reshape(*values.shape[:axis], rows, *values.shape[axis + 1 :])
