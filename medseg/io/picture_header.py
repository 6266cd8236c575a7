"""What the headers of PNG and JPEG files declare, and the PNG's checksums, before a decoder sees them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from medseg.core.errors import FormatError
from medseg.io import guard
from medseg.io.compression import LARGEST_RATIO

# PNG 1.2, section 4.1.1: samples a pixel by colour type, the numbers of a palette counted as colours.
_PNG_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_PNG_DEPTHS = (1, 2, 4, 8, 16)
_PALETTE = 3
# ITU-T T.81, table B.1: markers that begin a frame (SOF0 to SOF15 but for DHT, JPG and DAC); those without a length.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}
_JPEG_SCAN = 0xDA
# Of blank 8x8 blocks, a run of 32767 takes few bytes (T.81, G.1.2.2); a page of one grey lies far below this ratio.
_JPEG_RATIO = 4000
_HEADER_PIECE = 1 << 16


class PictureHeader(NamedTuple):
    """What a picture's header declares.

    Args:
        rows, columns: its size.
        samples: numbers a pixel, transparency included; 3 for a palette.
        depth: bits a sample.
        frames: how many pictures the file holds.
    """

    rows: int
    columns: int
    samples: int
    depth: int
    frames: int = 1

    @property
    def size(self) -> int:
        """Bytes of the decoded pixels."""
        return self.rows * self.columns * self.samples * max(1, self.depth // 8)


def read_picture_header(path: Path, ending: str, *, whole: bool = True) -> PictureHeader:
    """The checked header of a PNG or JPEG file.

    Args:
        path: the file, whose first bytes are known to be right.
        ending: ``.png``, ``.jpg`` or ``.jpeg``.
        whole: whether to check all of a PNG's checksums too.
    Returns:
        what it declares.
    Raises:
        FormatError: truncated or damaged, several pictures, or larger than its bytes can hold.
    """
    with path.open("rb") as stream:
        header = _read_png(stream, path, whole=whole) if ending == ".png" else _read_jpeg(stream, path)
    guard.check_shape((header.rows, header.columns), path)
    guard.check_ratio(header.size, path.stat().st_size, LARGEST_RATIO if ending == ".png" else _JPEG_RATIO, path)
    guard.check_room(header.size, path)
    if header.frames > 1:
        raise FormatError(
            f"{header.frames} pictures in one file (an animation), expected one", code="several_images", file=path,
            remedy="Write one file per picture, or a TIFF stack",
        )  # fmt: skip
    return header


def _read_png(stream: IO[bytes], path: Path, *, whole: bool) -> PictureHeader:
    header: PictureHeader | None = None
    stream.seek(8)
    for kind, content in _list_chunks(stream, path):
        if kind == b"IHDR" and len(content) == 13:
            columns, rows = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
            depth, colour = content[8], content[9]
            if colour not in _PNG_SAMPLES or depth not in _PNG_DEPTHS:
                break
            header = PictureHeader(rows, columns, _PNG_SAMPLES[colour], 8 if colour == _PALETTE else depth)
        elif header is None:
            break
        elif kind == b"acTL" and len(content) == 8:
            header = header._replace(frames=int.from_bytes(content[:4], "big"))
        elif kind == b"IEND" or (kind == b"IDAT" and not whole):
            return header
    raise _damaged(path)


def _list_chunks(stream: IO[bytes], path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk's kind and, where it is short, its content; Pillow does not check the sums of the pixel chunks."""
    while True:
        start = stream.read(8)
        left, kind = int.from_bytes(start[:4], "big"), start[4:]
        if len(start) < 8:
            raise _damaged(path)
        total, content = zlib.crc32(kind), b""
        while left:
            piece = stream.read(min(left, _HEADER_PIECE))
            if not piece:
                raise _damaged(path)
            content = piece if not content and len(piece) == left else b""
            total, left = zlib.crc32(piece, total), left - len(piece)
        if stream.read(4) != total.to_bytes(4, "big"):
            raise _damaged(path)
        yield kind, content


def _read_jpeg(stream: IO[bytes], path: Path) -> PictureHeader:
    stream.seek(2)
    while True:
        start = stream.read(2)
        while start == b"\xff\xff":  # fill bytes
            start = b"\xff" + stream.read(1)
        if len(start) < 2 or start[0] != 0xFF:
            raise _damaged(path)
        if start[1] in _JPEG_BARE:
            continue
        length = int.from_bytes(stream.read(2), "big")
        if start[1] == _JPEG_SCAN or length < 2:
            raise _damaged(path)
        content = stream.read(length - 2)
        if len(content) < length - 2:
            raise _damaged(path)
        if start[1] in _JPEG_FRAMES and len(content) >= 6:
            rows, columns = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
            return PictureHeader(rows, columns, content[5], content[0])


def _damaged(path: Path) -> FormatError:
    return FormatError("the picture is truncated or damaged", code="corrupt", file=path, remedy="Fetch it again")
