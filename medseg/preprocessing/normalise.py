"""Making intensities comparable between scans: a clip, a subtraction and a division per channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.plan import NormalisationPlan
from medseg.core.records import Record

# Below this a standard deviation is that of a constant image; nnU-Net divides by it instead (its float32 epsilon).
SMALLEST_SD = 1e-8
RGB_MAXIMUM = 255.0


class Scaling(Record):
    """What turns one channel's stored values into the network's input.

    Args:
        low, high: clip to these first; None for no clip.
        subtract, divide: then ``(value - subtract) / divide``.
        outside: the stored value of voxels outside the scan's body, which become 0; None where there are none.
    """

    low: float | None = None
    high: float | None = None
    subtract: float = 0.0
    divide: float = 1.0
    outside: int | None = None


IDENTITY = Scaling()


def choose_scalings(
    array: NDArray[Any], plans: Sequence[NormalisationPlan], inside: NDArray[np.bool_] | None
) -> tuple[Scaling, ...]:
    """The scaling of every channel of one scan.

    Args:
        array: intensities, (channel, a, b, c), in the file's unit. Mean and sd are taken in its own number type and
            its own order in memory: float32 with the file's first axis fastest gives nnU-Net's numbers to the last bit.
        plans: the plan's normalisation of each channel.
        inside: (a, b, c), the voxels whose statistics count where a plan says so; None where no plan does.
    Returns:
        one scaling per channel; ``outside`` is left None.
    Source: the schemes of nnU-Net v2, ``default_normalization_schemes.py``.
    """
    return tuple(_choose_scaling(values, plan, inside) for values, plan in zip(array, plans, strict=True))


def _choose_scaling(values: NDArray[Any], plan: NormalisationPlan, inside: NDArray[np.bool_] | None) -> Scaling:
    if plan.scheme == "ct":
        return Scaling(low=plan.low, high=plan.high, subtract=plan.mean, divide=max(plan.sd, SMALLEST_SD))
    if plan.scheme == "zscore":
        chosen = values[inside] if plan.inside_mask and inside is not None else values
        if chosen.size == 0:
            return IDENTITY
        return Scaling(subtract=float(chosen.mean()), divide=max(float(chosen.std()), SMALLEST_SD))
    if plan.scheme == "rescale_to_01":
        low = values.min()
        return Scaling(subtract=float(low), divide=max(float(values.max() - low), SMALLEST_SD))
    if plan.scheme == "rgb_to_01":
        return Scaling(divide=RGB_MAXIMUM)
    return IDENTITY


def apply_scalings(array: NDArray[Any], scalings: Sequence[Scaling]) -> NDArray[np.float32]:
    """The network's input from stored values.

    Args:
        array: stored values, (channel, a, b, c), any real type.
        scalings: one per channel.
    Returns:
        a new array of the same shape, float32.
    """
    result = array.astype(np.float32)
    for values, stored, scaling in zip(result, array, scalings, strict=True):
        if scaling.low is not None or scaling.high is not None:
            np.clip(values, scaling.low, scaling.high, out=values)
        if scaling.subtract:
            values -= np.float32(scaling.subtract)
        if scaling.divide != 1.0:
            values /= np.float32(scaling.divide)
        if scaling.outside is not None:
            values[stored == scaling.outside] = 0.0
    return result


def fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask with its enclosed holes filled.

    Args:
        mask: (a, b, c).
    Returns:
        the mask and every part of its complement that reaches no face of the array, by way of shared voxel faces.
    Source: equals ``scipy.ndimage.binary_fill_holes``, in one pass instead of one per voxel of depth.
    """
    from scipy import ndimage

    parts, count = ndimage.label(~mask)  # type: ignore[attr-defined]
    open_parts = np.zeros(count + 1, dtype=bool)
    for axis in range(mask.ndim):
        for end in (0, -1):
            open_parts[parts.take(end, axis=axis)] = True
    open_parts[0] = False
    return np.asarray(~open_parts[parts])
