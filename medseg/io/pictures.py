"""Pictures: PNG and JPEG through Pillow, TIFF (stacks too) through tifffile.

Rows are i, columns are j and the pages of a stack k, with the first row and column at index 0. A picture has no
orientation in a body; its millimetres run along its own axes from the origin, 1 mm a pixel where nobody says otherwise.
"""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core import atomic
from medseg.core.errors import FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.io import guard
from medseg.io.tiff import count_tiff_channels, drop_alpha, read_tiff, unreadable

logger = logging.getLogger(__name__)

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "F")


def read_picture(
    path: str | Path,
    indices: Sequence[int] | None = None,
    spacing_mm: Sequence[float] | None = None,
    *,
    as_mask: bool = False,
) -> tuple[NDArray[Any], Geometry]:
    """The pixels of a picture or a stack of pictures.

    Args:
        path: a PNG, JPEG or TIFF file.
        indices: which channels; all of them where None (3 for colours; transparency is left out).
        spacing_mm: of rows and columns, and of pages; 1 mm where it is None and the file has none.
        as_mask: whether a palette's numbers are meant, not its colours.
    Returns:
        (channel, row, column, page): the file's own integer type or float32; and the geometry.
    Raises:
        FormatError: missing, truncated, damaged, of a kind that is not grey or RGB, NaN or infinite.
        GeometryError: the spacing is not two or three positive numbers.
    """
    path = Path(path)
    ending = guard.check_file(path)
    if ending in (".tif", ".tiff"):
        array, found = read_tiff(path)
    else:
        array, found = _read_plain(path, ending, as_mask), (1.0, 1.0, 1.0)
    guard.check_type(array.dtype, path)
    if indices is not None:
        if max(indices) >= len(array):
            raise FormatError(
                f"channel {max(indices)} is asked for, but the picture has {len(array)}",
                code="missing_channel",
                file=path,
            )
        array = array[list(indices)] if list(indices) != list(range(len(array))) else array
    array = array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array
    guard.check_finite(array, path)
    if spacing_mm is not None and (len(spacing_mm) not in (2, 3) or not all(value > 0 for value in spacing_mm)):
        raise GeometryError(
            f"the spacing {tuple(spacing_mm)} is not two or three positive numbers",
            code="bad_spacing",
            file=path,
            remedy="Give rows, columns and, for stacks, pages: --spacing-mm 0.5,0.5",
        )
    spacing = found if spacing_mm is None else (*spacing_mm, *found[len(spacing_mm) :])
    return array, guard.check_spacing(Geometry.from_spacing(array.shape[1:], spacing), path)


def count_picture_channels(path: str | Path) -> int:
    """How many channels a picture has, from its header: 1, or 3 for colours; raises FormatError as reading does."""
    from PIL import Image

    path = Path(path)
    if guard.check_file(path) in (".tif", ".tiff"):
        return count_tiff_channels(path)
    try:
        with Image.open(path) as image:
            return 3 if image.mode in ("RGB", "RGBA", "P", "PA") else 1
    except Exception as error:
        raise unreadable(path, error) from None


def _read_plain(path: Path, ending: str, as_mask: bool) -> NDArray[Any]:
    from PIL import Image

    content = path.read_bytes()
    if ending == ".png":
        _check_png(content, path)
        if content[24] == 16 and content[25] in (2, 4, 6):  # Pillow would cut 16-bit colours to 8 bits
            return _read_deep_png(path)
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.mode not in _MODES:
                raise ValueError(f"a picture of mode {image.mode}, expected grey or RGB")
            coloured = image.mode in ("P", "PA") and not as_mask
            pixels = np.array(image.convert("RGB") if coloured else image)
    except Exception as error:
        raise unreadable(path, error) from None
    pixels = pixels.astype(np.uint8) if pixels.dtype == np.bool_ else pixels
    return _split_samples(pixels.astype(pixels.dtype.newbyteorder("="), copy=False), path)


def _check_png(content: bytes, path: Path) -> None:
    # Pillow does not check the sums of the pixel chunks.
    position = 8
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        stop = position + 8 + length
        if zlib.crc32(content[position + 4 : stop]) != int.from_bytes(content[stop : stop + 4], "big"):
            break
        if content[position + 4 : position + 8] == b"IEND":
            return
        position = stop + 4
    raise FormatError("the picture is truncated or damaged", code="corrupt", file=path, remedy="Fetch it again")


def _read_deep_png(path: Path) -> NDArray[Any]:
    import SimpleITK

    return _split_samples(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), path)


def _split_samples(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    if pixels.ndim == 2:
        return pixels[None, :, :, None]
    kept = drop_alpha(pixels.shape[2])
    if kept != pixels.shape[2]:
        logger.info("%s: the transparency of the picture is left out", path)
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
