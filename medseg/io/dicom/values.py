"""From stored values to real ones: rescaled plane by plane, padding given the lowest measured value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.devices import count_cores
from medseg.core.errors import FormatError
from medseg.io.dicom.headers import FrameHeader, Scale
from medseg.io.dicom.stored_values import Marks
from medseg.io.voxels import check_finite


def scale_frames(
    stored: NDArray[Any], frames: Sequence[FrameHeader], marks: Marks
) -> tuple[NDArray[Any], int, tuple[str, ...]]:
    """Real values of stored ones.

    Args:
        stored: mended stored values, (k, j, i); its memory is used for the result where that is of the same size.
        frames: the planes' headers, for their scales.
        marks: range and padding of each plane.
    Returns:
        the real values, (k, j, i): the smallest integer type that holds them where all are integers, else float32; how
        many voxels were padding and were given the lowest other value; and a note where padding was left as it is.
    Raises:
        FormatError: a scale that gives no numbers, or pixels that are none.
    """
    for frame in frames:
        _check_scale(frame)
    _check_finite(stored, frames[0].path)
    padded, notes = _choose_padding(stored, marks)
    lowest, highest = _find_range(frames, marks, padded)
    dtype = _choose_type(stored.dtype, [frame.scale for frame in frames], lowest, highest)
    same = dtype.itemsize == stored.dtype.itemsize and dtype.kind != "f"
    out = stored.view(dtype) if same else np.empty(stored.shape, dtype)

    def work(slot: int) -> None:
        mask = marks.mask(slot, stored[slot]) if slot in padded and marks.padded[slot] else None
        _scale_plane(stored[slot], out[slot], frames[slot].scale)
        if mask is not None:
            out[slot][mask] = lowest

    plain = same and not any(marks.padded[slot] for slot in padded)
    if not (plain and all((frame.scale.slope, frame.scale.intercept) == (1, 0) for frame in frames)):
        with ThreadPoolExecutor(max(1, min(count_cores(), len(frames)))) as pool:
            for future in [pool.submit(work, slot) for slot in range(len(frames))]:
                future.result()
    return out, sum(marks.padded[slot] for slot in padded), notes


def _check_finite(stored: NDArray[Any], path: Path) -> None:
    try:
        check_finite(stored, path)
    except FormatError as error:
        error.remedy = "Export the series again"  # what is filled elsewhere has no padding of its own, as DICOM has
        raise


def _check_scale(frame: FrameHeader) -> None:
    slope, intercept = frame.scale.slope, frame.scale.intercept
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope != 0):
        raise FormatError(
            f"rescale slope {slope:g} and intercept {intercept:g}, expected finite numbers and a slope other than 0",
            code="bad_scale", file=frame.path, remedy="Correct RescaleSlope (0028,1053), or fetch the file again",
        )  # fmt: skip


def _choose_padding(stored: NDArray[Any], marks: Marks) -> tuple[set[int], tuple[str, ...]]:
    """The planes whose padding is replaced, and a note on each stated padding that is left as it is.

    Padding lies beyond what is measured, or apart from it. A value in the midst of the measured ones is a mistake of
    the header (0 in CT that is stored in HU): replacing it would punch holes into tissue.
    """
    chosen: set[int] = set()
    notes: list[str] = []
    for padding in sorted({known for slot, known in enumerate(marks.padding) if known and marks.padded[slot]}):
        slots = [slot for slot in range(len(stored)) if marks.padding[slot] == padding]
        lows = [low for slot in slots if (low := marks.lowest[slot]) is not None]
        highs = [high for slot in slots if (high := marks.highest[slot]) is not None]
        count = sum(marks.padded[slot] for slot in slots)
        if not lows:
            notes.append(f"all voxels have the padding value {padding[0]}; it is left as it is")
        elif padding[1] < min(lows) or padding[0] > max(highs) or not _has_neighbours(stored, slots, padding):
            chosen.update(slots)
        else:
            notes.append(
                f"the padding value {padding[0]} of the header lies among the measured ones; its {count} voxels are"
                " left as they are"
            )
    return chosen, tuple(notes)


def _has_neighbours(stored: NDArray[Any], slots: Sequence[int], padding: tuple[int, int]) -> bool:
    """Whether stored values just below or above the padding occur."""
    beside = [value for value in (padding[0] - 1, padding[1] + 1) if _holds(stored.dtype, value)]
    return any(bool((stored[slot] == value).any()) for value in beside for slot in slots)


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return int(limits.min) <= value <= int(limits.max)


def _find_range(frames: Sequence[FrameHeader], marks: Marks, padded: set[int]) -> tuple[float, float]:
    """The lowest and highest real value there will be."""
    ends: list[float] = []
    for slot, frame in enumerate(frames):
        stored = [marks.lowest[slot], marks.highest[slot]]
        known = marks.padding[slot]
        if known is not None and slot not in padded and marks.padded[slot]:
            stored.extend(known)
        ends.extend(value * frame.scale.slope + frame.scale.intercept for value in stored if value is not None)
    return min(ends), max(ends)


def _choose_type(dtype: np.dtype[Any], scales: Sequence[Scale], lowest: float, highest: float) -> np.dtype[Any]:
    whole = all(float(scale.slope).is_integer() and float(scale.intercept).is_integer() for scale in scales)
    if dtype.kind == "f" or not whole:
        return np.dtype(np.float32)
    for candidate in (dtype, np.dtype(np.int16), np.dtype(np.uint16), np.dtype(np.int32)):
        if _holds(candidate, lowest) and _holds(candidate, highest):
            return candidate
    return np.dtype(np.float32)


def _scale_plane(stored: NDArray[Any], out: NDArray[Any], scale: Scale) -> None:
    """Write slope x stored + intercept; integers are computed modulo their type's span, which the result fits into."""
    if out.dtype.kind == "f":
        out[...] = stored * np.float64(scale.slope) + scale.intercept
        return
    if not np.may_share_memory(out, stored):
        out[...] = stored
    if scale.slope != 1:
        out *= _wrap(scale.slope, out.dtype)
    if scale.intercept != 0:
        out += _wrap(scale.intercept, out.dtype)


def _wrap(value: float, dtype: np.dtype[Any]) -> Any:
    span = 1 << 8 * dtype.itemsize
    return np.array(int(value) % span, f"u{dtype.itemsize}").view(dtype)
