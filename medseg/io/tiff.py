"""TIFF pictures and stacks, through tifffile; read in the child process that decodes."""

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
# TIFF 6.0, PhotometricInterpretation: what pixels mean. Others (CMYK, CIELab, ...) are neither grey nor RGB.
_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_KNOWN_MEANINGS = (_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _YCBCR)


def describe_tiff(path: str | Path) -> dict[str, Any]:
    """How many channels a TIFF file has, transparency left out, and the bytes of its pixels, by its header.

    Args:
        path: the file, already known to be a TIFF.
    Returns:
        ``channels`` and ``size``.
    Raises:
        FormatError: damaged, of several images, or of pixels that are neither grey nor RGB.
    """
    with _open(Path(path)) as file:
        series = _take_series(file, Path(path))
        sizes = dict(zip(series.axes, series.shape, strict=True))
        channels = drop_alpha(int(sizes.get("S", 1))) * int(sizes.get("C", 1))
        return {"channels": channels, "size": int(series.nbytes)}


def read_tiff(
    path: str | Path, *, as_mask: bool = False
) -> tuple[NDArray[Any], tuple[float, float, float], tuple[str, ...]]:
    """The pixels of a TIFF file.

    Args:
        path: the file, already known to be a TIFF.
        as_mask: whether a palette's numbers are meant, not its colours.
    Returns:
        the pixels, (channel, row, column, page), transparency left out; their spacing along rows, columns and pages in
        millimetres, 1 where it has none; and what the user should know, a line each.
    Raises:
        FormatError: truncated, damaged, of several images, with more axes than one of pages, or of pixels that are
            neither grey nor RGB.
    """
    path = Path(path)
    with _complaints("tifffile") as complaints, _open(path) as file:
        series = _take_series(file, path)
        meaning = int(series.keyframe.photometric)
        if meaning == _PALETTE and not as_mask:
            raise FormatError(
                "a picture with a palette, expected grey or RGB", code="bad_data_type", file=path,
                remedy="Convert it to RGB, or to grey if its numbers are intensities",
            )  # fmt: skip
        axes, pixels = series.axes, series.asarray()
        spacing = _read_spacing(file)
        if complaints:
            raise ValueError(complaints[0])
    if pixels.shape != tuple(series.shape):
        raise FormatError(
            f"pixels of shape {pixels.shape}, declared {series.shape}", code="truncated", file=path,
            remedy="Fetch it again",
        )  # fmt: skip
    notes = ("its white is stored as 0; values are taken as stored",) if meaning == _WHITE_IS_0 and not as_mask else ()
    return _order_axes(pixels, axes, path), spacing, notes


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except (FormatError, MemoryError):
        raise
    except Exception as error:  # on damaged data it raises errors of every kind
        raise FormatError(
            f"cannot be read: {error}", code="corrupt", file=path, remedy="Fetch or write it again"
        ) from None


def _take_series(file: Any, path: Path) -> Any:
    series = file.series[0]
    others = [other for other in file.series[1:] if not other.keyframe.is_reduced]
    if others:
        raise FormatError(
            f"{len(others) + 1} images of different kinds in one file, expected one image or one stack",
            code="several_images", file=path, remedy="Write one file per image",
        )  # fmt: skip
    if series.nbytes > max(_SMALL_BYTES, path.stat().st_size * LARGEST_RATIO):
        raise ValueError(f"{series.nbytes} bytes of pixels are declared, more than the file can hold")
    if int(series.keyframe.photometric) not in _KNOWN_MEANINGS:
        raise FormatError(
            f"pixels of the kind {series.keyframe.photometric.name}, expected grey or RGB", code="bad_data_type",
            file=path, remedy="Convert it to RGB",
        )  # fmt: skip
    return series


def _order_axes(pixels: NDArray[Any], axes: str, path: Path) -> NDArray[Any]:
    """Pixels along tifffile's axes as (channel, row, column, page)."""
    pages = [axis for axis, size in zip(axes, pixels.shape, strict=True) if axis not in "YXSC" and size > 1]
    if len(pages) > 1:
        raise FormatError(
            f"a stack along {' and '.join(pages)}, expected one", code="four_dimensions", file=path,
            remedy="Write one file per stack",
        )  # fmt: skip
    squeezed = [n for n, axis in enumerate(axes) if axis not in "YXSC" and axis not in pages]
    pixels = pixels.squeeze(tuple(squeezed))
    axes = "".join(axis for axis in axes if axis in "YXSC" or axis in pages)
    for axis in ("S", "C", "Y", "X", *(pages or ["Z"])):
        if axis not in axes:
            pixels, axes = pixels[..., None], axes + axis
    order = [axes.index(axis) for axis in ("C", "S", "Y", "X", *(pages or ["Z"]))]
    pixels = pixels.transpose(order)
    pixels = pixels[:, : drop_alpha(pixels.shape[1])]
    return np.ascontiguousarray(pixels.reshape(-1, *pixels.shape[2:]))


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


def _read_spacing(file: Any) -> tuple[float, float, float]:
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


def drop_alpha(samples: int) -> int:
    """How many samples of a pixel are left without transparency: 1 of 2, 3 of 4."""
    return {2: 1, 4: 3}.get(samples, samples)
