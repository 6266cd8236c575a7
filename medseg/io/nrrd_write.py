"""Writing NRRD and MetaImage files: headers of our own, since ITK's writer reports success on a full disk."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core import atomic
from medseg.core.errors import FormatError
from medseg.core.geometry import Geometry
from medseg.io.compression import gzip_pieces

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
_LEVEL = 2  # as for NIfTI: images hardly shrink beyond it
_PIECE_BYTES = 1 << 24
# numpy's name of a type, NRRD's and MetaImage's.
_TYPES = {
    "int8": ("signed char", "MET_CHAR"),
    "uint8": ("unsigned char", "MET_UCHAR"),
    "int16": ("short", "MET_SHORT"),
    "uint16": ("unsigned short", "MET_USHORT"),
    "int32": ("int", "MET_INT"),
    "uint32": ("unsigned int", "MET_UINT"),
    "int64": ("int64", "MET_LONG_LONG"),
    "uint64": ("uint64", "MET_ULONG_LONG"),
    "float32": ("float", "MET_FLOAT"),
    "float64": ("double", "MET_DOUBLE"),
}


def write_grid(path: str | Path, array: NDArray[Any], geometry: Geometry) -> None:
    """Write an array as NRRD or MetaImage, compressed; whole or not at all, equal bytes for equal content.

    Args:
        path: ending in ``.nrrd`` or ``.mha``.
        array: (channel, i, j, k); one channel gives a scalar image.
        geometry: the grid.
    Raises:
        FormatError: the ending stands for a pair of files, of which one could be missing, or the voxels are of a type
            that these formats do not know.
        OSError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".nrrd", ".mha"):
        raise FormatError(f"{path.suffix} is not written", code="unknown_ending", file=path, remedy="Use .nrrd or .mha")
    stored = array.astype(np.uint8) if array.dtype == np.bool_ else array
    stored = stored.astype(np.float32) if stored.dtype == np.float16 else stored
    if stored.dtype.name not in _TYPES:
        raise FormatError(f"voxels of type {stored.dtype} cannot be written", code="bad_data_type", file=path)
    stored = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
    header, compress = (_make_nrrd_header, _compress_nrrd) if ending == ".nrrd" else (_make_meta_header, _compress_meta)
    pieces = compress(_cut(stored))
    size = sum(map(len, pieces))
    with atomic.atomic_open(path) as stream:
        stream.write(header(stored, geometry, size).encode("ascii"))
        for piece in pieces:
            stream.write(piece)


def _cut(array: NDArray[Any]) -> Iterator[memoryview]:
    """The voxels, channels and then i fastest, in pieces."""
    voxels = np.asfortranarray(array).reshape(-1, order="F").view(np.uint8).data
    for start in range(0, len(voxels), _PIECE_BYTES):
        yield voxels[start : start + _PIECE_BYTES]


def _compress_nrrd(pieces: Iterator[memoryview]) -> list[bytes]:
    return list(gzip_pieces(pieces, _LEVEL))


def _compress_meta(pieces: Iterator[memoryview]) -> list[bytes]:
    encoder = zlib.compressobj(_LEVEL)
    return [*(encoder.compress(piece) for piece in pieces), encoder.flush()]


def _make_nrrd_header(array: NDArray[Any], geometry: Geometry, size: int) -> str:
    """Source: https://teem.sourceforge.net/nrrd/format.html, version 4."""
    affine = geometry.affine[:3] * _RAS_TO_LPS[:, None]
    shape, kinds, directions = array.shape[1:], ["domain"] * 3, [_vector(column) for column in affine[:, :3].T]
    if len(array) > 1:
        shape, kinds, directions = array.shape, ["vector", *kinds], ["none", *directions]
    fields = {
        "type": _TYPES[array.dtype.name][0],
        "dimension": len(shape),
        "space": "left-posterior-superior",
        "sizes": _list(shape),
        "space directions": " ".join(directions),
        "kinds": " ".join(kinds),
        "endian": "little",
        "encoding": "gzip",
        "space origin": _vector(affine[:, 3]),
    }
    return "\n".join(["NRRD0004", *(f"{key}: {value}" for key, value in fields.items()), "", ""])


def _make_meta_header(array: NDArray[Any], geometry: Geometry, size: int) -> str:
    """Source: https://itk.org/Wiki/ITK/MetaIO/Documentation; a row of the matrix is the direction of an axis."""
    affine = geometry.affine[:3] * _RAS_TO_LPS[:, None]
    spacing = np.array(geometry.spacing_mm)
    fields = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": size,
        "TransformMatrix": _list((affine[:, :3] / spacing).T.ravel()),
        "Offset": _list(affine[:, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _list(spacing),
        "DimSize": _list(array.shape[1:]),
        **({"ElementNumberOfChannels": len(array)} if len(array) > 1 else {}),
        "ElementType": _TYPES[array.dtype.name][1],
        "ElementDataFile": "LOCAL",
    }
    return "".join(f"{key} = {value}\n" for key, value in fields.items())


def _list(numbers: Iterable[float]) -> str:
    return " ".join(str(number) if isinstance(number, int) else repr(float(number)) for number in numbers)


def _vector(numbers: Iterable[float]) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"
