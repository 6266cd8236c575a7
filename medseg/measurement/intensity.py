"""What the image shows inside a mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.volume import Volume
from medseg.shapes.boxes import Box


@dataclass(frozen=True)
class Intensities:
    """Intensities of one channel within a mask, in a form that adds up over parts.

    Args:
        count: voxels.
        mean: their mean, in the image's unit; 0 where there is no voxel.
        squares: the sum of the squared differences from the mean.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Intensities) -> Intensities:
        """The intensities of two masks that share no voxel (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        if count == 0:
            return self
        step = other.mean - self.mean
        mean = self.mean + step * other.count / count
        return Intensities(count, mean, self.squares + other.squares + step**2 * self.count * other.count / count)

    @property
    def sd(self) -> float:
        """Standard deviation over all voxels (divided by their number, as in IBSI 3.3.2); 0 where there is none."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


def sum_intensities(volume: Volume, box: Box, mask: NDArray[np.bool_]) -> tuple[Intensities, ...]:
    """The intensities within a mask, channel by channel.

    Args:
        volume: the image, (channel, i, j, k).
        box: where the mask lies in it, a slice along i, j and k.
        mask: true inside, of the box's shape.
    Returns:
        one entry per channel; not finite where a voxel of the image is not.
    """
    entries = []
    for channel in volume.array:
        values = channel[box][mask].astype(np.float64)
        with np.errstate(invalid="ignore"):
            mean = float(values.mean()) if values.size else 0.0
            entries.append(Intensities(values.size, mean, float(((values - mean) ** 2).sum())))
    return tuple(entries)
