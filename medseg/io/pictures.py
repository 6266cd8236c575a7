"""Pictures: PNG and JPEG through Pillow, TIFF (stacks too) through tifffile, decoded in a child process.

Rows are i, columns are j and the pages of a stack k, with the first row and column at index 0. A picture has no
orientation in a body; its millimetres run along its own axes from the origin, 1 mm a pixel where nobody says otherwise.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core import atomic
from medseg.core.errors import FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.io import guard
from medseg.io.decoding import decode
from medseg.io.picture_header import PictureHeader, read_picture_header
from medseg.io.tiff import drop_alpha
from medseg.io.voxels import settle_nonfinite

logger = logging.getLogger(__name__)

_TIFF_ENDINGS = (".tif", ".tiff")
# Pillow may give four bytes for a sample of one.
_BYTES_PER_BYTE = 4


def read_picture(
    path: str | Path,
    indices: Sequence[int] | None = None,
    spacing_mm: Sequence[float] | None = None,
    *,
    as_mask: bool = False,
    fill_nonfinite: bool = False,
) -> tuple[NDArray[Any], Geometry]:
    """The pixels of a picture or a stack of pictures.

    Args:
        path: a PNG, JPEG or TIFF file.
        indices: which channels; all of them where None (3 for colours; transparency is left out).
        spacing_mm: of rows and columns, and of pages; 1 mm where it is None and the file has none.
        as_mask: whether a palette's numbers are meant, not its colours.
        fill_nonfinite: whether NaN and infinite pixels are filled; they are refused otherwise.
    Returns:
        (channel, row, column, page): the file's own integer type or float32; and the geometry.
    Raises:
        FormatError: missing, truncated, damaged, of a kind that is not grey or RGB, NaN or infinite.
        GeometryError: the spacing is not two or three positive numbers.
        ResourceError: the pixels do not fit into memory.
    """
    path = Path(path)
    ending = guard.check_file(path)
    array, found = _read_tiff(path, as_mask) if ending in _TIFF_ENDINGS else _read_plain(path, ending, as_mask)
    guard.check_type(array.dtype, path)
    if indices is not None:
        if max(indices) >= len(array):
            raise FormatError(
                f"channel {max(indices)} is asked for, but the picture has {len(array)}",
                code="missing_channel",
                file=path,
                remedy="Convert it to the channels that the others have",
            )
        array = array[list(indices)] if list(indices) != list(range(len(array))) else array
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
    settle_nonfinite(array, path, fill=fill_nonfinite)
    if spacing_mm is not None and (len(spacing_mm) not in (2, 3) or not all(value > 0 for value in spacing_mm)):
        raise GeometryError(
            f"the spacing {tuple(spacing_mm)} is not two or three positive numbers",
            code="bad_spacing",
            file=path,
            remedy="Give rows, columns and, for stacks, pages: --spacing-mm 0.5,0.5",
        )
    spacing = found if spacing_mm is None else (*spacing_mm, *found[len(spacing_mm) :])
    return array, guard.check_geometry(Geometry.from_spacing(array.shape[1:], spacing), path)


def count_picture_channels(path: str | Path) -> int:
    """How many channels a picture has, from its header: 1, or 3 for colours; raises FormatError as reading does."""
    path = Path(path)
    ending = guard.check_file(path)
    if ending in _TIFF_ENDINGS:
        return int(decode("tiff_header", path)[0]["channels"])
    return drop_alpha(read_picture_header(path, ending, whole=False).samples)


def _read_tiff(path: Path, as_mask: bool) -> tuple[NDArray[Any], Sequence[float]]:
    size = int(decode("tiff_header", path)[0]["size"])
    guard.check_room(size, path)
    answer, pixels = decode("tiff", path, size, as_mask=as_mask)
    for note in answer["notes"]:
        logger.warning("%s: %s", path, note)
    return pixels, answer["spacing"]


def _read_plain(path: Path, ending: str, as_mask: bool) -> tuple[NDArray[Any], Sequence[float]]:
    header = read_picture_header(path, ending)
    size = header.size * _BYTES_PER_BYTE
    if ending == ".png" and _is_deep(header):  # Pillow would cut 16-bit colours to 8 bits
        pixels = decode("grid", path, size)[1]
    else:
        answer, pixels = decode("picture", path, size, as_mask=as_mask)
        if answer["orientation"] != 1:
            logger.warning(
                "%s: its camera's orientation (EXIF %s) is not applied; rows and columns are as stored",
                path, answer["orientation"],
            )  # fmt: skip
    pixels = pixels.astype(np.uint8) if pixels.dtype == np.bool_ else pixels
    return _split_samples(pixels, path), (1.0, 1.0, 1.0)


def _is_deep(header: PictureHeader) -> bool:
    return header.depth == 16 and header.samples > 1


def _split_samples(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    if pixels.ndim == 2:
        return pixels[None, :, :, None]
    kept = drop_alpha(pixels.shape[2])
    if kept != pixels.shape[2]:
        logger.warning("%s: the transparency of the picture is left out", path)
    return np.moveaxis(pixels[..., :kept], 2, 0)[..., None]


def write_picture(path: str | Path, array: NDArray[Any]) -> None:
    """Write pixels as PNG or TIFF, whole or not at all; TIFF takes stacks and any number type.

    Args:
        path: ending in ``.png``, ``.tif`` or ``.tiff``.
        array: (channel, row, column, page), one channel or three; for PNG uint8 or uint16 (one channel) and one page.
    Raises:
        FormatError: the format cannot hold the array without loss.
    """
    path = Path(path)
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    stream = io.BytesIO()
    if path.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        pages = np.ascontiguousarray(np.moveaxis(array, (3, 0), (0, 3)))
        colours = len(array) == 3
        pages = pages if colours else pages[..., 0]
        pages = pages[0] if len(pages) == 1 else pages
        tifffile.imwrite(stream, pages, photometric="rgb" if colours else "minisblack", compression="zlib")
    else:
        from PIL import Image

        wide = array.dtype == np.uint16 and len(array) == 1
        fits = array.dtype == np.uint8 or wide
        if path.suffix.lower() != ".png" or not fits or array.shape[3] != 1 or len(array) not in (1, 3):
            raise FormatError(
                f"{array.dtype} of shape {array.shape} cannot be written as {path.suffix or 'a nameless format'}",
                code="bad_data_type",
                file=path,
                remedy="Write it as .tif or .nii.gz",
            )
        pixels = np.ascontiguousarray(np.moveaxis(array[..., 0], 0, 2))
        Image.fromarray(pixels if len(array) == 3 else pixels[..., 0]).save(stream, "PNG")
    atomic.write_bytes(path, stream.getvalue())
