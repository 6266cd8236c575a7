"""Which files are images, and what is left of their names without the ending."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

NIFTI_ENDINGS = (".nii.gz", ".nii")
GRID_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
IMAGE_ENDINGS = NIFTI_ENDINGS + GRID_ENDINGS + PICTURE_ENDINGS

_CHANNEL = re.compile(r"^(.+)_(\d{4})$")


def split_ending(path: str | Path) -> tuple[str, str]:
    """The file's name without its ending, and the ending in lower case; ``""`` where it is no image's ending."""
    name = Path(path).name
    low = name.lower()
    ending = next((ending for ending in IMAGE_ENDINGS if low.endswith(ending) and len(low) > len(ending)), "")
    return (name[: -len(ending)], ending) if ending else (name, "")


def stem_of(path: str | Path) -> str:
    """The file's name without its image ending."""
    return split_ending(path)[0]


def is_image_name(path: str | Path) -> bool:
    """Whether the name is that of an image file; hidden files, temporary ones among them, are none."""
    return not Path(path).name.startswith(".") and bool(split_ending(path)[1])


def list_images(folder: str | Path) -> list[Path]:
    """The image files directly in a folder, sorted by name; empty where there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_image_name(path) and not path.is_dir())


def list_folders(folder: str | Path) -> list[Path]:
    """The folders directly in a folder, hidden ones left out, sorted by name."""
    return sorted(path for path in Path(folder).iterdir() if path.is_dir() and not path.name.startswith("."))


def split_channel(stem: str) -> tuple[str, int] | None:
    """``("case", 1)`` for ``case_0001``; None where the stem has no four-digit suffix."""
    match = _CHANNEL.match(stem)
    return (match[1], int(match[2])) if match else None


def group_channels(files: Iterable[Path]) -> dict[str, dict[int, Path]] | None:
    """Files by case and channel number; None where some file has no four-digit suffix."""
    groups: dict[str, dict[int, Path]] = {}
    for path in files:
        parts = split_channel(stem_of(path))
        if parts is None:
            return None
        groups.setdefault(parts[0], {})[parts[1]] = path
    return groups
