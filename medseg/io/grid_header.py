"""NRRD and MetaImage files: what their headers declare, checked against the bytes that are there.

SimpleITK reads a damaged compressed MetaImage as zeros, and does not see every truncation; so the data is checked here
before it.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from medseg.io import guard
from medseg.io.compression import LARGEST_RATIO, inflate, read_pieces
from medseg.io.files import GRID_ENDINGS, split_ending
from medseg.io.header_fields import GridData
from medseg.io.meta_header import read_meta_header
from medseg.io.nrrd_header import read_nrrd_header

_HEADER_BYTES = 1 << 16


def check_grid_file(path: str | Path) -> GridData:
    """Refuse a NRRD or MetaImage file whose data is missing, truncated, damaged or outside its folder.

    Args:
        path: a ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd`` file.
    Returns:
        where its voxels are, and their checksum.
    Raises:
        FormatError: the header lacks what is needed or declares other bytes than there are.
        GeometryError: its grid's numbers cannot be.
        ResourceError: the voxels do not fit into memory.
    """
    path = Path(path)
    data = _read_header(path)
    held = guard.check_regular(data.path) - data.offset
    guard.check_room(data.size, path)
    if data.wrapper is None:
        guard.check_size(data.offset + data.size, data.offset + held, path)
    else:
        guard.check_ratio(data.size, max(0, held), LARGEST_RATIO, path)
    return data._replace(checksum=_sum_voxels(data, path))


def _sum_voxels(data: GridData, path: Path) -> int:
    found = checksum = 0
    with data.path.open("rb") as stream:
        stream.seek(data.offset)
        wrapper = data.wrapper
        pieces = read_pieces(stream, path) if wrapper is None else inflate(stream, path, wrapper=wrapper)
        for piece in pieces:
            taken = piece[: max(0, data.size - found)]
            checksum, found = zlib.crc32(taken, checksum), found + len(piece)
            if data.wrapper is not None and found > data.size:
                raise guard.too_long(data.size, "more bytes", path)
    guard.check_size(data.size, found, path)
    return checksum


def find_data_file(path: str | Path) -> Path:
    """The file that holds an image's voxels.

    Args:
        path: an image file of any known format.
    Returns:
        the file itself, or the one beside it that a header standing apart (``.nhdr``, ``.mhd``) names.
    Raises:
        FormatError: such a header is damaged, or names a file elsewhere.
    """
    path = Path(path)
    return _read_header(path).path if split_ending(path)[1] in GRID_ENDINGS else path


def _read_header(path: Path) -> GridData:
    ending = guard.check_file(path)
    with path.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    if ending in (".nrrd", ".nhdr"):
        return read_nrrd_header(start, len(start) < _HEADER_BYTES, path)
    return read_meta_header(start, path)
