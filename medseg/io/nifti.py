"""NIfTI-1 and NIfTI-2 files, plain or gzip-compressed.

Decompressing, the checksum, the length and the check for NaN are one pass, a megabyte at a time, into the array that is
returned.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError, ResourceError
from medseg.core.geometry import Geometry
from medseg.io import guard
from medseg.io.compression import LARGEST_RATIO, inflate, read_pieces
from medseg.io.nifti_header import HEADER_BYTES, NiftiHeader, parse_header
from medseg.io.voxels import settle_nonfinite

logger = logging.getLogger(__name__)


def read_nifti(
    path: str | Path, indices: Sequence[int] | None = None, *, fill_nonfinite: bool = False
) -> tuple[NDArray[Any], Geometry]:
    """The voxels of a NIfTI file on its own grid.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file.
        indices: which volumes of a 4D file; None for a file that holds one.
        fill_nonfinite: whether NaN and infinite voxels are filled; they are refused otherwise.
    Returns:
        (channel, i, j, k), in the file's memory order: the file's own integer type, or float32 where the header scales
        or the file holds floating numbers; and the geometry, in millimetres RAS+.
    Raises:
        FormatError: missing, truncated, damaged, of a data type that is not one real number, NaN or infinite, or of
            several volumes where one is meant.
        GeometryError: the orientation or spacing is not finite, singular, absurd or contradicts itself.
        ResourceError: the voxels do not fit into memory.
    """
    path = Path(path)
    compressed = guard.check_file(path) == ".nii.gz"
    with path.open("rb") as stream:
        pieces = inflate(stream, path) if compressed else read_pieces(stream, path)
        start, header = _take_header(pieces, path)
        _check_declared(header, path, compressed)
        wanted = _choose_volumes(header, indices, path)
        for note in header.notes:
            logger.warning("%s: %s", path, note)
        channels, finite = _read_voxels(chain([start], pieces), header, wanted, path)
    if not finite:
        settle_nonfinite(channels, path, fill=fill_nonfinite)
    return channels, header.geometry


def read_nifti_header(path: str | Path) -> NiftiHeader:
    """The checked header of a NIfTI file, without its voxels; raises as ``read_nifti`` does."""
    path = Path(path)
    compressed = guard.check_file(path) == ".nii.gz"
    with path.open("rb") as stream:
        pieces = inflate(stream, path, piece_bytes=HEADER_BYTES) if compressed else iter([stream.read(HEADER_BYTES)])
        header = _take_header(pieces, path)[1]
    _check_declared(header, path, compressed)
    return header


def _take_header(pieces: Iterator[bytes], path: Path) -> tuple[bytes, NiftiHeader]:
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= HEADER_BYTES:
            break
    return start, parse_header(start, path)


def _choose_volumes(header: NiftiHeader, indices: Sequence[int] | None, path: Path) -> list[int]:
    if indices is None:
        if header.volumes != 1:
            raise FormatError(
                f"the file holds {header.volumes} volumes (4D), expected one",
                code="four_dimensions",
                file=path,
                remedy="Name its channels (--channels A,B or dataset.json), or write one file per channel",
            )
        return [0]
    if max(indices) >= header.volumes:
        raise FormatError(
            f"channel {max(indices)} is asked for, but the file holds {header.volumes}",
            code="missing_channel",
            file=path,
            remedy="Give as many channel names as the file holds volumes",
        )
    return list(indices)


def _check_declared(header: NiftiHeader, path: Path, compressed: bool) -> None:
    size = path.stat().st_size
    if compressed:
        guard.check_ratio(header.stop, size, LARGEST_RATIO, path)
    else:
        guard.check_size(header.stop, size, path)


def _read_voxels(
    pieces: Iterator[bytes], header: NiftiHeader, wanted: Sequence[int], path: Path
) -> tuple[NDArray[Any], bool]:
    """The wanted volumes, (channel, i, j, k), and whether all their voxels are finite; reads the stream to its end."""
    rows = {volume: row for row, volume in enumerate(dict.fromkeys(wanted))}
    target = _allocate((len(rows), header.volume_voxels), header.value_type, path)
    finite, position = True, 0
    with np.errstate(over="ignore", invalid="ignore"):
        for block in _list_blocks(pieces, header, path):
            begin = 0
            while begin < len(block):
                volume, inside = divmod(position, header.volume_voxels)
                count = min(len(block) - begin, header.volume_voxels - inside)
                if volume in rows:
                    part = target[rows[volume], inside : inside + count]
                    _convert(block[begin : begin + count], header.scale, part)
                    finite = finite and (part.dtype.kind != "f" or bool(np.isfinite(part).all()))
                position, begin = position + count, begin + count
    i, j, k = header.shape
    channels = target.reshape(len(rows), k, j, i).transpose(0, 3, 2, 1)
    if list(wanted) != list(rows):  # one volume several times
        channels = channels[[rows[volume] for volume in wanted]]
    return channels, finite


def _allocate(shape: tuple[int, int], dtype: np.dtype[Any], path: Path) -> NDArray[Any]:
    size = shape[0] * shape[1] * dtype.itemsize
    guard.check_room(size, path)
    try:
        return np.empty(shape, dtype)
    except MemoryError:
        raise ResourceError(
            f"{size / 1e9:.1f} GB of memory are needed", code="memory", file=path, remedy="Use a larger machine"
        ) from None


def _list_blocks(pieces: Iterator[bytes], header: NiftiHeader, path: Path) -> Iterator[NDArray[Any]]:
    """All voxels as stored, in order, some at a time; what comes before and after them is checked and left out."""
    skip, left = header.offset, header.volume_bytes * header.volumes
    size = header.dtype.itemsize
    carried = tail = b""
    for piece in pieces:
        view = memoryview(piece)
        skipped = min(skip, len(view))
        data = view[skipped : skipped + left]
        skip, left = skip - skipped, left - len(data)
        if len(view) > skipped + len(data):
            tail += view[skipped + len(data) :]
            guard.check_size(header.stop, header.stop + len(tail), path)
        if carried:  # a voxel that lies in two pieces
            missing = size - len(carried)
            carried, data = carried + bytes(data[:missing]), data[missing:]
            if len(carried) < size:
                continue
            yield np.frombuffer(carried, header.dtype)
        whole = len(data) // size
        carried = bytes(data[whole * size :])
        if whole:
            yield np.frombuffer(data, header.dtype, whole)
    found = header.stop - skip - left
    guard.check_size(header.stop, found, path)
    guard.check_tail(header.stop, tail, path)


def _convert(stored: NDArray[Any], scale: tuple[float, float] | None, target: NDArray[Any]) -> None:
    """Stored values as real ones, in place of ``target``."""
    if scale is None:
        target[...] = stored
        return
    # In double precision: a small slope and a large intercept must not cost digits.
    real = np.multiply(stored, np.float64(scale[0]), dtype=np.float64)
    real += np.float64(scale[1])
    target[...] = real


def to_real(stored: NDArray[Any], scale: tuple[float, float] | None, path: str | Path) -> NDArray[Any]:
    """Stored values (channel, i, j, k) as real ones: integers as they are, others as float32.

    Args:
        stored: as a library holds them.
        scale: slope and intercept; None where there is no scaling.
        path: for messages.
    Returns:
        an array of the same shape, in the machine's byte order.
    Raises:
        FormatError: NaN or infinite values.
    """
    if scale is not None:
        array = np.empty_like(stored, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for channel, values in enumerate(stored):
                for k in range(values.shape[-1]):
                    _convert(values[..., k], scale, array[channel, ..., k])
    elif stored.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = stored.astype(np.float32, copy=False)
    else:
        array = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    settle_nonfinite(array, path, fill=False)
    return array
