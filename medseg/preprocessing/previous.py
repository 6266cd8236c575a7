"""A cascade's second stage reads the masks of its first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.grids import resample_labels
from medseg.preprocessing.normalise import fill_holes
from medseg.preprocessing.prepare import PreparedGrid, turn_array


def find_body(volume: Volume, grid: PreparedGrid) -> NDArray[np.bool_]:
    """The scan's body in the box that was kept.

    Args:
        volume: the scan.
        grid: as it was prepared.
    Returns:
        (a, b, c) before resampling: the voxels that are not zero in some channel, holes filled.
    """
    box = tuple(slice(a, b) for a, b in zip(grid.crop_start, grid.crop_stop, strict=True))
    array = turn_array(volume.array, grid.axis_order, grid.flipped)
    return fill_holes((array[:, *box] != 0).any(axis=0))


def prepare_previous(
    segmentation: Segmentation, grid: PreparedGrid, labels: LabelScheme, body: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The masks of a cascade's first stage as further input channels of the second.

    Args:
        segmentation: the first stage's mask on the scan's own grid.
        grid: the scan as prepared for the second stage.
        labels: its values.
        body: of the scan, from ``find_body``; what lies outside is a label of its own while masks are resampled.
    Returns:
        (value, a, b, c), 1 where the mask holds the value, else 0; by rising value, without the background.
    Source: nnU-Net v2, ``crop_to_nonzero`` and ``convert_labelmap_to_one_hot``.
    """
    box = tuple(slice(a, b) for a, b in zip(grid.crop_start, grid.crop_stop, strict=True))
    cropped = turn_array(segmentation.array[None], grid.axis_order, grid.flipped)[0][box].astype(np.uint16)
    outside = max(labels.values) + 1
    cropped[(cropped == 0) & ~body] = outside
    values = (*labels.values, outside)
    resampled = resample_labels(cropped, grid.resampled_shape, values, coarse_axis=grid.coarse_axis_forth)
    return np.stack([resampled == value for value in labels.foreground]).astype(np.float32)
