"""Fields of text headers (NRRD, MetaImage), each checked before a decoder sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medseg.core.errors import FormatError, GeometryError
from medseg.io import guard

# Names of millimetres, and what stands where nobody filled the unit in.
_MILLIMETRES = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "???", "unknown", "?")


class GridData(NamedTuple):
    """Where the voxels of a NRRD or MetaImage file are.

    Args:
        path: the file that holds them.
        offset: the byte at which they begin.
        size: their bytes, decompressed.
        wrapper: of the compressed stream; None where there is none.
        big_endian: whether the most significant byte of a voxel comes first.
        notes: what the user should know about how the header is read, a line each.
        checksum: CRC-32 of the decompressed voxels, once they were read.
    """

    path: Path
    offset: int
    size: int
    wrapper: int | None
    big_endian: bool
    notes: tuple[str, ...] = ()
    checksum: int = 0


def need(fields: Mapping[str, str], key: str, path: Path) -> str:
    """A field's text; raises FormatError where it is missing or empty."""
    if not fields.get(key):
        raise FormatError(f"the header has no {key!r}", code="bad_header", file=path, remedy="Fetch it again")
    return fields[key]


def read_sizes(text: str, path: Path) -> tuple[int, ...]:
    """Whole positive numbers separated by blanks; raises FormatError."""
    try:
        sizes = tuple(int(part) for part in text.split())
    except ValueError:
        raise FormatError(
            f"the sizes {text[:80]!r} are no whole numbers", code="bad_header", file=path, remedy="Fetch it again"
        ) from None
    guard.check_shape(sizes, path)
    return sizes


def check_dimension(stated: str, sizes: Sequence[int], path: Path) -> None:
    """Refuse a number of dimensions that is not that of the sizes, or not 2 to 4; raises FormatError."""
    if stated.strip() != str(len(sizes)) or not 2 <= len(sizes) <= 4:
        raise FormatError(
            f"the header declares {stated[:20]!r} dimensions and {len(sizes)} sizes, expected the same, 2 to 4",
            code="bad_header",
            file=path,
            remedy="Fetch it again, or write one file per volume",
        )


def read_numbers(text: str, count: int, name: str, path: Path) -> tuple[float, ...]:
    """So many finite numbers separated by blanks; raises GeometryError."""
    try:
        numbers = tuple(float(part) for part in text.split())
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise GeometryError(
            f"{name} is {text[:80]!r}, expected {count} finite numbers", code="bad_affine", file=path,
            remedy="Correct the header",
        )  # fmt: skip
    return numbers


def check_lengths(lengths: Sequence[float], path: Path) -> None:
    """Refuse a spacing that is not positive; raises GeometryError."""
    if not all(math.isfinite(length) and length > 0 for length in lengths):
        text = " x ".join(f"{length:.4g}" for length in lengths)
        raise GeometryError(
            f"the header's spacing is {text}, expected positive numbers", code="bad_spacing", file=path,
            remedy="Correct the header's spacing",
        )  # fmt: skip


def check_units(units: Sequence[str], path: Path) -> None:
    """Refuse lengths in another unit than millimetres, which SimpleITK would take for millimetres."""
    other = [unit for unit in units if unit.strip().lower() not in _MILLIMETRES]
    if other:
        raise GeometryError(
            f"the header's lengths are in {other[0]!r}, expected mm", code="bad_unit", file=path,
            remedy="Convert its spacing and origin to millimetres",
        )  # fmt: skip


def find_beside(named: str, path: Path) -> Path:
    """The data file that a header names; raises FormatError for more than one, or one in another folder."""
    if named.upper().startswith("LIST") or "%" in named or Path(named).name != named or "\\" in named or "\0" in named:
        raise FormatError(
            f"the voxels are in {named[:200]!r}, expected one file in the same folder",
            code="data_elsewhere",
            file=path,
            remedy="Convert it to one file, .nrrd or .mha",
        )
    return path.with_name(named)
