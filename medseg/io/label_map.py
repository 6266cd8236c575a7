"""The values and the grid of one label map: checked, never rounded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.grids.align import find_axis_order, turn_axes
from medseg.io.grid_differences import describe_difference
from medseg.io.read import read_array

logger = logging.getLogger(__name__)

_LARGEST_VALUE = 65535
_NAMED_AT_MOST = 5
_REMEDIES = {
    "not_finite": "Write a label map of whole numbers",
    "four_dimensions": "Write one label map with a number per label, or a file per structure in a folder of the case",
}


def read_values(path: Path, spacing_mm: Sequence[float] | None) -> tuple[NDArray[Any], Geometry]:
    """The values of a label map, (i, j, k), uint8 or uint16, and its grid.

    Args:
        path: the file.
        spacing_mm: for pictures, which seldom know theirs.
    Returns:
        the values as they stand in the file, and the geometry.
    Raises:
        FormatError: the file is missing, damaged, of an unknown kind or in colours.
        DatasetError: a value is fractional, negative or too large.
    """
    try:
        array, geometry = read_array(path, None, spacing_mm, as_mask=True)
    except FormatError as error:  # what helps a scan is not what helps a mask
        error.remedy = _REMEDIES.get(error.code, error.remedy)
        raise
    if len(array) == 3 and (array[0] == array[1]).all() and (array[0] == array[2]).all():
        array = array[:1]
    if len(array) != 1:
        raise FormatError(
            f"a mask with {len(array)} channels, expected one number per pixel",
            code="coloured_mask",
            file=path,
            remedy="Write label values instead of colours",
        )
    return _to_whole(array[0], path), geometry


def _to_whole(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.dtype == np.uint8:
        return array
    low, high = array.min(), array.max()
    if low < 0 or high > _LARGEST_VALUE:
        refuse_values(array[(array < 0) | (array > _LARGEST_VALUE)], f"outside 0 to {_LARGEST_VALUE}", path)
    whole = array.astype(np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)
    if array.dtype.kind == "f":
        fractional = whole != array
        if fractional.any():
            refuse_values(array[fractional], "not whole numbers", path)
    return whole


def refuse_values(
    values: NDArray[Any], why: str, path: Path, remedy: str = "Write a label map of whole numbers"
) -> NoReturn:
    """Raise the DatasetError that names the offending ``values``, one entry per voxel."""
    found = np.unique(values)
    shown = ", ".join(f"{value:g}" for value in found[:_NAMED_AT_MOST].tolist())
    more = f" and {len(found) - _NAMED_AT_MOST} more" if len(found) > _NAMED_AT_MOST else ""
    raise DatasetError(
        f"{values.size} voxels have values {why}: {shown}{more}", code="bad_label_values", file=path, remedy=remedy
    )


def refuse_unknown(values: NDArray[Any], labels: LabelScheme, path: Path) -> None:
    """Refuse values that no label stands for; raises DatasetError naming them."""
    known = np.zeros(int(np.iinfo(values.dtype).max) + 1, bool)
    known[[value for value in labels.values if value < len(known)]] = True
    allowed = known[values]
    if not allowed.all():
        names = ", ".join(f"{name}={'+'.join(map(str, group))}" for name, group in labels.labels.items())
        refuse_values(
            values[~allowed], f"that no label has ({names})", path, "Name them with --labels, or correct the mask"
        )


def turn_to(
    values: NDArray[Any], geometry: Geometry, like: Geometry | None, path: Path, *, grid_of: str = "image"
) -> Segmentation:
    """The label map on the grid ``like``, its axes turned where that is enough; raises GeometryError otherwise."""
    if like is None:
        return Segmentation(values, geometry)
    if geometry.same_grid(like):
        return Segmentation(values, like)
    turn = find_axis_order(geometry, like)
    if turn is None:
        shift = describe_difference(geometry, like)
        if geometry.shape == like.shape:
            shift += f"; up to {like.largest_shift_voxels(geometry):.3g} voxels apart"
        raise GeometryError(
            f"the mask's grid ({_place(geometry)}) is not the {grid_of}'s ({_place(like)}): {shift}",
            code="other_grid",
            file=path,
            remedy=f"Resample the mask to the {grid_of}, or give it the {grid_of}'s header if only that is wrong",
        )
    logger.info("%s: axes turned to the %s's order and directions", path, grid_of)
    return Segmentation(turn_axes(values, turn), like)


def _place(geometry: Geometry) -> str:
    origin = ", ".join(f"{value:.4g}" for value in geometry.affine[:3, 3])
    return f"{geometry.describe()}, first voxel at ({origin}) mm"
