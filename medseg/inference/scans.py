"""Whatever a scan comes as, as a volume: files, and the objects of nibabel, SimpleITK, MONAI, torch and numpy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medseg.core.dataset import Case, ImageSource
from medseg.core.errors import DatasetError, GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.io import find_inputs, guard, read_volume, volume_from_nibabel, volume_from_simpleitk
from medseg.io.voxels import check_finite

# A file, a file per channel, a Volume, a nibabel or SimpleITK image, a MONAI MetaTensor, an array or a tensor.
Scan: TypeAlias = str | Path | Sequence[str | Path] | Volume | Any

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def as_volume(scan: Scan, channels: Sequence[str], *, spacing_mm: Sequence[float] | None = None) -> Volume:
    """A scan as a volume with a model's channels.

    Args:
        scan: a file, or a list of one per channel; a ``Volume``; a nibabel image (i, j, k[, channel]); a SimpleITK
            image, whose components are channels; a MONAI MetaTensor (channel, i, j, k); an array or a tensor
            (channel, i, j, k), or (channel, i, j) for a picture, where one channel may be left out.
        channels: the model's, in order.
        spacing_mm: along i, j, k, for arrays and tensors; for pictures, along rows and columns. Other scans know
            theirs.
    Returns:
        the volume: integers as they are, other numbers as float32; the channels have the model's names.
    Raises:
        DatasetError: another number of channels than the model's, several scans, an array without spacing, or
            nothing of these kinds.
        FormatError: a file that cannot be read; voxels that are not one real number each, NaN or infinite.
        GeometryError: a grid that cannot be read as millimetres, or an array of another shape.
    """
    if isinstance(scan, str | os.PathLike):
        return _read_one(Path(scan), channels, spacing_mm)
    if isinstance(scan, list | tuple) and scan and all(isinstance(part, str | os.PathLike) for part in scan):
        case = Case(Path(scan[0]).name, tuple(ImageSource(Path(part)) for part in scan))
        return read_volume(case, channels, spacing_mm=spacing_mm)
    volume = _take_object(scan, spacing_mm)
    if len(volume.array) != len(channels):
        raise DatasetError(
            f"{_count(len(volume.array))}, expected {len(channels)} ({', '.join(channels)})", code="channel_count",
            remedy="Give the model's channels in this order, first axis of an array",
        )  # fmt: skip
    if volume.channels != tuple(channels) and set(volume.channels) == set(channels):
        order = [volume.channels.index(name) for name in channels]
        return Volume(volume.array[order], volume.geometry, tuple(channels))
    return Volume(volume.array, volume.geometry, tuple(channels))


def _read_one(path: Path, channels: Sequence[str], spacing_mm: Sequence[float] | None) -> Volume:
    """One file, with its further channels where it is one of several; or a folder that holds one scan."""
    if not path.exists():
        return read_volume(Case(path.name, (ImageSource(path),)), channels, spacing_mm=spacing_mm)  # says so
    found = find_inputs(path, len(channels))
    if not found.cases and found.problems:
        raise found.problems[0]
    if len(found.cases) != 1:
        raise DatasetError(
            f"{len(found.cases)} scans, expected one", code="several_scans", file=path,
            remedy="Give one of its files, or use medseg predict, which takes whole folders",
        )  # fmt: skip
    return read_volume(found.cases[0], channels, spacing_mm=spacing_mm)


def _take_object(scan: Any, spacing_mm: Sequence[float] | None) -> Volume:
    if isinstance(scan, Volume):
        check_finite(scan.array, "")
        return scan
    # By the packages that the type comes from, none of which need be installed.
    packages = {base.__module__.partition(".")[0] for base in type(scan).__mro__}
    if "nibabel" in packages:
        return volume_from_nibabel(scan)
    if "SimpleITK" in packages:
        return volume_from_simpleitk(scan)
    if "monai" in packages and hasattr(scan, "affine"):
        return _take_metatensor(scan)
    if "torch" in packages:
        return _take_array(_fetch(scan), spacing_mm)
    if hasattr(scan, "__array__"):
        return _take_array(np.asarray(scan), spacing_mm)
    raise DatasetError(
        f"a scan of type {type(scan).__name__}", code="unknown_scan",
        remedy="Give a path, a Volume, a nibabel or SimpleITK image, a MONAI MetaTensor, or an array with spacing_mm",
    )  # fmt: skip


def _take_metatensor(scan: Any) -> Volume:
    meta = getattr(scan, "meta", None) or {}
    affine = np.asarray(_fetch(scan.affine), dtype=np.float64)
    array = _fetch(scan)
    flat = len(np.atleast_1d(meta.get("spatial_shape", (0, 0, 0)))) == 2
    if affine.shape != (4, 4) or flat:
        # MONAI transposes pictures by the reader it used, so that rows and columns cannot be told apart here.
        raise GeometryError(
            f"a MetaTensor of shape {array.shape} with an affine of shape {affine.shape}, expected one volume",
            code="bad_shape", remedy="Give the picture's file, or its array (channel, row, column) with spacing_mm",
        )  # fmt: skip
    array = _as_channels(array, 3)
    affine = LPS_TO_RAS @ affine if str(meta.get("space", "RAS")) == "LPS" else affine
    return _make_volume(array, Geometry((array.shape[1], array.shape[2], array.shape[3]), affine))


def _fetch(tensor: Any) -> NDArray[Any]:
    """A tensor's values on the CPU; floating types that numpy lacks become float32, which holds them."""
    plain = tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
    plain = plain.detach().cpu()
    plain = plain.float() if plain.is_floating_point() and plain.element_size() < 4 else plain
    return np.asarray(plain.numpy())


def _take_array(array: NDArray[Any], spacing_mm: Sequence[float] | None) -> Volume:
    if spacing_mm is None:
        raise DatasetError(
            "an array without a spacing", code="no_spacing",
            remedy="Give spacing_mm=(i, j, k): how far its voxels lie apart along the axes after the channels",
        )  # fmt: skip
    spacing = [float(value) for value in spacing_mm]
    if len(spacing) not in (2, 3) or not all(np.isfinite(value) and value > 0 for value in spacing):
        raise GeometryError(
            f"the spacing {tuple(spacing)} is not two or three positive numbers", code="bad_spacing",
            remedy="Give one along each axis after the channels",
        )  # fmt: skip
    array = _as_channels(array, len(spacing))
    if len(spacing) == 2:
        array, spacing = array[..., None], [*spacing, 1.0]
    return _make_volume(array, Geometry.from_spacing(array.shape[1:], spacing))


def _as_channels(array: NDArray[Any], dimensions: int) -> NDArray[Any]:
    """The array with a first axis for its channels; a single channel may have been left out."""
    if array.ndim not in (dimensions, dimensions + 1):
        names = ", ".join("ijk"[:dimensions])
        raise GeometryError(
            f"an array of shape {array.shape}, expected (channel, {names})", code="bad_shape",
            remedy="Give one scan at a time, without an axis for a batch",
        )  # fmt: skip
    return array if array.ndim > dimensions else array[None]


def _make_volume(array: NDArray[Any], geometry: Geometry) -> Volume:
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    guard.check_shape(array.shape, "")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
    guard.check_type(array.dtype, "")
    check_finite(array, "")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Volume(array, guard.check_geometry(geometry, ""), tuple(f"channel_{number}" for number in range(len(array))))


def _count(number: int) -> str:
    return f"{number} channel{'s' if number != 1 else ''}"
