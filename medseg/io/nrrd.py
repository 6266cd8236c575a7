"""NRRD and MetaImage files, through SimpleITK; its LPS axes and (k, j, i) arrays are turned here.

Reading runs in a child process, after the header and the data were checked here.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.io import guard
from medseg.io.decoding import decode
from medseg.io.grid_header import check_grid_file
from medseg.io.header_fields import GridData
from medseg.io.voxels import settle_nonfinite

logger = logging.getLogger(__name__)

_PIECE_VOXELS = 1 << 18
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def read_grid(
    path: str | Path, indices: Sequence[int] | None = None, *, fill_nonfinite: bool = False
) -> tuple[NDArray[Any], Geometry]:
    """The voxels of a NRRD or MetaImage file on its own grid.

    Args:
        path: a ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd`` file.
        indices: which components (or volumes of a 4D file); None for a file that holds one.
        fill_nonfinite: whether NaN and infinite voxels are filled; they are refused otherwise.
    Returns:
        (channel, i, j, k): the file's own integer type or float32; and the geometry, in millimetres RAS+.
    Raises:
        FormatError: missing, truncated, damaged, of several components where one is meant, NaN or infinite.
        GeometryError: the orientation or spacing is not finite, singular or absurd.
        ResourceError: the voxels do not fit into memory.
    """
    path = Path(path)
    header = check_grid_file(path)
    for note in header.notes:
        logger.warning("%s: %s", path, note)
    answer, stored = decode("grid", path, header.size)
    guard.check_type(stored.dtype, path)
    _check_same(stored, answer["components"], header, path)
    array = order_axes(stored, answer["dimension"], answer["components"])
    place = answer["spacing"], answer["origin"], answer["direction"]
    geometry = guard.check_geometry(read_geometry(*place, array.shape[1:], path), path)
    if indices is None and len(array) != 1:
        raise FormatError(
            f"the file holds {len(array)} components, expected one number per voxel",
            code="four_dimensions",
            file=path,
            remedy="Name its channels (--channels A,B), or write one file per channel",
        )
    if max(indices or [0]) >= len(array):
        raise FormatError(
            f"channel {max(indices or [0])} is asked for, but the file holds {len(array)}",
            code="missing_channel",
            file=path,
            remedy="Give as many channel names as the file holds components",
        )
    chosen = array if indices is None or list(indices) == list(range(len(array))) else array[list(indices)]
    if chosen.dtype.kind == "f":
        with np.errstate(over="ignore"):
            chosen = chosen.astype(np.float32, copy=False)
    settle_nonfinite(chosen, path, fill=fill_nonfinite)
    return chosen, geometry


def _check_same(stored: NDArray[Any], components: int, header: GridData, path: Path) -> None:
    """Refuse voxels that are not, byte by byte, those that were checked."""
    if components > 1 and path.suffix.lower() in (".nrrd", ".nhdr"):
        return  # SimpleITK may have moved the components' axis
    kind = stored.dtype.newbyteorder(">" if header.big_endian else "<")
    flat, checksum = stored.reshape(-1), 0
    for start in range(0, flat.size, _PIECE_VOXELS):
        piece = flat[start : start + _PIECE_VOXELS].astype(kind, copy=False)
        checksum = zlib.crc32(piece.view(np.uint8).data, checksum)
    if checksum != header.checksum:
        raise FormatError(
            "SimpleITK reads other voxels than the file holds; the header is wrong about them", code="corrupt",
            file=path, remedy="Write it again with the program that made it",
        )  # fmt: skip


def order_axes(array: NDArray[Any], dimension: int, components: int) -> NDArray[Any]:
    """SimpleITK's ([volume,] [k,] j, i [, component]) as (channel, i, j, k), a view."""
    array = np.moveaxis(array, -1, 0) if components > 1 else array[None]
    if dimension == 4:
        array = array.reshape(-1, *array.shape[2:])
    if dimension == 2:
        array = array[:, None]
    return array.transpose(0, 3, 2, 1)


def read_geometry(
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[float],
    shape: tuple[int, ...],
    path: str | Path,
) -> Geometry:
    """Where an image of SimpleITK lies.

    Args:
        spacing, origin: along the image's two to four dimensions, as SimpleITK has them.
        direction: its matrix, row by row.
        shape: voxels along i, j, k.
        path: for the message.
    Returns:
        the grid, turned from LPS to RAS+.
    Raises:
        GeometryError: they cannot be used.
    """
    dimension, used = len(spacing), min(len(spacing), 3)
    affine = np.eye(4)
    affine[:used, :used] = np.array(direction).reshape(dimension, dimension)[:used, :used] * np.array(spacing)[:used]
    affine[:used, 3] = np.array(origin)[:used]
    affine[:3] *= _LPS_TO_RAS[:, None]
    try:
        x, y, z = (*map(float, spacing[:used]), 1.0)[:3]
        return Geometry((shape[0], shape[1], shape[2]), affine, (x, y, z))
    except GeometryError as error:
        raise GeometryError(error.reason, code="bad_affine", file=path, remedy="Correct the header") from None
