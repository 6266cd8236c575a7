"""Whether a path that a user names is DICOM; importing this module loads none of it."""

from __future__ import annotations

import os
from pathlib import Path

from medseg.io.files import is_image_name


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
