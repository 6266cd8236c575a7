"""Every file of a folder tree, with what is no plain file told apart; nothing in it is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from medseg.core.errors import MedsegError, show_name
from medseg.io.dicom.encoding import is_dicom
from medseg.io.dicom.header_reading import ReadHeader, read_header
from medseg.io.guard import check_name, unreadable

# Headers are read in pieces of Python, one thread at a time; further threads wait for a network drive meanwhile.
THREADS = 8
# Below, starting threads takes longer than they save.
FEWEST_FOR_THREADS = 64
# A folder that is no study is told by this many of its files.
SNIFFED_FILES = 200
SNIFFED_BYTES = 160


def list_tree(root: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """All files below a folder, links followed, no folder visited twice.

    Args:
        root: the folder, or a single file.
    Returns:
        the plain files, sorted, and what cannot be read, each with the reason.
    """
    if not root.is_dir():
        return [root], []
    files: list[Path] = []
    left: list[tuple[Path, str]] = []
    visited: set[tuple[int, int]] = set()
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        _sort_entry(entry, files, folders, left)
                    except OSError as error:  # a link to itself
                        left.append((Path(entry.path), unreadable(error, entry.path).reason))
        except OSError as error:
            left.append((folder, unreadable(error, folder).reason))
    return sorted(files), sorted(left)


def _sort_entry(entry: os.DirEntry[str], files: list[Path], folders: list[Path], left: list[tuple[Path, str]]) -> None:
    path = Path(entry.path)
    if entry.is_dir():
        folders.append(path)
    elif not entry.is_file():
        missing = entry.is_symlink() and not path.exists()
        left.append((path, "a link to nothing" if missing else "a named pipe, device or socket, not a plain file"))
    else:
        try:
            check_name(entry.name)
            files.append(path)
        except MedsegError as error:
            left.append((Path(show_name(str(path))), error.reason))


def read_headers(files: list[Path]) -> list[ReadHeader]:
    """The header of each file, or what is wrong with it; a file that is no DICOM has neither.

    Args:
        files: plain files.
    Returns:
        one per file, in their order.
    """
    if len(files) < FEWEST_FOR_THREADS:
        return [read_header(path) for path in files]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(read_header, files))


def holds_dicom(path: Path) -> bool:
    """Whether a file, or some file among the first of a tree, is DICOM.

    Args:
        path: a file or folder.
    Returns:
        True or False; False too where nothing can be read.
    """
    return any(map(_sniff, islice(_iterate_files(path), SNIFFED_FILES)))


def _iterate_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, inner, names in os.walk(path):
        inner.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _sniff(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb", buffering=0) as stream:
            return is_dicom(stream.read(SNIFFED_BYTES))
    except OSError:
        return False
