"""What the text headers of NRRD and MetaImage files declare, checked against the bytes that are there.

SimpleITK reads a damaged compressed MetaImage as zeros, and does not see every truncation; so the data is checked here
before it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import IO, NamedTuple

from medseg.core.errors import FormatError
from medseg.io import guard
from medseg.io.compression import GZIP, ZLIB, inflate
from medseg.io.files import GRID_ENDINGS, split_ending

_HEADER_BYTES = 1 << 16
_META_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4,
               "LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}  # fmt: skip
# The NRRD format's names for its types (teem's definition, section 5, "type").
_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4
    ),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
}


class _Data(NamedTuple):
    path: Path
    offset: int
    size: int  # bytes of voxels
    wrapper: int | None  # of the compressed stream; None where there is none


def check_grid_file(path: str | Path) -> None:
    """Refuse a NRRD or MetaImage file whose data is missing, truncated, damaged or outside its folder.

    Args:
        path: a ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd`` file.
    Raises:
        FormatError: the header lacks what is needed or declares other bytes than there are.
    """
    path = Path(path)
    data = _read_header(path)
    guard.check_regular(data.path)
    with data.path.open("rb") as stream:
        stream.seek(data.offset)
        found = _count(stream, data, path)
    if data.wrapper is None or found != data.size:
        guard.check_size(data.offset + data.size, data.offset + found, path)


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


def _read_header(path: Path) -> _Data:
    ending = guard.check_file(path)
    with path.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    return _read_nrrd(start, path) if ending in (".nrrd", ".nhdr") else _read_meta(start, path)


def _count(stream: IO[bytes], data: _Data, path: Path) -> int:
    if data.wrapper is None:
        return data.path.stat().st_size - data.offset
    return sum(map(len, inflate(stream, path, wrapper=data.wrapper)))


def _read_nrrd(start: bytes, path: Path) -> _Data:
    text, offset = _split_header(start, path)
    lines = (line for line in text.splitlines()[1:] if not line.startswith("#") and ":=" not in line)
    fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    kind = _need(fields, "type", path).lower()
    if kind not in _NRRD_BYTES:
        raise FormatError(f"voxels of type {kind!r}, expected numbers", code="bad_data_type", file=path)
    size = _NRRD_BYTES[kind] * _product(_need(fields, "sizes", path), path)
    encoding = _need(fields, "encoding", path).lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise FormatError(
            f"the encoding {encoding!r}, expected raw or gzip", code="bad_encoding", file=path, remedy="Convert it"
        )
    if any(fields.get(key, "0") not in ("0", "") for key in ("line skip", "lineskip", "byte skip", "byteskip")):
        raise FormatError("the header skips bytes before the voxels", code="bad_header", file=path, remedy="Convert it")
    named = fields.get("data file", fields.get("datafile"))
    wrapper = None if encoding == "raw" else GZIP
    return _Data(path, offset, size, wrapper) if named is None else _Data(_beside(named, path), 0, size, wrapper)


def _split_header(start: bytes, path: Path) -> tuple[str, int]:
    ends = [start.find(mark) + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if mark in start]
    end = min(ends, default=len(start) if len(start) < _HEADER_BYTES else 0)
    if not end:
        raise FormatError("the header has no end", code="corrupt", file=path, remedy="Fetch it again")
    return start[:end].decode("latin-1"), end


def _read_meta(start: bytes, path: Path) -> _Data:
    fields: dict[str, str] = {}
    offset = 0
    for line in start.split(b"\n"):
        offset += len(line) + 1
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    named = _need(fields, "ElementDataFile", path)
    kind = _need(fields, "ElementType", path).removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in _META_BYTES:
        raise FormatError(f"voxels of type {kind!r}, expected numbers", code="bad_data_type", file=path)
    channels = _product(fields.get("ElementNumberOfChannels", "1"), path)
    size = _META_BYTES[kind] * channels * _product(_need(fields, "DimSize", path), path)
    wrapper = ZLIB if fields.get("CompressedData", "False").lower() == "true" else None
    if named.upper() == "LOCAL":
        return _Data(path, offset, size, wrapper)
    skip = int(fields.get("HeaderSize", "0") or 0) if fields.get("HeaderSize", "0").lstrip("-").isdigit() else 0
    data = _beside(named, path)
    return _Data(data, skip if skip >= 0 else max(0, guard.check_regular(data) - size), size, wrapper)


def _need(fields: dict[str, str], key: str, path: Path) -> str:
    if not fields.get(key):
        raise FormatError(f"the header has no {key!r}", code="bad_header", file=path, remedy="Fetch it again")
    return fields[key]


def _product(text: str, path: Path) -> int:
    try:
        sizes = [int(part) for part in text.split()]
    except ValueError:
        raise FormatError(f"the sizes {text!r} are no numbers", code="bad_header", file=path) from None
    guard.check_shape(sizes, path)
    return math.prod(sizes)


def _beside(named: str, path: Path) -> Path:
    if named.upper().startswith("LIST") or "%" in named or Path(named).name != named:
        raise FormatError(
            f"the voxels are in {named!r}, expected one file in the same folder",
            code="data_elsewhere",
            file=path,
            remedy="Convert it to one file, .nrrd or .mha",
        )
    return path.with_name(named)
