"""Coarser spacings for scans that are much larger than a patch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medseg.planning.topology import Topology

# nnU-Net 2.8.1: a patch under a quarter of the median case misses too much context; the spacing then grows by 3 % at a
# time, axes more than twice finer than the coarsest first; a result that halves the voxels or less is not worth it.
SMALLEST_PATCH_SHARE = 0.25
GROWTH = 1.03
GROW_FIRST_FACTOR = 2.0
SMALLEST_REDUCTION = 2.0


@dataclass(frozen=True)
class CoarseView:
    """A coarser spacing, the median case's voxels at it, and the patch planned for it."""

    spacing_mm: tuple[float, ...]
    median_shape: tuple[float, ...]
    median_voxels: float
    topology: Topology


def coarsen(
    spacing_mm: Sequence[float],
    median_shape: Sequence[float],
    topology: Topology,
    plan_patch: Callable[[Sequence[float], Sequence[float]], Topology],
) -> CoarseView | None:
    """The first coarser spacing at which the patch covers a quarter of the median case.

    Args:
        spacing_mm: the full resolution, in the network's axis order.
        median_shape: the median case's voxels at it.
        topology: the patch at it.
        plan_patch: from a spacing and the median shape at it to a patch.
    Returns:
        the coarser view, or None where the patch covers enough at full resolution.
    """
    whole = float(math.prod(median_shape))
    spacing, voxels = [float(value) for value in spacing_mm], whole
    view: CoarseView | None = None
    patch_voxels = topology.voxels
    while patch_voxels / voxels < SMALLEST_PATCH_SHARE:
        spacing = grow_spacing(spacing)
        sizes = [full / now * size for full, now, size in zip(spacing_mm, spacing, median_shape, strict=True)]
        voxels = math.prod(sizes)
        shape = tuple(round(size) for size in sizes)
        view = CoarseView(tuple(spacing), shape, voxels, plan_patch(spacing, shape))
        patch_voxels = view.topology.voxels
    return view


def needs_lowres(whole_voxels: float, view: CoarseView | None) -> bool:
    """Whether a low-resolution network of its own is worth it (nnU-Net then takes the Dice over the batch)."""
    return view is not None and whole_voxels / view.median_voxels >= SMALLEST_REDUCTION


def grow_spacing(spacing_mm: Sequence[float]) -> list[float]:
    """The spacing one step coarser: fine axes first, until all are within a factor of two, then all together."""
    coarsest = max(spacing_mm)
    if any(coarsest / value > GROW_FIRST_FACTOR for value in spacing_mm):
        return [value * GROWTH if coarsest / value > GROW_FIRST_FACTOR else value for value in spacing_mm]
    return [value * GROWTH for value in spacing_mm]
