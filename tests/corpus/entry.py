"""One bad or unusual input: how it is built, and what must become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Writes a file at the path, and whatever belongs beside it, from an array (i, j, k) and its affine (RAS+, mm).
Build = Callable[[Path, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class Entry:
    """A bad or unusual file.

    Args:
        name: unique; the file's stem.
        ending: of the file.
        build: writes it.
        codes: it is refused with one of these codes; empty: it is accepted.
        says: a part of the reason, or, where it is accepted, of the note that must be said; empty where none is needed.
        same: accepted ones only: whether voxels and grid are those that the builder was given.
        roles: what the file can stand for: ``scan``, ``mask``.
        options: words of the command line that it is read with.
    """

    name: str
    ending: str
    build: Build
    codes: tuple[str, ...] = ()
    says: str = ""
    same: bool = True
    roles: tuple[str, ...] = ("scan", "mask")
    options: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether it must be refused."""
        return bool(self.codes)

    def write(self, folder: Path, array: np.ndarray, affine: np.ndarray) -> Path:
        """Build it in a folder, under its name."""
        path = folder / f"{self.name}{self.ending}"
        folder.mkdir(parents=True, exist_ok=True)
        self.build(path, array, affine)
        return path


def refused(
    name: str,
    ending: str,
    build: Build,
    codes: str,
    says: str = "",
    *,
    roles: tuple[str, ...] = ("scan", "mask"),
    options: tuple[str, ...] = (),
) -> Entry:
    """An entry that must be refused with one of the codes (separated by blanks)."""
    return Entry(name, ending, build, tuple(codes.split()), says, False, roles, options)


def accepted(
    name: str,
    ending: str,
    build: Build,
    says: str = "",
    *,
    same: bool = True,
    roles: tuple[str, ...] = ("scan", "mask"),
    options: tuple[str, ...] = (),
) -> Entry:
    """An entry that must be read."""
    return Entry(name, ending, build, (), says, same, roles, options)
