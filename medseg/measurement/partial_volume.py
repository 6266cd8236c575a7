"""Volumes from probabilities, which tell how much of a voxel at the border belongs to a lesion."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError
from medseg.shapes.boxes import Box

SLACK = 1e-3  # by which rounding may push a stored probability beyond 0 or 1
# Voxels whose neighbours are looked at together: keeps the temporary arrays in tens of megabytes.
_CHUNK_VOXELS = 200_000
_AROUND = np.array([step for step in product((-1, 0, 1), repeat=3) if any(step)])


def measure_partial_volumes(
    components: NDArray[np.int32], count: int, box: Box, probability: NDArray[Any]
) -> NDArray[np.float64]:
    """The volume of each lesion with voxels at its border counted by their probability.

    Args:
        components: the lesion of each voxel, 1 to ``count``, 0 outside, (i, j, k), within ``box``.
        count: how many lesions there are.
        box: where ``components`` lies in the scan; no lesion reaches beyond it.
        probability: of the label, the whole scan, (i, j, k), 0 to 1.
    Returns:
        voxels, fractions kept, (lesion,). The layer of voxels on either side of the border, neighbours by faces, edges
        and corners, counts by probability, what lies deeper inside as 1 and what lies farther out as 0. A voxel outside
        between several lesions is shared among them. The scan's own edge is no border. As good as the
        probabilities are: where they are the share of the voxel that is lesion, the volume is that of the lesion.
    Raises:
        DatasetError: a value is not a probability.
    Source: fractional occupancy of voxels at the border, as in partial-volume estimation (Tohka et al., NeuroImage
        2004;23:84-97), with a network's probability in its place.
    """
    from scipy import ndimage

    sides = zip(box, probability.shape, strict=True)
    wide = [slice(max(side.start - 1, 0), min(side.stop + 1, n)) for side, n in sides]
    margins = [(a.start - b.start, b.stop - a.stop) for a, b in zip(box, wide, strict=True)]
    lesions = np.pad(components, margins)
    inside, cube = lesions > 0, np.ones((3, 3, 3), bool)
    core = ndimage.binary_erosion(inside, cube, border_value=1)  # type: ignore[attr-defined]
    layer = inside & ~core
    shell = ndimage.binary_dilation(inside, cube) & ~inside  # type: ignore[attr-defined]
    shares = probability[tuple(wide)]
    voxels = np.bincount(lesions[core], minlength=count + 1).astype(np.float64)
    voxels += np.bincount(lesions[layer], weights=_take(shares, layer), minlength=count + 1)
    outside = _take(shares, shell)
    if count == 1:
        voxels[1] += outside.sum()
        return voxels[1:]
    places, ringed = np.argwhere(shell) + 1, np.pad(lesions, 1)
    for start in range(0, len(places), _CHUNK_VOXELS):
        part = places[start : start + _CHUNK_VOXELS]
        around = np.sort(ringed[tuple(np.moveaxis(part[:, None] + _AROUND, -1, 0))], axis=1)
        fresh = (around > 0) & (np.diff(around, axis=1, prepend=0) > 0)  # each lesion once
        weights = outside[start : start + _CHUNK_VOXELS] / fresh.sum(axis=1)
        owners = around[fresh]
        voxels += np.bincount(owners, weights=np.repeat(weights, fresh.sum(axis=1)), minlength=count + 1)
    return voxels[1:]


def _take(shares: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = shares[where].astype(np.float64)
    if not np.all((values >= -SLACK) & (values <= 1 + SLACK)):  # not-a-number fails too
        raise DatasetError("values that are no probabilities, 0 to 1", code="bad_probabilities")
    return np.clip(values, 0.0, 1.0)
