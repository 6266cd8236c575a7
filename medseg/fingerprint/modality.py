"""Which modality an image is, judged by its intensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES = 20_000

# Hounsfield units: air is -1000, water 0, fat about -100, muscle about 50; -1100 allows for noise.
AIR_HU = (-1100.0, -850.0)
SOFT_TISSUE_HU = (-150.0, 200.0)
# What scanners write outside the round field of view.
PADDING_HU = (-1024.0, -1500.0, -2000.0, -2048.0, -3000.0, -3024.0, -3071.0)
LOWEST_HU = -3100.0
SMALLEST_AIR_SHARE = 0.01
SMALLEST_TISSUE_SHARE = 0.02
# Interpolation makes values a little below zero; anything larger than this share of the brightest is meant.
RINGING_SHARE = 0.02
# An image of Hounsfield units spans more than fat to muscle; intensities within these are z-scores or the like.
NORMALISED_RANGE = 20.0
# SUV: a few hot organs far above the rest. Sarcoma PET: 4 to 50; T1 MR: 1.1 to 3.
LONG_TAIL = 4.0


@dataclass(frozen=True)
class Modality:
    """What an image seems to be.

    Args:
        name: ``CT``, ``PET``, ``MR``, ``picture``; None where the intensities do not tell whether it is CT, which
            decides the normalisation.
        evidence: what speaks for it, in a sentence.
    """

    name: str | None
    evidence: str


def infer_modality(array: NDArray[Any]) -> Modality:
    """The modality of one channel from its intensities.

    Args:
        array: intensities of one channel, (i, j, k), in the file's unit.
    Returns:
        the modality with its evidence. CT shows air at -1000 HU or a scanner's padding value; PET and MR are not
        negative, PET with a long tail; both are normalised alike, so taking one for the other changes nothing.
    """
    sample = _take_sample(array)
    if sample.size == 0 or sample[0] == sample[-1]:
        return Modality(None, "The image has no two different finite values.")
    low, high = float(sample[0]), float(sample[-1])
    span = f"Values from {low:.4g} to {high:.4g}"
    faint, bright = np.percentile(sample, (0.5, 99.9))
    if low < 0 and faint < -RINGING_SHARE * abs(bright):
        return _judge_negative(sample, span)
    if _looks_like_shifted_ct(sample):
        return Modality(None, f"{span}: this may be CT stored without its offset of -1024 HU, or MR.")
    if array.shape[-1] == 1 and low >= 0 and high <= 255 and _is_whole(sample):
        return Modality("picture", f"{span}, whole numbers, one slice: a picture with 8 bits.")
    positive = sample[sample > 0]
    usual, brightest = np.percentile(positive, (75, 99.9))
    ratio = f"the brightest are {brightest / usual:.1f} times the upper quartile"
    if brightest >= LONG_TAIL * usual and not _is_whole(sample):
        return Modality("PET", f"{span}, none negative, fractions, a long tail: {ratio}.")
    return Modality("MR", f"{span}, none negative, no air at -1000 HU; {ratio}.")


def _judge_negative(sample: NDArray[np.float64], span: str) -> Modality:
    low = float(sample[0])
    air, tissue = _share(sample, AIR_HU), _share(sample, SOFT_TISSUE_HU)
    padding = next((value for value in PADDING_HU if low == value), None)
    shares = f"{100 * air:.0f} % of the voxels at air's -1000 HU, {100 * tissue:.0f} % at soft tissue's"
    if low >= LOWEST_HU and tissue >= SMALLEST_TISSUE_SHARE and (air >= SMALLEST_AIR_SHARE or padding is not None):
        padded = f", padding {padding:g}" if padding is not None else ""
        whole = ", whole numbers" if _is_whole(sample) else ""
        return Modality("CT", f"{span}{whole}{padded}: {shares}.")
    if low > -NORMALISED_RANGE and not _is_whole(sample):
        return Modality("MR", f"{span}, fractions: too narrow for Hounsfield units, normalised already.")
    return Modality(None, f"{span}: negative as in CT, but {shares}.")


def _looks_like_shifted_ct(sample: NDArray[np.float64]) -> bool:
    # Air at 0, soft tissue about 1024 + 50, little between (lung 200 to 400), bone above: CT with 1024 added.
    if sample[0] < 0 or not _is_whole(sample):
        return False
    air, between, tissue = _share(sample, (0, 100)), _share(sample, (200, 850)), _share(sample, (874, 1224))
    return air >= 0.05 and tissue >= 0.25 and between < 0.1 and float(np.percentile(sample, 99.9)) > 1500


def _share(sample: NDArray[np.float64], bounds: tuple[float, float]) -> float:
    first, last = np.searchsorted(sample, bounds, side="left")
    return float(last - first) / sample.size


def _is_whole(sample: NDArray[np.float64]) -> bool:
    return bool(np.array_equal(sample, np.rint(sample)))


def _take_sample(array: NDArray[Any]) -> NDArray[np.float64]:
    flat = array.ravel(order="K")  # memory order: no copy of an image that was read column by column
    sample = flat[:: max(1, flat.size // SAMPLES)].astype(np.float64)
    return np.sort(sample[np.isfinite(sample)])
