"""What a NRRD header declares (the format's definition: teem, "nrrd/format.html", NRRD0004 and NRRD0005)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from medseg.core.errors import FormatError
from medseg.io.compression import GZIP
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

# Section 5, "type".
_BYTES = {
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
# Section 6, "space": those whose axes are the patient's, which SimpleITK turns to its own.
_ANATOMICAL = {
    *("right-anterior-superior", "ras", "left-anterior-superior", "las", "left-posterior-superior", "lps"),
    *("right-anterior-superior-time", "rast", "left-anterior-superior-time", "last"),
    *("left-posterior-superior-time", "lpst"),
}
_SKIPS = ("line skip", "lineskip", "byte skip", "byteskip")


def read_nrrd_header(start: bytes, whole: bool, path: Path) -> GridData:
    """Where a NRRD file's voxels are, its grid's numbers checked.

    Args:
        start: the file's first bytes.
        whole: whether they are all of the file.
        path: for messages.
    Returns:
        the voxels' place.
    Raises:
        FormatError: the header has no end, lacks what is needed, or declares what is not read.
        GeometryError: the grid's numbers cannot be.
    """
    text, offset = _split(start, whole, path)
    lines = (line for line in text.splitlines()[1:] if not line.startswith("#") and ":=" not in line)
    fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    kind = need(fields, "type", path).lower()
    if kind not in _BYTES:
        raise FormatError(
            f"voxels of type {kind[:40]!r}, expected numbers", code="bad_data_type", file=path, remedy="Convert it"
        )
    sizes = read_sizes(need(fields, "sizes", path), path)
    check_dimension(need(fields, "dimension", path), sizes, path)
    wrapper = _read_encoding(fields, path)
    if wrapper is None and _BYTES[kind] > 1 and fields.get("endian", "").lower() not in ("little", "big"):
        raise FormatError(
            "the header does not say in which order bytes stand ('endian')", code="bad_header", file=path,
            remedy="Add 'endian: little', which most machines write",
        )  # fmt: skip
    notes = _check_grid(fields, sizes, path)
    size = _BYTES[kind] * math.prod(sizes)
    named = fields.get("data file", fields.get("datafile"))
    place, offset = (path, offset) if named is None else (find_beside(named, path), 0)
    return GridData(place, offset, size, wrapper, fields.get("endian", "").lower() == "big", notes)


def _split(start: bytes, whole: bool, path: Path) -> tuple[str, int]:
    ends = [start.find(mark) + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if mark in start]
    end = min(ends, default=len(start) if whole else 0)
    if not end:
        raise FormatError("the header has no end", code="corrupt", file=path, remedy="Fetch it again")
    return start[:end].decode("latin-1"), end


def _read_encoding(fields: Mapping[str, str], path: Path) -> int | None:
    encoding = need(fields, "encoding", path).lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise FormatError(
            f"the encoding {encoding[:40]!r}, expected raw or gzip", code="bad_encoding", file=path, remedy="Convert it"
        )
    if any(fields.get(key, "0") not in ("0", "") for key in _SKIPS):
        raise FormatError("the header skips bytes before the voxels", code="bad_header", file=path, remedy="Convert it")
    return None if encoding == "raw" else GZIP


def _check_grid(fields: Mapping[str, str], sizes: Sequence[int], path: Path) -> tuple[str, ...]:
    check_units([unit.strip('"') for unit in re.findall(r'"[^"]*"', fields.get("space units", ""))], path)
    check_units([unit.strip('"') for unit in re.findall(r'"[^"]*"', fields.get("units", ""))], path)
    directions, spacings = fields.get("space directions", ""), fields.get("spacings", "")
    notes = []
    if directions:
        vectors = [part for part in re.findall(r"none|\([^)]*\)", directions) if part != "none"]
        width = len(vectors[0].split(",")) if vectors else 0
        numbers = [read_numbers(v.strip("()").replace(",", " "), width, "a space direction", path) for v in vectors]
        check_lengths([math.hypot(*vector) for vector in numbers], path)
        if not 2 <= len(vectors) <= len(sizes):
            raise FormatError(
                f"{len(vectors)} space directions for {len(sizes)} axes", code="bad_header", file=path,
                remedy="Correct the header",
            )  # fmt: skip
        if fields.get("space", "").lower() not in _ANATOMICAL:
            notes.append(f"its space {fields.get('space', '')[:40]!r} names no patient's directions; LPS is taken")
    elif spacings:
        parts = [part for part in spacings.split() if part.lower() != "nan"]
        check_lengths(read_numbers(" ".join(parts), max(2, len(parts)), "spacings", path), path)
        notes.append("its header has no orientation; its axes are taken as left, posterior, superior")
    else:
        notes.append("its header states no spacing; 1 mm is taken")
    origin = fields.get("space origin", "")
    if origin:
        parts = origin.strip("() ").split(",")
        read_numbers(" ".join(parts), len(parts), "the space origin", path)
    return tuple(notes)
