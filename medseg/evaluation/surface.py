"""How far two masks' surfaces lie apart. Every element counts by its area (voxels all the same), and is
infinitely far from an empty mask."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from medseg.evaluation.definitions import Definition
from medseg.shapes.surfaces import SurfaceDistances

# A spacing read from an oblique float32 header is off by some 1e-7 of itself. Without this slack, neighbouring voxels
# of "1 mm" would lie within a tolerance of 1 mm in one file and beyond it in the next.
TOLERANCE_SLACK = 1e-5
BINS = 1000  # of distances, for a percentile


def measure_hd(distances: SurfaceDistances) -> float:
    """The Hausdorff distance: the largest distance of any element of either surface from the other, millimetres."""
    if _one_is_empty(distances):
        return math.inf
    return float(max(distances.a_to_b_mm.max(), distances.b_to_a_mm.max()))


def measure_hd95(distances: SurfaceDistances, definition: Definition = "surfel") -> float:
    """The robust Hausdorff distance: the 95th percentile in place of the largest distance.

    Args:
        distances: the elements' distances and areas.
        definition: ``surfel``: the larger of both directions' percentiles by area; ``voxel``: the larger of both
            directions' percentiles, interpolated between elements; ``pooled``: the interpolated percentile of both
            directions together.
    Returns:
        millimetres; infinite where a mask is empty.
    Source: ``surfel``: ``compute_robust_hausdorff`` of the surface-distance package (Nikolov et al., J Med Internet
        Res 2021;23(7):e26151): the first distance at which the elements so far hold 95 % of the area. ``voxel``:
        Maier-Hein, Reinke et al., Nat Methods 2024;21:195-212. ``pooled``: the MedPy package's ``hd95``.
    """
    if _one_is_empty(distances):
        return math.inf
    ways = distances.a_to_b_mm, distances.b_to_a_mm
    if definition == "pooled":
        return float(np.percentile(np.concatenate(ways), 95))
    if definition == "voxel":
        return max(float(np.percentile(way, 95)) for way in ways)
    areas = distances.a_areas, distances.b_areas
    return max(_find_percentile(way, area, 0.95) for way, area in zip(ways, areas, strict=True))


def measure_assd(distances: SurfaceDistances) -> float:
    """The average symmetric surface distance: all elements of both surfaces averaged by area.

    Args:
        distances: the elements' distances and areas.
    Returns:
        millimetres; infinite where a mask is empty. The larger surface weighs more (in MASD both weigh the same).
    Source: Heimann et al., IEEE Trans Med Imaging 2009;28(8):1251-1265, with areas for their counts of voxels.
    """
    if _one_is_empty(distances):
        return math.inf
    total = distances.a_to_b_mm @ distances.a_areas + distances.b_to_a_mm @ distances.b_areas
    return float(total / (distances.a_areas.sum() + distances.b_areas.sum()))


def measure_masd(distances: SurfaceDistances) -> float:
    """The mean average surface distance: the mean of both directions' averages by area.

    Args:
        distances: the elements' distances and areas.
    Returns:
        millimetres; infinite where a mask is empty.
    Source: Reinke et al., Nat Methods 2024;21:182-194 (Metrics Reloaded), MASD.
    """
    if _one_is_empty(distances):
        return math.inf
    forth = distances.a_to_b_mm @ distances.a_areas / distances.a_areas.sum()
    back = distances.b_to_a_mm @ distances.b_areas / distances.b_areas.sum()
    return float((forth + back) / 2)


def measure_nsd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """The normalised surface distance (surface Dice): the part of both surfaces that lies within a tolerance.

    Args:
        distances: the elements' distances and areas.
        tolerance_mm: how far a surface may lie off; the limit itself counts as within.
    Returns:
        0 to 1; 0 where a mask is empty.
    Source: Nikolov et al., J Med Internet Res 2021;23(7):e26151.
    """
    limit = tolerance_mm * (1 + TOLERANCE_SLACK)
    near = distances.a_areas[distances.a_to_b_mm <= limit].sum() + distances.b_areas[distances.b_to_a_mm <= limit].sum()
    return float(near / (distances.a_areas.sum() + distances.b_areas.sum()))


def _one_is_empty(distances: SurfaceDistances) -> bool:
    return not distances.a_areas.size or not distances.b_areas.size


def _find_percentile(values: NDArray[np.float64], weights: NDArray[np.float64], part: float) -> float:
    """The first value, none negative, at which those up to it hold ``part`` of all weight."""
    needed, largest = part * weights.sum(), float(values.max())
    if largest == 0:
        return 0.0
    # Sorting all would take longer than finding the surfaces; by weight it is soon seen among which few to look.
    bins = (values / largest * BINS).astype(np.intp)
    filled = np.cumsum(np.bincount(bins, weights))
    chosen = min(int(np.searchsorted(filled, needed)), filled.size - 1)
    among = np.flatnonzero(bins == chosen)
    order = among[np.argsort(values[among])]
    reached = (filled[chosen - 1] if chosen else 0.0) + np.cumsum(weights[order])
    return float(values[order[min(int(np.searchsorted(reached, needed)), order.size - 1)]])
