"""The connected components of a mask."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.shapes.boxes import bound_mask


def find_components(mask: NDArray[Any], *, connectivity: Literal[6, 18, 26] = 26) -> tuple[NDArray[np.int32], int]:
    """The connected components of a mask, numbered from the largest.

    Args:
        mask: non-zero inside, (i, j, k); a picture has a single voxel along k.
        connectivity: how many neighbours a voxel has: 6 (faces), 18 (and edges) or 26 (and corners).
    Returns:
        the component of each voxel, (i, j, k), 0 outside, 1 the one with the most voxels, equally large ones in the
        order of their first voxel (k runs fastest); and how many there are, 0 for an empty mask.
    Raises:
        ValueError: the mask has not three axes, or the connectivity is none of 6, 18 and 26.
    """
    if mask.ndim != 3:
        raise ValueError(f"a mask has axes (i, j, k), got the shape {mask.shape}")
    if connectivity not in (6, 18, 26):
        raise ValueError(f"connectivity is 6, 18 or 26, not {connectivity}")
    components = np.zeros(mask.shape, np.int32)
    box = bound_mask(mask)
    if box is None:
        return components, 0
    import cc3d

    # One empty layer at the end of each axis: cc3d 4.1 counts too few provisional numbers for one-voxel-thin boxes.
    inside = np.pad(mask[box] != 0, (0, 1))
    found, count = cc3d.connected_components(inside, connectivity=connectivity, return_N=True)
    found = np.ascontiguousarray(found[:-1, :-1, :-1])
    components[box] = _rank_components(found, int(count))[found]
    return components, int(count)


def _rank_components(found: NDArray[Any], count: int) -> NDArray[np.int32]:
    """The final number of each provisional one: by falling size, then by first voxel; 0 stays 0."""
    flat = found.reshape(-1)
    sizes = np.bincount(flat, minlength=count + 1)
    first = np.zeros(count + 1, np.int64)
    voxels = np.flatnonzero(flat)[::-1]
    first[flat[voxels]] = voxels  # of repeated indices numpy keeps the last value: the earliest voxel
    order = np.lexsort((first[1:], -sizes[1:])) + 1
    rank = np.zeros(count + 1, np.int32)
    rank[order] = np.arange(1, count + 1, dtype=np.int32)
    return rank
