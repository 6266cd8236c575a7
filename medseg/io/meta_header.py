"""What a MetaImage header declares (ITK's MetaIO documentation, "MetaImage")."""

from __future__ import annotations

import math
from pathlib import Path

from medseg.core.errors import FormatError
from medseg.io import guard
from medseg.io.compression import ZLIB
from medseg.io.header_fields import (
    GridData,
    check_dimension,
    check_lengths,
    check_units,
    find_beside,
    need,
    read_numbers,
    read_sizes,
)

_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4,
          "LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}  # fmt: skip
_ORIGINS = ("Offset", "Position", "Origin")
_DIRECTIONS = ("TransformMatrix", "Rotation", "Orientation")
_BYTE_ORDERS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_LAST = "ElementDataFile"


def read_meta_header(start: bytes, path: Path) -> GridData:
    """Where a MetaImage file's voxels are, its grid's numbers checked.

    Args:
        start: the file's first bytes.
        path: for messages.
    Returns:
        the voxels' place.
    Raises:
        FormatError: the header lacks what is needed, or declares what is not read.
        GeometryError: the grid's numbers cannot be.
    """
    fields, offset = _split(start)
    named = need(fields, _LAST, path)
    kind = need(fields, "ElementType", path).removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in _BYTES:
        raise FormatError(
            f"voxels of type {kind[:40]!r}, expected numbers", code="bad_data_type", file=path, remedy="Convert it"
        )
    sizes = read_sizes(need(fields, "DimSize", path), path)
    check_dimension(need(fields, "NDims", path), sizes, path)
    if fields.get("ObjectType", "Image") != "Image":
        raise FormatError(
            f"an object of type {fields['ObjectType'][:40]!r}, expected Image", code="not_an_image", file=path,
            remedy="Write it as an image",
        )  # fmt: skip
    if fields.get("BinaryData", "True").lower() == "false":
        raise FormatError("its voxels are text, expected binary", code="bad_encoding", file=path, remedy="Convert it")
    notes = _check_grid(fields, len(sizes), path)
    channels = read_sizes(fields.get("ElementNumberOfChannels", "1"), path)
    size = _BYTES[kind] * math.prod(channels) * math.prod(sizes)
    wrapper = ZLIB if fields.get("CompressedData", "False").lower() == "true" else None
    if wrapper is not None:
        need(fields, "CompressedDataSize", path)  # without it, SimpleITK reads noise and says nothing
    big_endian = any(fields.get(key, "False").lower() == "true" for key in _BYTE_ORDERS)
    if named.upper() == "LOCAL":
        return GridData(path, offset, size, wrapper, big_endian, notes)
    text = fields.get("HeaderSize", "0")
    skip = int(text) if text.removeprefix("-").isdigit() else 0
    data = find_beside(named, path)
    skip = skip if skip >= 0 else max(0, guard.check_regular(data) - size)
    return GridData(data, skip, size, wrapper, big_endian, notes)


def _split(start: bytes) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    offset = 0
    for line in start.split(b"\n"):
        offset += len(line) + 1
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        if key.strip() == _LAST:
            break
    return fields, offset


def _check_grid(fields: dict[str, str], dimension: int, path: Path) -> tuple[str, ...]:
    check_units([fields.get("DistanceUnits", "")], path)
    for key in _ORIGINS:
        if key in fields:
            read_numbers(fields[key], dimension, key, path)
    for key in _DIRECTIONS:
        if key in fields:
            read_numbers(fields[key], dimension**2, key, path)
    spacing = fields.get("ElementSpacing", fields.get("ElementSize", ""))
    if not spacing:
        return ("its header states no spacing; 1 mm is taken",)
    check_lengths(read_numbers(spacing, dimension, "ElementSpacing", path), path)
    return ()
