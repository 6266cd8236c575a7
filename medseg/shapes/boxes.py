"""The smallest box around a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def bound_mask(mask: NDArray[Any]) -> Box | None:
    """The smallest box that holds every voxel of a mask.

    Args:
        mask: non-zero inside, any number of axes.
    Returns:
        a slice along each axis; None where the mask is empty.
    """
    # Each axis is looked at within the box of those before it, so that large empty margins are read once.
    inside = np.asarray(mask, dtype=bool)
    box: list[slice] = []
    for axis in range(inside.ndim):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        occupied = np.flatnonzero(inside.any(axis=others))
        if not occupied.size:
            return None
        span = slice(int(occupied[0]), int(occupied[-1]) + 1)
        box.append(span)
        inside = inside[(slice(None),) * axis + (span,)]
    return tuple(box)
