"""One folder of DICOM files: how it is written, and what must become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.io.dicom_series import Plane, write


@dataclass(frozen=True)
class Situation:
    """A folder of files and what must become of it.

    Args:
        make: writes the files.
        counts: how many planes each volume has that is read right, smallest first.
        codes: why the others are refused, sorted.
        unused: how many files belong to no series.
        says: a part of a note that one of the volumes must leave; empty where none is needed.
        options: of ``read_series``.
    """

    make: Callable[[Path], object]
    counts: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()
    unused: int = 0
    says: str = ""
    options: dict[str, str] = field(default_factory=dict)


def slices(*piles: list[Plane]) -> Callable[[Path], object]:
    """Writes the slices of all piles as one series."""
    return lambda at: write(at, [plane for planes in piles for plane in planes])


def each(planes: list[Plane], keyword: str, values: list[object]) -> list[Plane]:
    """The slices, each with a value of its own of an attribute."""
    return [plane.but(**{keyword: value}) for plane, value in zip(planes, values, strict=True)]
