"""NIfTI-1 and NIfTI-2 files, plain or gzip-compressed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medseg.core.errors import FormatError, GeometryError, ResourceError
from medseg.core.geometry import Geometry
from medseg.io import guard
from medseg.io.compression import LARGEST_RATIO, inflate

logger = logging.getLogger(__name__)

_HEADER_BYTES = {348: 348, 540: 540}
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}  # nifti1.h, NIFTI_UNITS_METER, _MM, _MICRON; others are taken as mm


class NiftiHeader(NamedTuple):
    """What a NIfTI header declares, checked.

    Args:
        shape: voxels along i, j, k.
        volumes: how many volumes the file holds.
        dtype: of the voxels as stored.
        offset: byte of the first voxel.
        scale: slope and intercept from stored to real values; None where there is no scaling.
        geometry: of one volume.
    """

    shape: tuple[int, int, int]
    volumes: int
    dtype: np.dtype[Any]
    offset: int
    scale: tuple[float, float] | None
    geometry: Geometry

    @property
    def volume_bytes(self) -> int:
        """Bytes of one volume as stored."""
        return self.dtype.itemsize * self.shape[0] * self.shape[1] * self.shape[2]


def read_nifti(path: str | Path, indices: Sequence[int] | None = None) -> tuple[NDArray[Any], Geometry]:
    """The voxels of a NIfTI file on its own grid.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file.
        indices: which volumes of a 4D file; None for a file that holds one.
    Returns:
        (channel, i, j, k), in the file's memory order: the file's own integer type, or float32 where the header scales
        or the file holds floating numbers; and the geometry, in millimetres RAS+.
    Raises:
        FormatError: missing, truncated, damaged, of a data type that is not one real number, NaN or infinite, or of
            several volumes where one is meant.
        GeometryError: the orientation or spacing is not finite, singular or absurd.
    """
    path = Path(path)
    compressed = guard.check_file(path) == ".nii.gz"
    with path.open("rb") as stream:
        pieces = inflate(stream, path) if compressed else iter(lambda: stream.read(1 << 22), b"")
        start, header = _take_header(pieces, path)
        wanted = _choose_volumes(header, indices, path)
        _check_declared(header, path, compressed)
        raw = _collect(chain([start], pieces), header.offset, header.volume_bytes * header.volumes, path)
    stored = raw.view(header.dtype).reshape((*header.shape, header.volumes), order="F")
    channels = np.moveaxis(stored, 3, 0)
    if wanted != list(range(header.volumes)):
        channels = channels[wanted]
    return to_real(channels, header.scale, path), header.geometry


def read_nifti_header(path: str | Path) -> NiftiHeader:
    """The checked header of a NIfTI file, without its voxels; raises as ``read_nifti`` does."""
    path = Path(path)
    compressed = guard.check_file(path) == ".nii.gz"
    with path.open("rb") as stream:
        pieces = inflate(stream, path) if compressed else iter(lambda: stream.read(1024), b"")
        return _take_header(pieces, path)[1]


def _take_header(pieces: Iterator[bytes], path: Path) -> tuple[bytes, NiftiHeader]:
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= max(_HEADER_BYTES):
            break
    return start, _parse_header(start, path)


def _parse_header(start: bytes, path: Path) -> NiftiHeader:
    block = _header_block(start, path)
    kind: Any = nib.Nifti1Header if len(block) == 348 else nib.Nifti2Header
    raw = kind(block, check=False)
    try:
        dtype = raw.get_data_dtype()
    except (HeaderDataError, KeyError):
        raise FormatError(f"unknown data type code {int(raw['datatype'])}", code="bad_data_type", file=path) from None
    guard.check_type(dtype, path)
    count = int(raw["dim"][0])
    sizes = tuple(int(n) for n in raw["dim"][1 : count + 1])
    guard.check_shape(sizes if 1 <= count <= 7 else (), path)
    i, j, k = (*sizes, 1, 1)[:3]
    shape = (i, j, k)
    volumes = int(np.prod([1, *sizes[3:]], dtype=object))
    geometry = guard.check_spacing(read_geometry(raw, shape, path), path)
    return NiftiHeader(shape, volumes, dtype, _read_offset(raw, path), _read_scale(raw, path), geometry)


def _header_block(start: bytes, path: Path) -> bytes:
    for order in ("<i4", ">i4"):
        size = _HEADER_BYTES.get(int(np.frombuffer(start[:4], order)[0]) if len(start) >= 4 else 0)
        if size:
            break
    else:
        raise FormatError("the content is not a NIfTI header", code="not_an_image", file=path, remedy="Fetch it again")
    if len(start) < size:
        raise FormatError(f"the header is truncated: {len(start)} bytes of {size}", code="truncated", file=path)
    magic = start[344:348] if size == 348 else start[4:8]
    if magic in (b"ni1\0", b"ni2\0") or (size == 348 and magic == b"\0\0\0\0"):
        raise FormatError(
            "the header of a pair of files (.hdr and .img), expected a single file", code="wrong_ending", file=path,
            remedy="Convert it to .nii.gz",
        )  # fmt: skip
    if magic not in (b"n+1\0", b"n+2\0"):
        raise FormatError("the header has no NIfTI mark", code="corrupt", file=path, remedy="Fetch it again")
    return start[:size]


def _read_offset(raw: Any, path: Path) -> int:
    smallest = int(raw.single_vox_offset)
    offset = float(raw["vox_offset"])
    if offset == 0:  # some writers leave it out
        return smallest
    if not np.isfinite(offset) or offset < int(raw["sizeof_hdr"]) or offset != int(offset) or offset > 2**40:
        raise FormatError(f"voxels start at byte {offset:g}", code="corrupt", file=path, remedy="Fetch it again")
    return int(offset)


def _read_scale(raw: Any, path: Path) -> tuple[float, float] | None:
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or np.isnan(slope) or (slope == 1 and (intercept == 0 or np.isnan(intercept))):
        return None
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise FormatError(f"the scaling {slope} * x + {intercept} is not finite", code="bad_scaling", file=path)
    return slope, intercept


def read_geometry(raw: Any, shape: tuple[int, ...], path: str | Path) -> Geometry:
    """Where a NIfTI header (nibabel's) places a volume of this shape, in millimetres RAS+.

    The standard's methods 3 (sform), 2 (qform) and 1 (spacing alone), in that order; raises GeometryError where the
    one that the header names cannot be used.
    """
    unit_mm = _MILLIMETRES.get(int(raw["xyzt_units"]) & 7, 1.0)
    problem = ""
    for name, read in (("sform", raw.get_sform), ("qform", raw.get_qform)):
        if int(raw[f"{name}_code"]) <= 0:
            continue
        try:
            affine = np.array(read(), dtype=np.float64)
            affine[:3] *= unit_mm
            x, y, z = (abs(float(value)) * unit_mm for value in raw["pixdim"][1:4])
            geometry = Geometry((shape[0], shape[1], shape[2]), affine, (x, y, z))
        except (GeometryError, HeaderDataError, ValueError) as error:
            problem = problem or f"the {name} cannot be used: {error}"
            continue
        if problem:
            logger.warning("%s: %s; the %s is used instead", path, problem, name)
        return geometry
    if problem:
        raise GeometryError(problem, code="bad_affine", file=path, remedy="Correct the header's orientation")
    spacing = np.abs(np.asarray(raw["pixdim"][1:4], dtype=np.float64)) * unit_mm
    spacing[int(raw["dim"][0]) :] = np.where(spacing[int(raw["dim"][0]) :] > 0, spacing[int(raw["dim"][0]) :], unit_mm)
    if not np.all(np.isfinite(spacing)) or spacing.min() <= 0:
        raise GeometryError(f"the header's spacing is {tuple(spacing.tolist())}", code="bad_spacing", file=path)
    logger.info("%s: the header has no orientation; its axes are taken as right, anterior, superior", path)
    return Geometry.from_spacing(shape, spacing.tolist())


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
    declared = header.offset + header.volume_bytes * header.volumes
    size = path.stat().st_size
    if not compressed:
        guard.check_size(declared, size, path)
    elif declared > size * LARGEST_RATIO:
        raise FormatError(
            f"the header declares {declared} bytes, more than {size} compressed bytes can hold",
            code="truncated",
            file=path,
            remedy="Fetch it again",
        )


def _collect(pieces: Iterator[bytes], offset: int, size: int, path: Path) -> NDArray[np.uint8]:
    try:
        target = np.empty(size, np.uint8)
    except MemoryError:
        raise ResourceError(f"{size / 2**30:.1f} GiB of memory are needed", code="memory", file=path) from None
    position = -offset
    for piece in pieces:
        begin, end = max(position, 0), min(position + len(piece), size)
        if end > begin:
            target[begin:end] = np.frombuffer(piece, np.uint8, end - begin, begin - position)
        position += len(piece)
    guard.check_size(size + offset, position + offset, path)
    return target


def to_real(stored: NDArray[Any], scale: tuple[float, float] | None, path: str | Path) -> NDArray[Any]:
    """Stored values (channel, i, j, k) as real ones: integers as they are, others as float32.

    Args:
        stored: as the file holds them.
        scale: slope and intercept; None where there is no scaling.
        path: for messages.
    Returns:
        an array of the same shape, in the machine's byte order.
    Raises:
        FormatError: NaN or infinite values.
    """
    if scale is not None:
        # In double precision, volume by volume: a small slope and a large intercept must not cost digits.
        array = np.empty_like(stored, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for channel, values in enumerate(stored):
                array[channel] = values * np.float64(scale[0]) + np.float64(scale[1])
    elif stored.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = stored.astype(np.float32, copy=False)
    else:
        array = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    guard.check_finite(array, path)
    return array
