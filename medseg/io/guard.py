"""Bounded checks on a file before a parser sees it, and on what came out of the parser."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.io.files import IMAGE_ENDINGS, split_ending

# A light microscope resolves about 0.2 micrometres; no scanner's slices lie half a metre apart.
SMALLEST_SPACING_MM = 2e-4
LARGEST_SPACING_MM = 500.0

_TEXT_GRID = "MetaImage text header"
_MAGIC: tuple[tuple[bytes, str, tuple[str, ...]], ...] = (
    (b"\x1f\x8b", "gzip", (".nii.gz",)),
    (b"NRRD", "NRRD", (".nrrd", ".nhdr")),
    (b"\x89PNG\r\n\x1a\n", "PNG", (".png",)),
    (b"\xff\xd8\xff", "JPEG", (".jpg", ".jpeg")),
    (b"II*\0", "TIFF", (".tif", ".tiff")),
    (b"MM\0*", "TIFF", (".tif", ".tiff")),
    (b"II+\0", "TIFF", (".tif", ".tiff")),
    (b"MM\0+", "TIFF", (".tif", ".tiff")),
    (b"version https://git-lfs", "a Git LFS pointer instead of the data", ()),
    (b"<", "a web page or XML", ()),
    (b"PK\x03\x04", "a ZIP archive", ()),
)
_HEADER_SIZES = ((348, "NIfTI-1"), (540, "NIfTI-2"))


def check_file(path: str | Path) -> str:
    """Refuse what is no readable image file of the kind its name says, from its first bytes.

    Args:
        path: the file.
    Returns:
        its ending, in lower case.
    Raises:
        FormatError: missing, a folder, a named pipe or device, empty, not readable, of an unknown ending, or
            of content that its ending does not stand for.
    """
    ending = split_ending(path)[1]
    if not ending:
        raise FormatError(
            f"the ending is none of {' '.join(IMAGE_ENDINGS)}", code="unknown_ending", file=path, remedy="Convert it"
        )
    check_regular(path)
    try:
        with Path(path).open("rb") as stream:
            first = stream.read(1024)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", code="unreadable", file=path) from None
    found = _name_content(first)
    if found[0] is not None and ending not in found[1]:
        raise FormatError(
            f"the name ends in {ending}, but the content is {found[0]}",
            code="wrong_ending",
            file=path,
            remedy=f"Rename it to end in {found[1][0]}" if found[1] else "Fetch the file again",
        )
    if found[0] is None:
        raise FormatError(f"the content is not {ending[1:]}", code="not_an_image", file=path, remedy="Fetch it again")
    return ending


def check_regular(path: str | Path) -> int:
    """Refuse what is not a plain file with content.

    Args:
        path: the file.
    Returns:
        its size in bytes.
    Raises:
        FormatError: missing, a folder, a named pipe, device or socket, or empty.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  one call that follows links, for any kind of path
    except (OSError, ValueError):
        raise FormatError("the file does not exist", code="missing_file", file=path) from None
    if stat.S_ISDIR(status.st_mode):
        raise FormatError("a folder where a file is meant", code="not_a_file", file=path)
    if not stat.S_ISREG(status.st_mode):
        raise FormatError("a named pipe, device or socket, not a plain file", code="not_a_file", file=path)
    if status.st_size == 0:
        raise FormatError("the file is empty", code="empty_file", file=path, remedy="Fetch or write it again")
    return status.st_size


def _name_content(first: bytes) -> tuple[str | None, tuple[str, ...]]:
    for magic, name, endings in _MAGIC:
        if first.startswith(magic):
            return name, endings
    for size, name in _HEADER_SIZES:
        if first[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big")):
            return f"{name} without compression", (".nii",)
    if first[128:132] == b"DICM":
        return "DICOM", ()
    if b"NDims" in first or first.lstrip().startswith(b"ObjectType"):
        return _TEXT_GRID, (".mha", ".mhd")
    return None, ()


def check_type(dtype: np.dtype[Any], path: str | Path) -> None:
    """Refuse voxels that are not one real number each (complex, RGB, extended precision); raises FormatError."""
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        name = "complex numbers" if dtype.kind == "c" else "colours" if dtype.names else str(dtype)
        raise FormatError(
            f"voxels of type {name}, expected one real number each",
            code="bad_data_type",
            file=path,
            remedy="Write one file per component",
        )


def check_shape(shape: Sequence[int], path: str | Path) -> None:
    """Refuse a grid without voxels; raises FormatError."""
    if not shape or any(n < 1 for n in shape):
        raise FormatError(f"the header declares the shape {tuple(shape)}", code="bad_shape", file=path)


def check_spacing(geometry: Geometry, path: str | Path) -> Geometry:
    """The same geometry, unless its voxels are absurdly small or large; then raises GeometryError."""
    spacing = geometry.spacing_mm
    if min(spacing) < SMALLEST_SPACING_MM or max(spacing) > LARGEST_SPACING_MM:
        text = " x ".join(f"{value:.4g}" for value in spacing)
        raise GeometryError(
            f"a spacing of {text} mm, expected {SMALLEST_SPACING_MM} to {LARGEST_SPACING_MM:.0f} mm",
            code="absurd_spacing",
            file=path,
            remedy="Correct the header's spacing or its unit",
        )
    return geometry


def check_finite(array: NDArray[Any], path: str | Path) -> None:
    """Refuse NaN and infinite voxels, with their number; raises FormatError."""
    if array.dtype.kind != "f":
        return
    finite = np.isfinite(array)
    if not finite.all():
        nan = int(np.isnan(array).sum())
        infinite = int(finite.size - np.count_nonzero(finite)) - nan
        raise FormatError(
            f"{nan} voxels are NaN and {infinite} infinite, of {array.size}",
            code="not_finite",
            file=path,
            remedy="Replace them by the value that stands for no signal",
        )


def check_size(declared: int, found: int, path: str | Path) -> None:
    """Refuse a file that holds fewer bytes than its header declares, or many more; raises FormatError.

    Args:
        declared: bytes up to the last voxel, by the header.
        found: bytes there are.
        path: for the message.
    """
    if found < declared:
        raise FormatError(
            f"the file is truncated: {found} bytes of {declared}", code="truncated", file=path, remedy="Fetch it again"
        )
    if found > declared + _TRAILING_BYTES:
        raise FormatError(
            f"{found} bytes where the header declares {declared}: the shape or the type in the header is wrong",
            code="wrong_size",
            file=path,
            remedy="Fetch it again",
        )


_TRAILING_BYTES = 4096  # some writers pad to a disk block
