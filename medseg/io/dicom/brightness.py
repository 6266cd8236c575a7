"""Scales of single slices held against the voxels around: a slice far brighter or darker than its neighbours lead to
expect has, most likely, a damaged scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError
from medseg.io.dicom.departures import find_common
from medseg.io.dicom.headers import FrameHeader

# The scale of the others is taken for a slice's right one where its voxels then lie nearer to its neighbours' by this
# share; scales that are nearly equal are not told apart.
NEARER = 0.8
# A slice departs where it is off by this share and by so many times what slices of its series are off as a rule. On PET
# of three patients in slices of 3.27 mm (soft-tissue sarcoma, TCIA) slices are off by 2 % as a rule and by 7 % at most.
SMALLEST_DEPARTURE = 0.1
USUAL_DEPARTURES = 8.0
# Of an outermost slice a single neighbour is known.
EDGE_TOLERANCE = 2.0
# Fewer slices say nothing about what is usual.
FEWEST_SLICES = 5
# Voxels of a slice that are looked at, and the share of them, the brightest, that is compared.
_VOXELS = 1 << 14
_BRIGHT_PERCENT = 70.0
_NORMAL_MAD = 1.4826  # median absolute deviation to standard deviation, of a normal distribution


def check_scales(array: NDArray[Any], planes: Sequence[FrameHeader]) -> list[str]:
    """Slices whose scale their neighbours' voxels contradict.

    Args:
        array: real values, (i, j, k).
        planes: their headers, in the order of k.
    Returns:
        a line for each slice, of a series in which every slice has a scale of its own, that is far brighter or darker
        than its neighbours; empty where none is, where all have one scale, or where there are too few to tell.
    Raises:
        FormatError: a slice states another scale than most, and its voxels fit the others only by theirs.
    """
    scales = [(plane.scale.slope, plane.scale.intercept) for plane in planes]
    if len(set(scales)) < 2:
        return []
    step = max(1, math.isqrt(array.shape[0] * array.shape[1] // _VOXELS))
    thin = array[::step, ::step].astype(np.float64)
    common = find_common(scales)
    if common is None:
        return _note_own_scales(thin, planes)
    for index, scale in enumerate(scales):
        if scale != common:
            _check_odd(thin, planes, index, common)
    return []


def _check_odd(
    thin: NDArray[np.float64], planes: Sequence[FrameHeader], index: int, common: tuple[float, float]
) -> None:
    plane, scale = planes[index], planes[index].scale
    near = [k for k in (index - 1, index + 1) if 0 <= k < len(planes) and _scale_of(planes[k]) == common]
    if not near:
        return
    around = thin[:, :, near].mean(axis=2)
    own = thin[:, :, index]
    other = (own - scale.intercept) / scale.slope * common[0] + common[1]
    if float(np.abs(other - around).mean()) < NEARER * float(np.abs(own - around).mean()):
        raise FormatError(
            f"{plane.label} states the slope {scale.slope:g} and intercept {scale.intercept:g}, expected {common[0]:g}"
            f" and {common[1]:g} as of the other slices: only by those its voxels fit its neighbours'",
            code="mixed_scale", file=plane.path, remedy="Fetch the series again",
        )  # fmt: skip


def _scale_of(plane: FrameHeader) -> tuple[float, float]:
    return plane.scale.slope, plane.scale.intercept


def _note_own_scales(thin: NDArray[np.float64], planes: Sequence[FrameHeader]) -> list[str]:
    """The worst slice is held against what the others are off by without it; then the next one."""
    count, notes = len(planes), list[str]()
    if count < FEWEST_SLICES:
        return notes
    weights = np.ones(count)
    weights[[0, -1]] /= EDGE_TOLERANCE
    values = thin - min(0.0, float(np.percentile(thin, 1)))
    off = _measure_departures(values)
    for _ in range(count // FEWEST_SLICES):
        worst = int(np.argmax(np.abs(off) * weights))
        departure = float(off[worst])
        values[:, :, worst] = _predict(values, worst)
        off = _measure_departures(values)
        usual = _NORMAL_MAD * float(np.median(np.abs(np.delete(off, worst))))
        if abs(departure) * weights[worst] <= max(math.log1p(SMALLEST_DEPARTURE), USUAL_DEPARTURES * usual):
            break
        notes.append(
            f"{planes[worst].label} is {math.exp(departure):.3g} times as bright as its neighbours lead to expect;"
            " each slice has a scale of its own here, so that nothing else tells whether its slope,"
            f" {planes[worst].scale.slope:g}, is right"
        )
    return notes


def _measure_departures(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each slice the logarithm of how many times brighter it is than the slices around predict; 0 if unknown."""
    last = values.shape[2] - 1
    off = np.array([_compare(values[:, :, k], _predict(values, k)) for k in range(last + 1)])
    for k, near, far in ((0, 1, 2), (last, last - 1, last - 2)):
        # An outermost slice is off where both its neighbour and the line beyond the last two say so.
        beyond = _compare(values[:, :, k], 2 * values[:, :, near] - values[:, :, far])
        off[k] = min(off[k], beyond, key=abs)
    return off


def _compare(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    brighter = np.maximum(found, expected)
    chosen = (np.minimum(found, expected) > 0) & (brighter >= np.percentile(brighter, _BRIGHT_PERCENT))
    return float(np.median(np.log(found[chosen] / expected[chosen]))) if np.any(chosen) else 0.0


def _predict(values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """A slice by those around: by a cubic through four, a line through two, or, of an outermost one, its neighbour."""
    last = values.shape[2] - 1
    if k in (0, last):
        return values[:, :, abs(k - 1)]
    inner = values[:, :, k - 1] + values[:, :, k + 1]
    if k in (1, last - 1):
        return inner / 2
    predicted: NDArray[np.float64] = (4 * inner - values[:, :, k - 2] - values[:, :, k + 2]) / 6
    return predicted
