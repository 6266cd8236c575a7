"""Where a mask lies and how stretched it is, from the positions of its voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over a mask's voxels in index coordinates; whole numbers, so that sums of parts are exact.

    Args:
        count: voxels.
        first: sum of the positions, (3,).
        second: sum of the products of their coordinates, (3, 3).
    """

    count: int
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    def __add__(self, other: Moments) -> Moments:
        """The moments of two masks that share no voxel."""
        return Moments(self.count + other.count, self.first + other.first, self.second + other.second)


def sum_moments(mask: NDArray[np.bool_], start: Sequence[int] = (0, 0, 0)) -> Moments:
    """The moments of a mask.

    Args:
        mask: true inside, (i, j, k).
        start: the index of the array's first voxel in the scan.
    Returns:
        the sums, in the scan's index coordinates; zeros for an empty mask.
    """
    positions = [np.arange(first, first + length) for first, length in zip(start, mask.shape, strict=True)]
    first, second = np.zeros(3, np.int64), np.zeros((3, 3), np.int64)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        counts = np.count_nonzero(mask, axis=3 - a - b)
        counts = counts if a < b else counts.T
        second[a, b] = second[b, a] = positions[a] @ counts @ positions[b]
        first[a] = positions[a] @ counts.sum(axis=1)
        second[a, a] = positions[a] ** 2 @ counts.sum(axis=1)
    return Moments(int(np.count_nonzero(mask)), first, second)


def find_centroid(moments: Moments, geometry: Geometry) -> NDArray[np.float64] | None:
    """The mean position of the voxels' centres, (x, y, z) in RAS+ millimetres; None for an empty mask."""
    if moments.count == 0:
        return None
    return geometry.to_world(moments.first / moments.count)


def measure_axes(moments: Moments, geometry: Geometry) -> NDArray[np.float64]:
    """The spread of the voxels' centres along their principal axes.

    Args:
        moments: of the mask.
        geometry: its grid.
    Returns:
        standard deviations along the major, minor and least axis, millimetres, falling, (3,); zeros for an empty mask.
    Source: IBSI reference manual 1.0, section 3.1.12 (principal component analysis of voxel centres).
    """
    if moments.count == 0:
        return np.zeros(3)
    mean = moments.first / moments.count
    spread = moments.second / moments.count - np.outer(mean, mean)
    linear = geometry.affine[:3, :3]
    variances = np.linalg.eigvalsh(linear @ spread @ linear.T)[::-1]
    # Rounding leaves a trace, of either sign, where a mask has no extent along an axis.
    floor = 1e-9 * geometry.voxel_volume_mm3 ** (2 / 3)
    return np.sqrt(np.where(variances > floor, variances, 0.0))


def measure_stretch(axes_mm: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Elongation and flatness: the minor and the least axis as shares of the major one.

    Args:
        axes_mm: from ``measure_axes``.
    Returns:
        elongation and flatness, 1 for a ball, towards 0 for a line (elongation) or a sheet (flatness); None and None
        for a single voxel and an empty mask.
    Source: IBSI reference manual 1.0, sections 3.1.15 and 3.1.16.
    """
    major, minor, least = (float(axis) for axis in axes_mm)
    return (minor / major, least / major) if major > 0 else (None, None)


def measure_sphericity(volume_mm3: float, surface_mm2: float) -> float | None:
    """How close to a ball: the surface of a ball of the same volume as a share of the mask's own.

    Args:
        volume_mm3: of the mesh, cubic millimetres.
        surface_mm2: of the mesh, square millimetres.
    Returns:
        0 to 1; None where there is no surface. A ball made of voxels reaches 0.93, of long
        voxels less: the steps of its mesh add surface.
    Source: IBSI reference manual 1.0, section 3.1.8.
    """
    if surface_mm2 <= 0:
        return None
    return math.cbrt(36 * math.pi * volume_mm3**2) / surface_mm2
