"""What a NIfTI header declares, each field checked before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medseg.core.errors import FormatError
from medseg.core.geometry import Geometry
from medseg.io import guard
from medseg.io.nibabel_alone import HeaderDataError, nib
from medseg.io.nifti_place import read_place

# By version: bytes of the header, where its mark stands, and the mark of a single file and of a pair. NIfTI-2's ends in
# line breaks of every kind, which a transfer as text would change.
_VERSIONS = {
    348: (slice(344, 348), b"n+1\0", (b"ni1\0", b"\0\0\0\0")),
    540: (slice(4, 12), b"n+2\0\r\n\x1a\n", (b"ni2\0\r\n\x1a\n",)),
}
HEADER_BYTES = max(_VERSIONS)
_LARGEST_OFFSET = 1 << 40


class NiftiHeader(NamedTuple):
    """What a NIfTI header declares, checked.

    Args:
        shape: voxels along i, j, k.
        volumes: how many volumes the file holds.
        dtype: of the voxels as stored.
        offset: byte of the first voxel.
        scale: slope and intercept from stored to real values; None where there is no scaling.
        geometry: of one volume.
        notes: what the user should know about how the header was read, a line each.
    """

    shape: tuple[int, int, int]
    volumes: int
    dtype: np.dtype[Any]
    offset: int
    scale: tuple[float, float] | None
    geometry: Geometry
    notes: tuple[str, ...] = ()

    @property
    def volume_voxels(self) -> int:
        """Voxels of one volume."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def volume_bytes(self) -> int:
        """Bytes of one volume as stored."""
        return self.dtype.itemsize * self.volume_voxels

    @property
    def stop(self) -> int:
        """The byte after the last voxel."""
        return self.offset + self.volume_bytes * self.volumes

    @property
    def value_type(self) -> np.dtype[Any]:
        """Of the voxels once read: float32 where the header scales or the file holds floating numbers."""
        real = self.scale is not None or self.dtype.kind == "f"
        return np.dtype(np.float32) if real else self.dtype.newbyteorder("=")


def parse_header(start: bytes, path: Path) -> NiftiHeader:
    """The header at the start of a NIfTI file.

    Args:
        start: the file's first bytes, decompressed.
        path: for messages.
    Returns:
        what it declares; its voxels' grid is checked.
    Raises:
        FormatError: truncated, not NIfTI, of a type that is not one real number a voxel, or with fields that cannot be.
        GeometryError: the grid is not stated, contradicts itself or is absurd.
    """
    block, order = _take_block(start, path)
    kind: Any = nib.Nifti1Header if len(block) == 348 else nib.Nifti2Header
    raw = kind(block, endianness=order, check=False)
    dtype = _read_type(raw, path)
    count = int(raw["dim"][0])
    sizes = tuple(int(n) for n in raw["dim"][1 : count + 1]) if 1 <= count <= 7 else ()
    guard.check_shape(sizes, path)
    i, j, k = (*sizes, 1, 1)[:3]
    shape = (i, j, k)
    volumes = int(np.prod([1, *sizes[3:]], dtype=object))
    with np.errstate(all="ignore"):  # whatever bits are there; the numbers are checked
        geometry, notes = read_place(raw, shape, path)
        scale, said = _read_scale(raw, path)
        offset = _read_offset(raw, path)
    return NiftiHeader(shape, volumes, dtype, offset, scale, guard.check_geometry(geometry, path), (*notes, *said))


def _take_block(start: bytes, path: Path) -> tuple[bytes, str]:
    """The header's bytes and their order (``<`` or ``>``)."""
    for order in "<>":
        size = int(np.frombuffer(start[:4], f"{order}i4")[0]) if len(start) >= 4 else 0
        if size in _VERSIONS:
            break
    else:
        raise FormatError("the content is not a NIfTI header", code="not_an_image", file=path, remedy="Fetch it again")
    if len(start) < size:
        raise FormatError(
            f"the header is truncated: {len(start)} bytes of {size}", code="truncated", file=path,
            remedy="Fetch it again",
        )  # fmt: skip
    place, single, pair = _VERSIONS[size]
    if start[place] in pair:
        raise FormatError(
            "the header of a pair of files (.hdr and .img), expected a single file", code="wrong_ending", file=path,
            remedy="Convert it to .nii.gz",
        )  # fmt: skip
    if start[place] != single:
        raise FormatError("the header has no NIfTI mark", code="corrupt", file=path, remedy="Fetch it again")
    return start[:size], order


def _read_type(raw: Any, path: Path) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = raw.get_data_dtype()
    except (HeaderDataError, KeyError):
        raise FormatError(
            f"unknown data type code {int(raw['datatype'])}", code="bad_data_type", file=path, remedy="Fetch it again"
        ) from None
    guard.check_type(dtype, path)
    bits = int(raw["bitpix"])
    if bits not in (0, 8 * dtype.itemsize):  # some writers leave it out
        raise FormatError(
            f"the header declares {dtype} voxels of {bits} bits, expected {8 * dtype.itemsize}", code="bad_data_type",
            file=path, remedy="Fetch it again",
        )  # fmt: skip
    return dtype


def _read_offset(raw: Any, path: Path) -> int:
    smallest = int(raw.single_vox_offset)
    offset = float(raw["vox_offset"])
    if offset == 0:  # some writers leave it out
        return smallest
    if not smallest <= offset <= _LARGEST_OFFSET or offset != int(offset):
        raise FormatError(
            f"voxels start at byte {offset:g}, expected {smallest} or a later one", code="corrupt", file=path,
            remedy="Fetch it again",
        )  # fmt: skip
    return int(offset)


def _read_scale(raw: Any, path: Path) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or (slope == 1 and intercept == 0):  # nifti1.h: a slope of 0 means no scaling
        return None, ()
    if np.isnan(slope) or (slope == 1 and np.isnan(intercept)):
        # nibabel writes two NaN for no scaling into headers in memory.
        both = np.isnan(slope) and np.isnan(intercept)
        return None, () if both else (f"its scaling {slope:g} * x + {intercept:g} is no number; values are as stored",)
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise FormatError(
            f"the scaling {slope:g} * x + {intercept:g} is not finite", code="bad_scaling", file=path,
            remedy="Correct the header's scl_slope and scl_inter",
        )  # fmt: skip
    return (slope, intercept), ()
