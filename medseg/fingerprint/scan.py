"""A look at a whole scan through few of its voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.fingerprint import ScanIntensities

# Percentiles and extents need no more; 40 to 79 along each axis are read in milliseconds from any scan.
SAMPLES_PER_AXIS = 40


def thin_scan(array: NDArray[Any]) -> tuple[NDArray[Any], tuple[int, int, int]]:
    """Every n-th voxel of a scan along each axis.

    Args:
        array: intensities, (channel, i, j, k).
    Returns:
        a view of at least 40 and at most 79 voxels along each axis, all of a shorter one; and the steps along i, j, k.
    """
    i, j, k = (max(1, length // SAMPLES_PER_AXIS) for length in array.shape[1:])
    return array[:, ::i, ::j, ::k], (i, j, k)


def describe_scan(array: NDArray[Any]) -> tuple[ScanIntensities | None, ...]:
    """Percentiles of a scan's voxels that are not zero.

    Args:
        array: intensities, (channel, i, j, k), finite.
    Returns:
        per channel, from the voxels that ``thin_scan`` keeps; None where all of them are zero.
    """
    return tuple(_describe_channel(channel) for channel in thin_scan(array)[0])


def _describe_channel(channel: NDArray[Any]) -> ScanIntensities | None:
    values = channel[channel != 0].astype(np.float64)
    if values.size == 0:
        return None
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
    return ScanIntensities(percentile_00_5=float(low), median=float(median), percentile_99_5=float(high))
