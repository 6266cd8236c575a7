"""From the network's logits back to the scan's own grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.grids import resample_slabs, split_nearest
from medseg.preprocessing.prepare import PreparedGrid, view_flipped

if TYPE_CHECKING:
    import torch


def restore_segmentation(logits: torch.Tensor, grid: PreparedGrid, labels: LabelScheme) -> Segmentation:
    """The label map on the scan's own grid that a network's logits stand for.

    Args:
        logits: (channel, a, b, c) on the prepared grid, any float type, any device.
        grid: the prepared case's.
        labels: what each channel stands for.
    Returns:
        label values on the whole scan's grid in file order, 0 outside the box that was kept. The logits are resampled
        linearly a slab at a time, so memory grows by little more than the label map. Softmax: the largest logit wins,
        of equal ones the lowest class; sigmoid: what is above 0 is painted in the scheme's order.
    Raises:
        GeometryError: the logits have another shape than the grid and the labels say.
    """
    _check_shape(logits, grid, labels)
    values = np.array(labels.channel_values(), labels.value_type())
    box: NDArray[Any] = np.empty(_coarse_shape(grid), labels.value_type())
    for start, stop, slab in resample_slabs(logits, grid.cropped_shape, coarse_axis=grid.coarse_axis_back):
        if labels.output == "softmax":
            box[start:stop] = _pick_largest(slab, values)
        else:
            box[start:stop] = _paint((slab > 0).cpu().numpy(), values)
    full = np.zeros(grid.shape, labels.value_type())
    _window(full, grid)[...] = _repeat_slices(box, grid)
    return Segmentation(full, grid.to_geometry())


def restore_probabilities(logits: torch.Tensor, grid: PreparedGrid, labels: LabelScheme) -> NDArray[np.float32]:
    """The probability of every channel on the scan's own grid.

    Args:
        logits: (channel, a, b, c) on the prepared grid, any float type, any device.
        grid: the prepared case's.
        labels: what each channel stands for.
    Returns:
        (channel, i, j, k) from 0 to 1, float32; outside the box that was kept the background's is 1, all others 0.
    Raises:
        GeometryError: the logits have another shape than the grid and the labels say.
    """
    import torch

    _check_shape(logits, grid, labels)
    box = np.empty((logits.shape[0], *_coarse_shape(grid)), np.float32)
    for start, stop, slab in resample_slabs(logits, grid.cropped_shape, coarse_axis=grid.coarse_axis_back):
        chances = torch.softmax(slab, dim=0) if labels.output == "softmax" else torch.sigmoid(slab)
        box[:, start:stop] = chances.cpu().numpy()
    full = np.zeros((logits.shape[0], *grid.shape), np.float32)
    if labels.output == "softmax":
        full[0] = 1.0
    for channel, target in enumerate(full):
        _window(target, grid)[...] = _repeat_slices(box[channel], grid)
    return full


def bound_logits(logits: torch.Tensor, labels: LabelScheme, floor: float | None) -> torch.Tensor:
    """Logits whose interpolation keeps borders where they are.

    Between a sure voxel and an unsure one, the zero of interpolated logits lies close to the unsure one, so that what
    the network is less sure of (small lesions) shrinks with every resampling: by 3 to 5 % of its volume in phantoms.

    Args:
        logits: (channel, a, b, c).
        labels: softmax or sigmoid.
        floor: the lowest log-probability (softmax) or minus the largest size of a logit (sigmoid); None for no change.
    Returns:
        the same shape; the label of each voxel stays the same.
    """
    if floor is None:
        return logits
    if labels.output == "sigmoid":
        return logits.clamp(floor, -floor)
    # With very many classes even the likeliest one may lie below the floor; it must stay the likeliest.
    floor = min(floor, -2 * math.log(logits.shape[0]))
    return (logits - logits.logsumexp(0, keepdim=True)).clamp_min(floor)


def _check_shape(logits: torch.Tensor, grid: PreparedGrid, labels: LabelScheme) -> None:
    expected = (labels.channel_count, *grid.resampled_shape)
    if tuple(logits.shape) != expected:
        raise GeometryError(f"logits of shape {tuple(logits.shape)}, expected {expected}", code="bad_logits")


def _pick_largest(slab: torch.Tensor, values: NDArray[Any]) -> NDArray[Any]:
    """The value of the channel with the largest logit, the first of equal ones."""
    import torch

    # A running comparison is ten times as fast on a CPU as argmax along the first axis.
    kind = torch.uint8 if values.dtype == np.uint8 else torch.int32
    best = slab[0].clone()
    picked = torch.full(best.shape, int(values[0]), dtype=kind, device=slab.device)
    for logits, value in zip(slab[1:], values[1:].tolist(), strict=True):
        picked.masked_fill_(logits > best, value)
        torch.maximum(best, logits, out=best)
    return picked.cpu().numpy()


def _paint(masks: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[Any]:
    painted = np.zeros(masks.shape[1:], values.dtype)
    for mask, value in zip(masks, values, strict=True):
        painted[mask] = value
    return painted


def _coarse_shape(grid: PreparedGrid) -> tuple[int, ...]:
    """The box's shape with each slice along the coarse axis only once."""
    shape = list(grid.cropped_shape)
    axis = grid.coarse_axis_back
    if axis is not None:
        shape[axis] = len(split_nearest(grid.resampled_shape[axis], shape[axis])[0])
    return tuple(shape)


def _repeat_slices(box: NDArray[Any], grid: PreparedGrid) -> NDArray[Any]:
    axis = grid.coarse_axis_back
    if axis is None:
        return box
    repeat = split_nearest(grid.resampled_shape[axis], grid.cropped_shape[axis])[1]
    return box.take(repeat, axis=axis)


def _window(full: NDArray[Any], grid: PreparedGrid) -> NDArray[Any]:
    """The kept box of an array in file order, seen in the network's axis order."""
    box = tuple(slice(a, b) for a, b in zip(grid.crop_start, grid.crop_stop, strict=True))
    return full.transpose(grid.axis_order)[view_flipped(grid.flipped)][box]
