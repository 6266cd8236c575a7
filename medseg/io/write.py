"""Writing masks and images in the format that the path's ending says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError
from medseg.core.geometry import Geometry
from medseg.core.volume import Segmentation, Volume
from medseg.io.files import GRID_ENDINGS, NIFTI_ENDINGS, PICTURE_ENDINGS, split_ending


def write_segmentation(path: str | Path, segmentation: Segmentation) -> None:
    """Write a label map with its exact grid, whole or not at all.

    Args:
        path: ending in ``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``, ``.png`` or ``.tif``.
        segmentation: the label map.
    Raises:
        FormatError: the ending is unknown, or its format cannot hold the label map.
    """
    _write(Path(path), segmentation.array[None], segmentation.geometry)


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write an image with its exact grid, whole or not at all.

    Args:
        path: ending in ``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``, ``.png`` or ``.tif``.
        volume: the image; several channels give a 4D NIfTI, a vector image, or colours.
    Raises:
        FormatError: the ending is unknown, or its format cannot hold the image without loss.
    """
    _write(Path(path), volume.array, volume.geometry)


def _write(path: Path, array: NDArray[Any], geometry: Geometry) -> None:
    ending = split_ending(path)[1]
    if ending in NIFTI_ENDINGS:
        from medseg.io.nifti_write import write_nifti

        write_nifti(path, array[0] if len(array) == 1 else np.moveaxis(array, 0, 3), geometry)
    elif ending in GRID_ENDINGS:
        from medseg.io.nrrd_write import write_grid

        write_grid(path, array, geometry)
    elif ending in PICTURE_ENDINGS:
        from medseg.io.pictures import write_picture

        write_picture(path, array)
    else:
        raise FormatError(
            f"no format is known for {path.name!r}", code="unknown_ending", file=path, remedy="End it in .nii.gz"
        )
