"""Bounded checks on a file before a parser sees it, and on the grid and type that its header declares."""

from __future__ import annotations

import logging
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.compute.memory import read_free_bytes
from medseg.core.errors import FormatError, GeometryError, ResourceError, show_name
from medseg.core.geometry import Geometry
from medseg.io.files import IMAGE_ENDINGS, split_ending

logger = logging.getLogger(__name__)

# A light microscope resolves about 0.2 micrometres; no scanner's slices lie half a metre apart.
SMALLEST_SPACING_MM = 2e-4
LARGEST_SPACING_MM = 500.0
# No scanner's table moves farther from its origin than this.
LARGEST_PLACE_MM = 1e5
# Share of the volume that a voxel keeps when its edges lean: 1 at right angles, 0.87 where a CT gantry is tilted by 30
# degrees, its most. Below a half (60 degrees), no grid is meant.
SMALLEST_UPRIGHT_SHARE = 0.5
# Cosine between two axes from which on a grid is said to be sheared: half a degree off the right angle.
NOTED_SHEAR = 0.01
# Some writers fill the last disk block with zero bytes.
LARGEST_PADDING_BYTES = 4096
PADDING_BLOCK_BYTES = 512

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
        FormatError: missing, a folder, a named pipe or device, empty, not readable, of an unknown ending, of content
            that its ending does not stand for, or of a name that no text can hold.
    """
    check_name(path)
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
        raise unreadable(error, path) from None
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


def check_name(path: str | Path) -> None:
    """Refuse a path that cannot stand in a line of a table or log: bytes that are no text, line breaks and the like.

    Args:
        path: a file or folder.
    Raises:
        FormatError: some part of its path is so.
    """
    text = str(path)
    bad = [letter for letter in text if letter < " " or letter == "\x7f" or "\ud800" <= letter <= "\udfff"]
    if bad:
        raise FormatError(
            f"its name holds {show_name(bad[0])}, which is no letter of any text",
            code="bad_name",
            file=path,
            remedy="Rename it",
        )


def unreadable(error: OSError, path: str | Path) -> FormatError:
    """The FormatError for a file that the system does not let us read."""
    return FormatError(
        f"cannot be read: {error.strerror or error}",
        code="unreadable",
        file=path,
        remedy="Check its permissions and the disk, or copy it elsewhere",
    )


def check_regular(path: str | Path) -> int:
    """Refuse what is not a plain file with content.

    Args:
        path: the file.
    Returns:
        its size in bytes.
    Raises:
        FormatError: missing, a folder, a named pipe, device or socket, or empty.
    """
    size = check_plain(path)
    if size == 0:
        raise FormatError("the file is empty", code="empty_file", file=path, remedy="Fetch or write it again")
    return size


def check_plain(path: str | Path) -> int:
    """The size in bytes of a plain file, which may be empty; raises FormatError for anything else."""
    try:
        status = os.stat(path)  # noqa: PTH116  one call that follows links, for any kind of path
    except PermissionError as error:
        raise unreadable(error, path) from None
    except (OSError, ValueError):
        raise FormatError(
            "the file does not exist", code="missing_file", file=path, remedy="Check the path, or add the file"
        ) from None
    if stat.S_ISDIR(status.st_mode):
        raise FormatError(
            "a folder where a file is meant", code="not_a_file", file=path, remedy="Move it elsewhere or rename it"
        )
    if not stat.S_ISREG(status.st_mode):
        raise FormatError(
            "a named pipe, device or socket, not a plain file", code="not_a_file", file=path,
            remedy="Write its content into a file",
        )  # fmt: skip
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
        raise FormatError(
            f"the header declares the shape {tuple(shape)}, expected positive numbers", code="bad_shape", file=path,
            remedy="Fetch or write it again",
        )  # fmt: skip


def check_geometry(geometry: Geometry, path: str | Path) -> Geometry:
    """The same geometry, unless no scan can lie so.

    Args:
        geometry: as a header states it; a sheared grid, as a tilted CT gantry gives, is noted in the log.
        path: for messages.
    Returns:
        the geometry.
    Raises:
        GeometryError: voxels that are absurdly small or large, axes that almost lie in a plane, or a place far from
            any scanner.
    """
    spacing = geometry.spacing_mm
    if not (min(spacing) >= SMALLEST_SPACING_MM and max(spacing) <= LARGEST_SPACING_MM):
        text = " x ".join(f"{value:.4g}" for value in spacing)
        raise GeometryError(
            f"a spacing of {text} mm, expected {SMALLEST_SPACING_MM} to {LARGEST_SPACING_MM:.0f} mm",
            code="absurd_spacing",
            file=path,
            remedy="Correct the header's spacing or its unit",
        )
    share = geometry.voxel_volume_mm3 / math.prod(geometry.measured_mm)
    if share < SMALLEST_UPRIGHT_SHARE:
        raise GeometryError(
            f"the axes are far from right angles: voxels keep {share:.2g} of an upright box's volume, expected at least"
            f" {SMALLEST_UPRIGHT_SHARE}",
            code="bad_affine",
            file=path,
            remedy="Correct the header's orientation",
        )
    farthest = float(np.abs(geometry.affine[:3, 3]).max())
    if farthest > LARGEST_PLACE_MM:
        raise GeometryError(
            f"the first voxel lies {farthest:.3g} mm from the origin, expected at most {LARGEST_PLACE_MM:.0f} mm",
            code="bad_affine",
            file=path,
            remedy="Correct the header's offset or its unit",
        )
    columns = geometry.affine[:3, :3] / geometry.measured_mm
    cosine = float(np.abs(columns.T @ columns - np.eye(3)).max())
    if cosine > NOTED_SHEAR:
        angle = math.degrees(math.asin(min(cosine, 1.0)))
        logger.warning("%s: the grid is sheared: its axes are up to %.1f degrees off right angles", path, angle)
    return geometry


def check_room(count: int, path: str | Path) -> None:
    """Refuse to read what the memory cannot hold.

    Args:
        count: bytes that the voxels will take.
        path: for the message.
    Raises:
        ResourceError: they are more than this process may still take.
    """
    if count < _UNASKED_BYTES:
        return
    free = read_free_bytes()
    if count > free:
        raise ResourceError(
            f"its voxels need {count / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
            code="memory",
            file=path,
            remedy="Use a machine with more memory, or check that the header is right",
        )


_UNASKED_BYTES = 1 << 26  # 64 MiB: asking the system would take longer than reading


def check_ratio(declared: int, held: int, ratio: int, path: str | Path) -> None:
    """Refuse a header that declares more bytes than the compressed ones can hold; raises FormatError.

    Args:
        declared: bytes, by the header.
        held: compressed bytes there are.
        ratio: the most bytes that one compressed byte can hold.
        path: for the message.
    """
    if declared > held * ratio:
        raise FormatError(
            f"the header declares {declared} bytes, more than {held} compressed bytes can hold",
            code="truncated",
            file=path,
            remedy="Fetch it again",
        )


def check_size(declared: int, found: int, path: str | Path) -> None:
    """Refuse a file that holds fewer bytes than its header declares, or more than padding; raises FormatError.

    Args:
        declared: bytes up to the last voxel, by the header.
        found: bytes there are.
        path: for the message.
    """
    if found < declared:
        raise FormatError(
            f"the file is truncated: {found} bytes of {declared}", code="truncated", file=path, remedy="Fetch it again"
        )
    if found > declared + LARGEST_PADDING_BYTES:
        raise too_long(declared, f"{found} bytes", path)


def too_long(declared: int, found: str, path: str | Path) -> FormatError:
    """The FormatError for a file that goes on after its last voxel."""
    return FormatError(
        f"{found} where the header declares {declared}: the shape or the type in the header is wrong",
        code="wrong_size",
        file=path,
        remedy="Fetch it again",
    )


def check_tail(declared: int, tail: bytes, path: str | Path) -> None:
    """Refuse bytes after the last voxel, but for zeros that fill a disk block; raises FormatError.

    Args:
        declared: bytes up to the last voxel, by the header.
        tail: what follows.
        path: for the message.
    """
    check_size(declared, declared + len(tail), path)
    if tail and (any(tail) or (declared + len(tail)) % PADDING_BLOCK_BYTES):
        raise too_long(declared, f"{declared + len(tail)} bytes", path)
