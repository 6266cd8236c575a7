"""Arrays on disk, compressed in small blocks, so that a part is read without the rest."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core import atomic
from medseg.core.errors import FormatError

# Voxels per block along an axis: the unit of decompression. 32**3 fits a core's second-level cache in 16 bits.
BLOCK_VOXELS = 32
# For 2D configurations, whose patches are single slices, a block is a square of one slice with about as many voxels.
SLICE_BLOCK_VOXELS = 181
# Voxels per chunk along an axis: measured, 64 to a whole case read and write alike; this bounds the writer's memory.
CHUNK_VOXELS = 128


def write_array(path: Path, array: NDArray[Any], dimensions: int) -> None:
    """Write an array, whole or not at all.

    Args:
        path: of the file.
        array: its last three axes are cut into blocks that are read one by one.
        dimensions: 3 for blocks along all of them, 2 for blocks of single slices, 1 for a list that is read whole.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    import blosc2

    lead = array.ndim - 3
    if array.size == 0:
        blocks = chunks = None
    elif dimensions == 1:
        blocks = chunks = array.shape
    else:
        edges = (1, SLICE_BLOCK_VOXELS, SLICE_BLOCK_VOXELS) if dimensions == 2 else (BLOCK_VOXELS,) * 3
        blocks = (1,) * lead + tuple(_even_edge(n, edge) for n, edge in zip(array.shape[lead:], edges, strict=True))
        chunks = (1,) * lead + tuple(
            min(math.ceil(n / block) * block, max(block, CHUNK_VOXELS // block * block))
            for n, block in zip(array.shape[lead:], blocks[lead:], strict=True)
        )
    # Compressed in memory: the library's own files do not say that a disk is full.
    stored: Any = blosc2.asarray(
        np.ascontiguousarray(array),
        chunks=chunks,
        blocks=blocks,
        cparams={"codec": blosc2.Codec.ZSTD, "clevel": 1, "nthreads": 1},
        contiguous=True,
    )
    atomic.write_bytes(path, stored.to_cframe())


def _even_edge(length: int, edge: int) -> int:
    """About ``edge`` voxels a block, so that the last block of an axis is not mostly padding."""
    return math.ceil(length / max(1, round(length / edge)))


def open_array(path: Path, shape: tuple[int, ...] | None = None) -> Any:
    """The array in a file, still on disk; nothing in it is ever executed.

    Args:
        path: of the file.
        shape: what its last three axes should have; not checked where None.
    Returns:
        a ``blosc2.NDArray``.
    Raises:
        FormatError: it is missing, damaged, or of another shape.
    """
    import blosc2

    # Opening takes 0.1 ms and an open array must not be shared by threads. ``safe`` refuses anything but plain arrays.
    try:
        array = blosc2.open(str(path), mode="r", dparams={"nthreads": 1}, deserialize="safe")
        if not isinstance(array, blosc2.NDArray):
            raise ValueError("not an array")
        if shape is not None and array.shape[-3:] != shape:
            raise ValueError(f"its shape is {array.shape}, expected {shape}")
        return array
    except Exception as error:  # the library lets damage through as errors of any type
        raise _describe_damage(path, error) from None


def read_array(path: Path, key: tuple[slice, ...], shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """A part of the array in a file, such as a patch; arguments and errors as ``open_array``."""
    array = open_array(path, shape)
    try:
        return np.asarray(array[key])
    except Exception as error:  # of any type, MemoryError too: a damaged chunk may ask for any amount
        raise _describe_damage(path, error) from None


def _describe_damage(path: Path, error: Exception) -> FormatError:
    # A damaged file that is there passes for prepared, so it has to go first.
    remedy = "Delete it and run medseg preprocess again"
    reason = f"cannot be read: {error or type(error).__name__}"
    return FormatError(reason, code="damaged", file=path, remedy=remedy)
