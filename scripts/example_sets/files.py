"""Files whose bytes depend on their content alone: no time, no name, no machine."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medseg.core import atomic
from medseg.core.geometry import Geometry
from medseg.core.results import format_csv

SCANNER_SPACE = 1  # NIfTI's code for coordinates of the scanner


def write_nifti(path: Path, array: NDArray[Any], grid: Geometry) -> None:
    """Write an array (i, j, k) as NIfTI-1 with the grid as sform and qform, gzipped without a time stamp."""
    image = nibabel.Nifti1Image(array, grid.affine)
    image.set_sform(grid.affine, SCANNER_SPACE)
    image.set_qform(grid.affine, SCANNER_SPACE)
    image.header.set_xyzt_units("mm", "sec")
    stream = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=stream, mtime=0) as packed:
        packed.write(image.to_bytes())
    atomic.write_bytes(path, stream.getvalue())


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an 8-bit grey picture (row, column)."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", optimize=True)
    atomic.write_bytes(path, stream.getvalue())


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows of the same columns as CSV."""
    atomic.write_text(path, format_csv(list(rows[0]), (row.values() for row in rows)))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON."""
    atomic.write_text(path, json.dumps(content, indent=1) + "\n")
