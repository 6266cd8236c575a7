"""Writing NIfTI files: a fresh header, equal bytes for equal content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core import atomic
from medseg.core.errors import FormatError
from medseg.core.geometry import Geometry
from medseg.io.compression import gzip_pieces
from medseg.io.nibabel_alone import nib

# Images hardly shrink beyond level 2 (2 % from there to level 6, for three times the time), and masks are small anyway.
_GZIP_LEVEL = 2
_PIECE_BYTES = 1 << 24
_SCANNER = 1  # nifti1.h, NIFTI_XFORM_SCANNER_ANAT
_LARGEST_NIFTI1_SIZE = 32767
# A quaternion holds a rotation only; a shear above this share would put voxels elsewhere than the sform does.
_SHEAR_TOLERANCE = 1e-5


def write_nifti(path: str | Path, array: NDArray[Any], geometry: Geometry) -> None:
    """Write an array as NIfTI-1, or NIfTI-2 where an axis is too long for it; whole or not at all.

    Args:
        path: ending in ``.nii`` or ``.nii.gz``.
        array: (i, j, k), or (i, j, k, channel).
        geometry: the grid; its affine becomes the sform, and the qform where a rotation can say the same.
    Raises:
        FormatError: the voxels are of a type that NIfTI does not know.
    """
    path = Path(path)
    stored = _storable(array, path)
    header = _make_header(stored, geometry)
    pieces = _pieces(header, stored)
    if path.name.lower().endswith(".gz"):
        pieces = gzip_pieces(pieces, _GZIP_LEVEL)
    with atomic.atomic_open(path) as stream:
        for piece in pieces:
            stream.write(piece)


def _storable(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise FormatError(f"voxels of type {array.dtype} cannot be written as NIfTI", code="bad_data_type", file=path)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _make_header(array: NDArray[Any], geometry: Geometry) -> Any:
    large = max(array.shape) > _LARGEST_NIFTI1_SIZE
    kind: Any = nib.Nifti2Header if large else nib.Nifti1Header
    header = kind()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_xyzt_units("mm")
    header.set_qform(geometry.affine, code=_SCANNER, strip_shears=True)
    shift = np.abs(header.get_qform() - geometry.affine)[:3, :3].max() / max(geometry.spacing_mm)
    if shift > _SHEAR_TOLERANCE:
        header["qform_code"] = 0
    header.set_sform(geometry.affine, code=_SCANNER)
    header.set_slope_inter(1.0, 0.0)
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    return header


def _pieces(header: Any, array: NDArray[Any]) -> Iterator[bytes | memoryview]:
    yield header.binaryblock.ljust(header.single_vox_offset, b"\0")
    voxels = np.asfortranarray(array).reshape(-1, order="F").view(np.uint8).data
    for start in range(0, len(voxels), _PIECE_BYTES):
        yield voxels[start : start + _PIECE_BYTES]
