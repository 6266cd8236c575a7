"""Boxes and resampling: from one grid of voxels to another."""

from medseg.grids.align import align_volume
from medseg.grids.crop import find_box
from medseg.grids.resample import (
    choose_coarse_axis,
    find_coarse_axis,
    resample_array,
    split_nearest,
)
from medseg.grids.resample_labels import resample_labels

__all__ = [
    "align_volume",
    "choose_coarse_axis",
    "find_box",
    "find_coarse_axis",
    "resample_array",
    "resample_labels",
    "split_nearest",
]
