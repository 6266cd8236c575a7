"""Checks on the voxels that were read, a block at a time, so that they take no memory of the image's size."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError

logger = logging.getLogger(__name__)

_BLOCK_VOXELS = 1 << 18


def check_finite(array: NDArray[Any], path: str | Path) -> None:
    """Refuse NaN and infinite voxels, with their number; raises FormatError."""
    if array.dtype.kind == "f" and not all(np.isfinite(block).all() for block in _list_blocks(array)):
        raise _refuse(array, path)


def settle_nonfinite(array: NDArray[Any], path: str | Path, *, fill: bool) -> None:
    """Replace NaN and infinite voxels in place, and say how many, or refuse them.

    Args:
        array: an image, (channel, i, j, k).
        path: its file, for messages.
        fill: replace them: NaN and minus infinity by the channel's lowest finite value, which is what no signal looks
            like (as where a grid reaches beyond an image), infinity by its highest.
    Raises:
        FormatError: there are some and ``fill`` is false, or a channel has no finite voxel at all.
    """
    if array.dtype.kind != "f" or all(np.isfinite(block).all() for block in _list_blocks(array)):
        return
    if not fill:
        raise _refuse(array, path)
    nan, infinite = _count(array)
    for channel in array:
        low, high = _find_range(channel, path)
        with np.nditer(channel, ["external_loop"], [["readwrite"]], order="K") as blocks:
            for block in blocks:
                np.nan_to_num(block, copy=False, nan=low, posinf=high, neginf=low)
    logger.warning(
        "%s: %d voxels were NaN and %d infinite, of %d; they are filled with the lowest and highest finite values",
        path, nan, infinite, array.size,
    )  # fmt: skip


def check_varied(array: NDArray[Any], path: str | Path) -> None:
    """Refuse a channel, (i, j, k), whose voxels all have one value; raises FormatError. A lone voxel is let pass."""
    if array.size == 1:
        return
    first = array.flat[0]
    if any((block != first).any() for block in _list_blocks(array)):
        return
    raise FormatError(
        "all voxels are 0" if first == 0 else f"all voxels have the value {float(first):g}",
        code="constant_image",
        file=path,
        remedy="Export the image again or leave the case out",
    )


def _list_blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The voxels in the order in which they lie in memory, some at a time."""
    flags: Any = ["external_loop", "buffered", "zerosize_ok"]
    yield from np.nditer(array, flags, order="K", buffersize=_BLOCK_VOXELS)


def _count(array: NDArray[Any]) -> tuple[int, int]:
    nan = sum(int(np.count_nonzero(np.isnan(block))) for block in _list_blocks(array))
    finite = sum(int(np.count_nonzero(np.isfinite(block))) for block in _list_blocks(array))
    return nan, array.size - finite - nan


def _refuse(array: NDArray[Any], path: str | Path) -> FormatError:
    nan, infinite = _count(array)
    return FormatError(
        f"{nan} voxels are NaN and {infinite} infinite, of {array.size}",
        code="not_finite",
        file=path,
        remedy="Fill them with the lowest value there is by --nonfinite fill, or export the image again",
    )


def _find_range(channel: NDArray[Any], path: str | Path) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for block in _list_blocks(channel):
        finite = block[np.isfinite(block)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        raise FormatError(
            f"none of {channel.size} voxels is a finite number", code="not_finite", file=path,
            remedy="Export the image again or leave the case out",
        )  # fmt: skip
    return low, high
