"""The part of a grid that holds anything."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Corner = tuple[int, int, int]


def find_box(mask: NDArray[Any]) -> tuple[Corner, Corner]:
    """The smallest box around all voxels that are not zero.

    Args:
        mask: (a, b, c), any type.
    Returns:
        start and stop along each axis, ``start <= index < stop``; the whole array where every voxel is zero.
    """
    filled = mask if mask.dtype == np.bool_ else np.asarray(mask != 0)
    plane = np.any(filled, axis=2)
    profiles = (np.any(plane, axis=1), np.any(plane, axis=0), np.any(filled, axis=(0, 1)))
    if not profiles[0].any():
        return (0, 0, 0), (mask.shape[0], mask.shape[1], mask.shape[2])
    ends = [np.flatnonzero(profile)[[0, -1]] for profile in profiles]
    (a, a_last), (b, b_last), (c, c_last) = (end.tolist() for end in ends)
    return (a, b, c), (a_last + 1, b_last + 1, c_last + 1)
