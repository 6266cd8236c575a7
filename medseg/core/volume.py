"""Images and masks on their grid; a mask is not an image, so that it is never interpolated by mistake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Volume:
    """An image with its grid.

    Args:
        array: intensities, (channel, i, j, k), in the file's unit (HU for CT, SUV for PET where known).
        geometry: the grid that all channels share.
        channels: the channels' names.
    Raises:
        GeometryError: array, grid and names do not fit one another.
    """

    array: NDArray[Any]
    geometry: Geometry
    channels: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[1:] != self.geometry.shape:
            raise GeometryError(f"array of shape {self.array.shape} on a grid of {self.geometry.shape}")
        if len(self.channels) != self.array.shape[0]:
            raise GeometryError(f"{len(self.channels)} channel names for {self.array.shape[0]} channels")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A label map with its grid.

    Args:
        array: label values, (i, j, k), an unsigned integer type.
        geometry: the grid.
    Raises:
        GeometryError: array and grid do not fit, or the array is not of an unsigned integer type.
    """

    array: NDArray[Any]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise GeometryError(f"label map of shape {self.array.shape} on a grid of {self.geometry.shape}")
        if not np.issubdtype(self.array.dtype, np.unsignedinteger):
            raise GeometryError(f"a label map holds unsigned integers, not {self.array.dtype}")
