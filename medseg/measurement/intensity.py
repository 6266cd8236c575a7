"""What the image shows inside a mask, and in which unit."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.core.volume import Volume
from medseg.shapes.boxes import Box

PERCENTILES = (10, 25, 75, 90)  # those of IBSI 3.3: the 10th, the 90th and the quartiles

# A channel called PET is taken as SUV only within these bounds: filters leave slightly negative values, a full bladder
# or an injection site reaches some hundred, Bq/ml lie in the ten thousands. Our choice; kBq/ml cannot be told apart.
SUV_BOUNDS = (-1.0, 1000.0)


_SUV_WORDS = frozenset(
    {"suv", "suvbw", "suvbsa", "suvlbm", "suvibw"}
)  # normalised by weight, surface, lean mass, ideal
_PET_WORDS = frozenset({"pet", "pt"})


class Scale(NamedTuple):
    """The unit of a channel's intensities.

    Args:
        channel: the channel's name.
        unit: ``HU``, ``SUV``, or nothing where it is not known.
        is_pet: whether the channel is one of PET, whatever its unit.
        reason: how the unit is known, or why it is not.
    """

    channel: str
    unit: str
    is_pet: bool
    reason: str


class IntensitySummary(NamedTuple):
    """Statistics of the voxels within a mask, in the image's unit; ``percentiles`` are those of ``PERCENTILES``."""

    mean: float
    sd: float
    median: float
    minimum: float
    maximum: float
    percentiles: tuple[float, ...]


def settle_scales(volume: Volume) -> tuple[Scale, ...]:
    """The unit of each channel, by its name as far as its values do not contradict it.

    Args:
        volume: the image, (channel, i, j, k).
    Returns:
        one entry per channel. Hounsfield units for a channel called CT with negative values, as air has; SUV for one
        whose name says so (``SUV``, ``suvbw``, ``PET_SUV``), and for one called PET or PT with values that SUV can
        have; no unit for any other.
    """
    return tuple(_settle_scale(name, array) for name, array in zip(volume.channels, volume.array, strict=True))


def collect_values(volume: Volume, box: Box, mask: NDArray[np.bool_]) -> tuple[NDArray[Any], ...]:
    """The intensities of the voxels within a mask, channel by channel.

    Args:
        volume: the image, (channel, i, j, k).
        box: where the mask lies in it, a slice along i, j and k.
        mask: true inside, of the box's shape.
    Returns:
        (voxel,) per channel, of the image's own type.
    """
    return tuple(channel[box][mask] for channel in volume.array)


def summarise_values(values: NDArray[Any]) -> IntensitySummary | None:
    """Mean, standard deviation, median, extremes and percentiles of a mask's intensities.

    Args:
        values: of its voxels, (voxel,).
    Returns:
        the statistics; None where there is no voxel or a voxel is not finite.
    Source: IBSI reference manual 1.0, section 3.3: the standard deviation is that of all voxels (divided by their
        number); percentiles between two voxels are interpolated.
    """
    values = values.astype(np.float64)
    if not values.size or not np.isfinite(values).all():
        return None
    median, least, largest, *percentiles = np.percentile(values, (50, 0, 100, *PERCENTILES)).tolist()
    return IntensitySummary(
        float(values.mean()), float(values.std()), median, least, largest, tuple(map(float, percentiles))
    )


def _settle_scale(channel: str, array: NDArray[Any]) -> Scale:
    words = re.findall(r"[a-z]+", channel.lower())
    if _SUV_WORDS.intersection(words):
        return Scale(channel, "SUV", True, "SUV by its name")
    if _PET_WORDS.intersection(words):
        known = bool(array.size and SUV_BOUNDS[0] <= array.min() and array.max() <= SUV_BOUNDS[1])
        low, high = SUV_BOUNDS
        refusal = f"not SUV: values beyond {low:g} to {high:g}, or not finite"
        return Scale(channel, "SUV" if known else "", True, "taken as SUV by its name" if known else refusal)
    if "ct" in words and array.size and array.min() < 0:
        return Scale(channel, "HU", False, "HU by its name")
    return Scale(channel, "", False, "nothing names a unit")
