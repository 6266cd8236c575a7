"""Logits of a whole prepared scan from a network that sees patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# nnU-Net's weighting: a Gaussian of an eighth of the patch, so that a window's middle counts more than its rim.
GAUSSIAN_SIGMA = 1 / 8
GAUSSIAN_PEAK = 10.0
# Windows and their mirrored copies that go through the network together; more costs memory and gains nothing on a CPU.
CPU_BATCH_VOXELS = 2**19
GPU_BATCH_VOXELS = 2**23

Forward = Callable[[Tensor], Tensor]


def place_windows(shape: Sequence[int], patch_size: Sequence[int], overlap: float = 0.5) -> list[tuple[int, ...]]:
    """Where windows begin so that they cover a scan evenly.

    Args:
        shape: the scan, at least as large as the patch along every axis.
        patch_size: the window.
        overlap: the share of a window that neighbours share at least, 0 <= overlap < 1.
    Returns:
        the first voxel of each window, in order of the axes.
    """
    starts = []
    for length, size in zip(shape, patch_size, strict=True):
        # Windows less than a voxel apart would be the same window twice: slices of a 2D network come once.
        steps = int(np.ceil((length - size) / max(1.0, size * (1 - overlap)))) + 1
        starts.append([round(n) for n in np.linspace(0, length - size, steps)] if steps > 1 else [0])
    return list(product(*starts))


def weigh_window(patch_size: Sequence[int]) -> Tensor:
    """The weight of each voxel of a window, (a, b, c), float32; largest in the middle, never 0."""
    weights = torch.ones(())
    for size in patch_size:
        sigma = size * GAUSSIAN_SIGMA
        axis = torch.exp(-0.5 * ((torch.arange(size, dtype=torch.float64) - (size - 1) / 2) / sigma) ** 2)
        weights = weights[..., None] * axis.float()
    weights = weights / weights.max() * GAUSSIAN_PEAK
    return weights.clamp_min(float(weights[weights > 0].min()))


def list_flips(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every combination of axes to flip, the unflipped one first."""
    return [flip for count in range(len(axes) + 1) for flip in combinations(axes, count)]


@torch.inference_mode()
def predict_logits(
    forward: Forward,
    image: Tensor,
    patch_size: Sequence[int],
    *,
    overlap: float = 0.5,
    mirror_axes: Sequence[int] = (),
    device: torch.device | None = None,
) -> Tensor:
    """Logits of a whole prepared scan.

    Args:
        forward: the network as a function, (window, channel, a, b, c) to logits (window, output, a, b, c).
        image: (channel, a, b, c), normalised, in the plan's axis order, of any size.
        patch_size: the window; 1 along the first axis for a 2D network.
        overlap: the share of a window that neighbours share.
        mirror_axes: the axes (0 = a) to flip; logits are averaged over all combinations.
        device: where the windows are computed and summed.
    Returns:
        logits (output, a, b, c), float32, on ``device``.
    Source: Isensee et al., "nnU-Net" (2021): windows, Gaussian weights, mirroring.
    """
    device = device or image.device
    padded, inner = _pad_to_patch(image.to(device), patch_size)
    mirror_axes = [axis for axis in mirror_axes if patch_size[axis] > 1]  # flipping one voxel changes nothing
    weights = weigh_window(patch_size).to(device)
    total: Tensor | None = None
    divisor = torch.zeros(padded.shape[1:], device=device)
    for starts, windows in _batch_windows(padded, patch_size, overlap, mirror_axes):
        logits = _average_flips(forward, windows, mirror_axes)
        if total is None:
            total = torch.zeros((logits.shape[1], *padded.shape[1:]), device=device)
        for start, window in zip(starts, logits, strict=True):
            region = tuple(slice(s, s + n) for s, n in zip(start, patch_size, strict=True))
            total[(slice(None), *region)] += window * weights
            divisor[region] += weights
    assert total is not None  # a scan has at least one window
    total /= divisor
    return total[(slice(None), *inner)]


def _pad_to_patch(image: Tensor, patch_size: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    padding, inner = [], []
    for length, size in zip(image.shape[1:], patch_size, strict=True):
        missing = max(0, size - length)
        padding.append((missing // 2, missing - missing // 2))
        inner.append(slice(missing // 2, missing // 2 + length))
    flat = [amount for pair in reversed(padding) for amount in pair]
    return functional.pad(image, flat) if any(flat) else image, tuple(inner)


def _batch_windows(
    image: Tensor, patch_size: Sequence[int], overlap: float, mirror_axes: Sequence[int]
) -> Iterator[tuple[list[tuple[int, ...]], Tensor]]:
    starts = place_windows(image.shape[1:], patch_size, overlap)
    voxels = int(np.prod(patch_size)) * 2 ** len(mirror_axes)
    limit = GPU_BATCH_VOXELS if image.device.type == "cuda" else CPU_BATCH_VOXELS
    count = max(1, limit // voxels)
    for first in range(0, len(starts), count):
        chunk = starts[first : first + count]
        regions = [tuple(slice(s, s + n) for s, n in zip(start, patch_size, strict=True)) for start in chunk]
        yield chunk, torch.stack([image[(slice(None), *region)] for region in regions])


def _average_flips(forward: Forward, windows: Tensor, mirror_axes: Sequence[int]) -> Tensor:
    flips = list_flips(mirror_axes)
    voxels = windows.shape[0] * windows[0, 0].numel()
    limit = GPU_BATCH_VOXELS if windows.device.type == "cuda" else CPU_BATCH_VOXELS
    together = max(1, min(len(flips), limit // voxels))
    total: Tensor | None = None
    for first in range(0, len(flips), together):
        group = flips[first : first + together]
        batch = torch.cat([windows.flip([axis + 2 for axis in flip]) for flip in group])
        for flip, logits in zip(group, forward(batch).float().chunk(len(group)), strict=True):
            back = logits.flip([axis + 2 for axis in flip])
            total = back if total is None else total.add_(back)
    assert total is not None  # the unflipped window is always there
    return total / len(flips)
