"""TIFF pictures and stacks, through tifffile."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError
from medseg.io.compression import LARGEST_RATIO

_SMALL_BYTES = 1 << 28
_IMAGEJ_MM = {"micron": 0.001, "um": 0.001, "\u00b5m": 0.001, "\\u00b5m": 0.001, "mm": 1.0, "cm": 10.0}


def read_tiff(path: Path) -> tuple[NDArray[Any], tuple[float, float, float]]:
    """The pixels of a TIFF file, (channel, row, column, page), and its spacing along rows, columns and pages.

    Args:
        path: the file, already known to be a TIFF.
    Returns:
        the pixels of its first series, transparency left out; and the spacing in millimetres, 1 where it has none.
    Raises:
        FormatError: truncated, damaged, or with more axes than one of pages.
    """
    import tifffile

    try:
        with _complaints("tifffile") as complaints, tifffile.TiffFile(path) as file:
            series = file.series[0]
            if series.nbytes > max(_SMALL_BYTES, path.stat().st_size * LARGEST_RATIO):
                raise ValueError(f"{series.nbytes} bytes of pixels are declared, more than the file can hold")
            axes, pixels = series.axes, series.asarray()
            spacing = _tiff_spacing(file)
            if complaints:
                raise ValueError(complaints[0])
    except Exception as error:
        raise unreadable(path, error) from None
    if pixels.shape != tuple(series.shape):
        raise FormatError(f"pixels of shape {pixels.shape}, declared {series.shape}", code="truncated", file=path)
    pages = [axis for axis, size in zip(axes, pixels.shape, strict=True) if axis not in "YXSC" and size > 1]
    if len(pages) > 1:
        raise FormatError(f"a stack along {' and '.join(pages)}, expected one", code="four_dimensions", file=path)
    squeezed = [n for n, axis in enumerate(axes) if axis not in "YXSC" and axis not in pages]
    pixels = pixels.squeeze(tuple(squeezed))
    axes = "".join(axis for axis in axes if axis in "YXSC" or axis in pages)
    for axis in ("S", "C", "Y", "X", *(pages or ["Z"])):
        if axis not in axes:
            pixels, axes = pixels[..., None], axes + axis
    order = [axes.index(axis) for axis in ("C", "S", "Y", "X", *(pages or ["Z"]))]
    pixels = pixels.transpose(order)
    pixels = pixels[:, : drop_alpha(pixels.shape[1])]
    return np.ascontiguousarray(pixels.reshape(-1, *pixels.shape[2:])), spacing


@contextlib.contextmanager
def _complaints(name: str) -> Iterator[list[str]]:
    # tifffile reads what is left of a damaged file and says so in its log alone.
    found: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                found.append(record.getMessage())

    collector = Collector(logging.ERROR)
    logging.getLogger(name).addHandler(collector)
    try:
        yield found
    finally:
        logging.getLogger(name).removeHandler(collector)


def _tiff_spacing(file: Any) -> tuple[float, float, float]:
    # Only ImageJ's unit is a length in the specimen; the resolution tags alone speak of paper.
    details = file.imagej_metadata or {}
    unit_mm = _IMAGEJ_MM.get(str(details.get("unit", "")).lower())
    tags = file.pages[0].tags
    if unit_mm is None or "XResolution" not in tags or "YResolution" not in tags:
        return 1.0, 1.0, 1.0
    per_unit = [tags[name].value[0] / max(tags[name].value[1], 1) for name in ("YResolution", "XResolution")]
    if min(per_unit) <= 0:
        return 1.0, 1.0, 1.0
    return unit_mm / per_unit[0], unit_mm / per_unit[1], unit_mm * float(details.get("spacing", 1.0) or 1.0)


def count_tiff_channels(path: Path) -> int:
    """How many channels a TIFF file has, from its header, transparency left out; raises FormatError."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            sizes = dict(zip(series.axes, series.shape, strict=True))
    except Exception as error:
        raise unreadable(path, error) from None
    return drop_alpha(int(sizes.get("S", 1))) * int(sizes.get("C", 1))


def drop_alpha(samples: int) -> int:
    """How many samples of a pixel are left without transparency: 1 of 2, 3 of 4."""
    return {2: 1, 4: 3}.get(samples, samples)


def unreadable(path: Path, error: Exception) -> FormatError:
    """The FormatError for whatever a decoder of pictures raised; on damaged data they raise errors of every kind."""
    return FormatError(f"cannot be read: {error}", code="corrupt", file=path, remedy="Fetch or write it again")
