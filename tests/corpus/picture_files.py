"""Pictures: damaged ones, bombs, and the kinds whose pixels are easily misread. The array given is (row, column, 1)."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from tests.corpus.entry import Build, Entry, accepted, refused

PICTURE = ("picture",)
Bytes = Callable[[bytes], bytes]
EXIF_ORIENTATION = 0x0112


def pixels(array: np.ndarray) -> np.ndarray:
    return array[..., 0].astype(np.uint8)


def saved(kind: str, make: Callable[[np.ndarray], Image.Image], change: Bytes = bytes, **options: object) -> Build:
    """Writes what Pillow saves, its bytes changed."""

    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        stream = io.BytesIO()
        make(pixels(array)).save(stream, kind, **options)
        path.write_bytes(change(stream.getvalue()))

    return build


def tiff(make: Callable[[np.ndarray], np.ndarray], change: Bytes = bytes, **options: object) -> Build:
    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        stream = io.BytesIO()
        tifffile.imwrite(stream, make(pixels(array)), **{"photometric": "minisblack", **options})
        path.write_bytes(change(stream.getvalue()))

    return build


def grey(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array)


def colours(array: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([array, array // 2, array // 3]))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(rows: int, columns: int, *, before: bytes = b"") -> Build:
    """A grey PNG that declares any size, with a few pixels inside."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", zlib.compress(bytes(500))) + chunk(b"IEND", b"")
    return lambda path, array, affine: path.write_bytes(content) and None


def resize_jpeg(content: bytes) -> bytes:
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + b"\xff\xf0\xff\xf0" + content[place + 4 :]


def flip_middle(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def turned(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array)


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[EXIF_ORIENTATION] = 6
    return tags


def write_two_sizes(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels(array), photometric="minisblack")
        writer.write(pixels(array)[:5, :5], photometric="minisblack")


def with_nan(array: np.ndarray) -> np.ndarray:
    changed = array.astype(np.float32)
    changed[1, 1] = np.nan
    return changed


def palette(array: np.ndarray) -> Image.Image:
    picture = Image.fromarray(array % 3).convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    return picture


PICTURES: tuple[Entry, ...] = (
    refused("half_png", ".png", saved("PNG", grey, lambda c: c[: len(c) // 2]), "corrupt", "truncated", roles=PICTURE),
    refused("no_end_png", ".png", saved("PNG", grey, lambda c: c[:-12]), "corrupt", "truncated", roles=PICTURE),
    refused("flipped_bit_png", ".png", saved("PNG", grey, flip_middle), "corrupt", "damaged", roles=PICTURE),
    refused("bomb_png", ".png", png_of(60000, 60000), "truncated", "more than", roles=PICTURE),
    refused("zero_png", ".png", png_of(0, 10), "bad_shape", roles=PICTURE),
    refused("few_pixels_png", ".png", png_of(100, 200), "corrupt", roles=PICTURE),
    refused(
        "animation",
        ".png",
        png_of(10, 10, before=chunk(b"acTL", struct.pack(">II", 5, 0))),
        "several_images",
        "5 pictures",
        roles=PICTURE,
    ),
    refused("png_named_tif", ".tif", saved("PNG", grey), "wrong_ending", ".png", roles=PICTURE),
    refused("page_named_png", ".png", lambda p, a, m: p.write_bytes(b"<html>") and None, "wrong_ending", roles=PICTURE),
    refused("half_jpeg", ".jpg", saved("JPEG", grey, lambda c: c[: len(c) // 2]), "corrupt", roles=PICTURE),
    refused("bomb_jpeg", ".jpg", saved("JPEG", grey, resize_jpeg), "truncated", "more than", roles=PICTURE),
    refused("cmyk_jpeg", ".jpg", saved("JPEG", lambda a: colours(a).convert("CMYK")), "corrupt", "CMYK", roles=PICTURE),
    refused("half_tiff", ".tif", tiff(lambda a: a, lambda c: c[: len(c) // 2]), "corrupt truncated", roles=PICTURE),
    refused(
        "half_zlib_tiff",
        ".tif",
        tiff(lambda a: a, lambda c: c[: len(c) // 2], compression="zlib"),
        "corrupt truncated",
        roles=PICTURE,
    ),
    refused("two_sizes_tiff", ".tif", write_two_sizes, "several_images", "2 images", roles=PICTURE),
    refused(
        "cmyk_tiff",
        ".tif",
        tiff(lambda a: np.dstack([a] * 4), photometric="separated"),
        "bad_data_type",
        "SEPARATED",
        roles=PICTURE,
    ),
    refused(
        "palette_tiff",
        ".tif",
        tiff(lambda a: a % 4, photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
        "bad_data_type",
        "palette",
        roles=PICTURE,
    ),
    refused("complex_tiff", ".tif", tiff(lambda a: a.astype(np.complex64)), "bad_data_type", "complex", roles=PICTURE),
    refused("nan_tiff", ".tif", tiff(with_nan), "not_finite", "1 voxels are NaN", roles=PICTURE),
    refused("black_png", ".png", saved("PNG", lambda a: grey(a * 0)), "constant_image", "are 0", roles=PICTURE),
    accepted("grey_png", ".png", saved("PNG", grey), roles=PICTURE),
    accepted("deep_grey_png", ".png", saved("PNG", lambda a: Image.fromarray(a.astype(np.uint16))), roles=PICTURE),
    accepted(
        "alpha_png",
        ".png",
        saved("PNG", lambda a: Image.fromarray(np.dstack([a, a * 0 + 255]))),
        "transparency",
        roles=PICTURE,
    ),
    accepted("colour_png", ".png", saved("PNG", colours), same=False, roles=PICTURE),
    accepted("palette_png", ".png", saved("PNG", palette), same=False, roles=PICTURE),
    accepted("turned_jpeg", ".jpg", saved("JPEG", turned, exif=exif()), "orientation", same=False, roles=PICTURE),
    accepted("grey_tiff", ".tif", tiff(lambda a: a), roles=PICTURE),
    accepted("zlib_tiff", ".tif", tiff(lambda a: a, compression="zlib"), roles=PICTURE),
    accepted("big_endian_tiff", ".tif", tiff(lambda a: a.astype(np.uint16), byteorder=">"), roles=PICTURE),
    accepted(
        "white_is_zero", ".tif", tiff(lambda a: a, photometric="miniswhite"), "white is stored as 0", roles=PICTURE
    ),
)
