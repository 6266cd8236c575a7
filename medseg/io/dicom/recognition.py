"""Whether a path that a user names is DICOM; importing this module loads none of it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from medseg.core.errors import show_name
from medseg.io.files import is_image_name, stem_of

logger = logging.getLogger(__name__)

# Of what data sets hold besides images; nobody calls a slice so.
_NO_DICOM_ENDINGS = frozenset((".json", ".csv", ".tsv", ".txt", ".md", ".html", ".pt", ".safetensors", ".b2nd", ".py"))
# As many tell that a folder holds DICOM; the first of a tree of slices are slices.
_SNIFFED_FILES = 1000


def note_mixture(folder: str | Path) -> str | None:
    """A line where a folder holds images of another format and DICOM files beside them, of which the images are read.

    Args:
        folder: whatever a user names.
    Returns:
        the line; None of a file, of a folder without images or without DICOM, and where every DICOM file is called
        after an image, as those that ``medseg predict`` writes beside a mask.
    """
    stems: set[str] = set()
    others: list[Path] = []
    for place, inner, names in os.walk(folder):
        inner.sort()
        for name in sorted(names):
            path = Path(place, name)
            if is_image_name(path):
                stems.add(stem_of(path))
            elif path.suffix.lower() not in _NO_DICOM_ENDINGS:
                others.append(path)
    if not stems:
        return None
    others = [path for path in others if not _is_called_after(path, stems)]
    if not others:
        return None
    from medseg.io.dicom.walk import holds_dicom

    found = [path for path in others[:_SNIFFED_FILES] if holds_dicom(path)]
    if not found:
        return None
    count = f"{len(found)} DICOM files{' or more' if len(others) > _SNIFFED_FILES else ''}"
    return (
        f"{folder} holds images and DICOM files: the images are read, and {count} are not; the first is"
        f" {show_name(str(found[0]))}. Give the DICOM files in a folder of their own to have them read"
    )


def tell_mixture(folder: str | Path) -> str:
    """Say on the log where DICOM files among images are not read; what it said, in few words, empty where nothing."""
    line = note_mixture(folder)
    if line is None:
        return ""
    logger.warning("%s", line)
    return "; DICOM files in it are not read"


def _is_called_after(path: Path, stems: set[str]) -> bool:
    return any(path.name[:end] in stems for end, letter in enumerate(path.name) if letter == ".")


def is_dicom_tree(path: str | Path) -> bool:
    """Whether a path is a DICOM file or a folder of such, at any depth, with no image of another format among them.

    Args:
        path: whatever a user names.
    Returns:
        True or False; False too where there is nothing.
    """
    path = Path(path)
    if path.is_file():
        if is_image_name(path):
            return False
    elif any(is_image_name(Path(name)) for _, _, names in os.walk(path) for name in names):
        return False
    from medseg.io.dicom.walk import holds_dicom

    return holds_dicom(path)
