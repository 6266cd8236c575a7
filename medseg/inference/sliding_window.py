"""Where windows stand on a scan, how much each of their voxels counts, and the network's answer for some of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

# nnU-Net's weighting: a Gaussian of an eighth of the patch, so that a window's middle counts more than its rim.
GAUSSIAN_SIGMA = 1 / 8
GAUSSIAN_PEAK = 10.0
GAUSSIAN_REACH = 4.0  # sigmas, beyond which scipy takes it for 0

Forward = Callable[[Tensor], Tensor]


def place_rows(length: int, size: int, overlap: float = 0.5) -> list[int]:
    """Where windows begin along one axis so that they cover it evenly.

    Args:
        length: the scan's voxels, at least ``size``.
        size: the window's.
        overlap: the share of a window that neighbours share at least, 0 <= overlap < 1.
    Returns:
        the first voxel of each window, rising from 0.
    Source: nnU-Net v2, ``compute_steps_for_sliding_window``; rounding to even included.
    """
    # Windows less than a voxel apart would be the same window twice: slices of a 2D network come once.
    steps = int(np.ceil((length - size) / max(1.0, size * (1 - overlap)))) + 1
    return [round(n) for n in np.linspace(0, length - size, steps).tolist()] if steps > 1 else [0]


def place_windows(shape: Sequence[int], patch_size: Sequence[int], overlap: float = 0.5) -> list[tuple[int, ...]]:
    """Where windows begin so that they cover a scan evenly.

    Args:
        shape: the scan, at least as large as the patch along every axis.
        patch_size: the window.
        overlap: the share of a window that neighbours share at least, 0 <= overlap < 1.
    Returns:
        the first voxel of each window, in order of the axes.
    """
    return list(product(*(place_rows(length, size, overlap) for length, size in zip(shape, patch_size, strict=True))))


@lru_cache(maxsize=8)
def weigh_window(patch_size: tuple[int, ...]) -> Tensor:
    """The weight of each voxel of a window, largest in the middle, never 0.

    Args:
        patch_size: the window, (a, b, c).
    Returns:
        (a, b, c), half precision, at most 10.
    Source: nnU-Net v2, ``compute_gaussian``: a point at size // 2, smoothed; here as a product of its three profiles.
    """
    weights = np.ones((1,) * len(patch_size))
    for axis, size in enumerate(patch_size):
        if size > 1:  # a single slice has no rim
            profile = _smooth_point(size, size * GAUSSIAN_SIGMA)
            weights = weights * np.expand_dims(profile, [other for other in range(len(patch_size)) if other != axis])
    weights /= weights.max() / GAUSSIAN_PEAK
    with torch.inference_mode(False):  # they are kept, and whoever asks first may be in inference mode
        halves = torch.from_numpy(np.broadcast_to(weights, patch_size).copy()).half()
        halves[halves == 0] = halves[halves > 0].min()
    return halves


def _smooth_point(size: int, sigma: float) -> NDArray[np.float64]:
    """What scipy's ``gaussian_filter1d`` makes of a point at size // 2, whose import would take as long as a window."""
    radius = int(GAUSSIAN_REACH * sigma + 0.5)
    kernel = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    around = np.zeros(size + 2 * radius)
    around[size // 2 : size // 2 + 2 * radius + 1] = kernel / kernel.sum()
    return around[radius : radius + size]


def list_flips(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every combination of axes to flip, the unflipped one first."""
    return [flip for count in range(len(axes) + 1) for flip in combinations(axes, count)]


def pad_to_patch(image: Tensor, patch_size: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """An image that is at least as large as the window, zeros around it where it was not.

    Args:
        image: (channel, a, b, c).
        patch_size: the window.
    Returns:
        the padded image and where the image lies in it.
    """
    padding, inner = [], []
    for length, size in zip(image.shape[1:], patch_size, strict=True):
        missing = max(0, size - length)
        padding.append((missing // 2, missing - missing // 2))
        inner.append(slice(missing // 2, missing // 2 + length))
    flat = [amount for pair in reversed(padding) for amount in pair]
    return functional.pad(image, flat) if any(flat) else image, tuple(inner)


def average_flips(forward: Forward, windows: Tensor, mirror_axes: Sequence[int], together: int) -> Tensor:
    """The network's mean answer to windows and their mirrored copies.

    Args:
        forward: the network, (window, channel, a, b, c) to logits (window, output, a, b, c).
        windows: (window, channel, a, b, c).
        mirror_axes: the axes (0 = a) to flip; all combinations are averaged.
        together: how many windows go through the network at once.
    Returns:
        logits (window, output, a, b, c), float32; summed in nnU-Net's order.
    """
    flips = list_flips(mirror_axes)
    group_size = max(1, min(len(flips), together // len(windows)))
    total: Tensor | None = None
    for first in range(0, len(flips), group_size):
        group = flips[first : first + group_size]
        copies = [windows.flip([axis + 2 for axis in flip]) if flip else windows for flip in group]
        answers = forward(torch.cat(copies) if len(copies) > 1 else copies[0]).float()
        for flip, logits in zip(group, answers.chunk(len(group)), strict=True):
            back = logits.flip([axis + 2 for axis in flip]) if flip else logits
            total = back if total is None else total + back
    assert total is not None  # the unflipped window is always there
    return total / len(flips) if len(flips) > 1 else total
