"""NRRD and MetaImage files, through SimpleITK; its LPS axes and (k, j, i) arrays are turned here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core import atomic
from medseg.core.errors import FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.io import guard
from medseg.io.grid_header import check_grid_file

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def read_grid(path: str | Path, indices: Sequence[int] | None = None) -> tuple[NDArray[Any], Geometry]:
    """The voxels of a NRRD or MetaImage file on its own grid.

    Args:
        path: a ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd`` file.
        indices: which components (or volumes of a 4D file); None for a file that holds one.
    Returns:
        (channel, i, j, k): the file's own integer type or float32; and the geometry, in millimetres RAS+.
    Raises:
        FormatError: missing, truncated, damaged, of several components where one is meant, NaN or infinite.
        GeometryError: the orientation or spacing is not finite, singular or absurd.
    """
    import SimpleITK

    path = Path(path)
    check_grid_file(path)
    try:
        image: Any = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][-200:]
        raise FormatError(f"cannot be read: {reason}", code="corrupt", file=path, remedy="Fetch it again") from None
    array = order_axes(SimpleITK.GetArrayFromImage(image), image.GetDimension(), image.GetNumberOfComponentsPerPixel())
    guard.check_type(array.dtype, path)
    geometry = guard.check_spacing(read_geometry(image, array.shape[1:], path), path)
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
        )
    chosen = array if indices is None or list(indices) == list(range(len(array))) else array[list(indices)]
    chosen = chosen.astype(np.float32, copy=False) if chosen.dtype.kind == "f" else chosen
    guard.check_finite(chosen, path)
    return chosen, geometry


def order_axes(array: NDArray[Any], dimension: int, components: int) -> NDArray[Any]:
    """SimpleITK's ([volume,] [k,] j, i [, component]) as (channel, i, j, k), a view."""
    array = np.moveaxis(array, -1, 0) if components > 1 else array[None]
    if dimension == 4:
        array = array.reshape(-1, *array.shape[2:])
    if dimension == 2:
        array = array[:, None]
    return array.transpose(0, 3, 2, 1)


def read_geometry(image: Any, shape: tuple[int, ...], path: str | Path) -> Geometry:
    """Where a SimpleITK image lies, turned from LPS to RAS+; raises GeometryError where its header cannot be used."""
    dimension = image.GetDimension()
    used = min(dimension, 3)
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)[:used, :used]
    affine[:used, :used] = direction * np.array(image.GetSpacing())[:used]
    affine[:used, 3] = np.array(image.GetOrigin())[:used]
    affine[:3] *= _LPS_TO_RAS[:, None]
    try:
        x, y, z = (*map(float, image.GetSpacing()[:used]), 1.0)[:3]
        return Geometry((shape[0], shape[1], shape[2]), affine, (x, y, z))
    except GeometryError as error:
        raise GeometryError(error.reason, code="bad_affine", file=path, remedy="Correct the header") from None


def write_grid(path: str | Path, array: NDArray[Any], geometry: Geometry) -> None:
    """Write an array as NRRD or MetaImage, compressed; whole or not at all.

    Args:
        path: ending in ``.nrrd`` or ``.mha``.
        array: (channel, i, j, k); one channel gives a scalar image.
        geometry: the grid.
    Raises:
        FormatError: the ending stands for a pair of files, of which one could be missing.
    """
    import SimpleITK

    path = Path(path)
    if path.suffix.lower() not in (".nrrd", ".mha"):
        raise FormatError(f"{path.suffix} is not written", code="unknown_ending", file=path, remedy="Use .nrrd or .mha")
    stored = array.astype(np.uint8) if array.dtype == np.bool_ else array
    stored = stored.astype(np.float32) if stored.dtype == np.float16 else stored
    turned = np.ascontiguousarray(stored.transpose(3, 2, 1, 0))
    image: Any = SimpleITK.GetImageFromArray(turned if len(array) > 1 else turned[..., 0], isVector=len(array) > 1)
    affine = geometry.affine[:3] * _LPS_TO_RAS[:, None]
    spacing = np.array(geometry.spacing_mm)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:, 3].tolist())
    with atomic.atomic_path(path) as temporary:
        SimpleITK.WriteImage(image, str(temporary), useCompression=True)
