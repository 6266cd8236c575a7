"""Drawing a plane with outlines and names, in square pixels, as a viewer without overlays shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medseg.core.errors import show_name

Rgb = tuple[int, int, int]

_LONGER_SIDE = 768
# The usual reading window of soft tissue, level 40 width 400 (HU).
_SOFT_TISSUE_HU = (-160.0, 240.0)
_LETTERS = 16  # height of a line of text in pixels
_LONGEST_NAME = 40


def settle_window(grey: NDArray[Any], modality: str, window: tuple[float, float] | None) -> tuple[float, float]:
    """The intensities to show as black and as white.

    Args:
        grey: the plane.
        modality: of the series.
        window: as the caller wants it; None for the usual one.
    Returns:
        low and high, low below high.
    """
    if window is None and modality == "CT":
        window = _SOFT_TISSUE_HU
    if window is None:
        finite = grey[np.isfinite(grey)]
        low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0)
        window = (float(low), float(high))
    return window if window[1] > window[0] else (window[0], window[0] + 1.0)


def draw_key_slice(
    grey: NDArray[Any],
    spacing_mm: tuple[float, float],
    window: tuple[float, float],
    outlines: Sequence[tuple[NDArray[np.bool_], Rgb, str]],
) -> NDArray[np.uint8]:
    """A plane as a colour picture.

    Args:
        grey: intensities, (row, column).
        spacing_mm: between rows, between columns.
        window: intensities shown as black and as white.
        outlines: masks, (row, column), with their colours and names.
    Returns:
        (row, column, 3), pixels square in millimetres; the outline is the outermost layer of pixels within each mask.
    """
    sides = grey.shape[0] * spacing_mm[0], grey.shape[1] * spacing_mm[1]
    height, width = (max(16, round(side * _LONGER_SIDE / max(sides))) for side in sides)
    share = (np.nan_to_num(grey.astype(np.float32), nan=window[0]) - window[0]) / (window[1] - window[0])
    levels = Image.fromarray((np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8))
    picture = np.repeat(np.asarray(levels.resize((width, height), Image.Resampling.BILINEAR))[..., None], 3, axis=2)
    rows, columns = (
        np.minimum(np.arange(size) * count // size, count - 1)
        for size, count in zip((height, width), grey.shape, strict=True)
    )
    for mask, colour, _ in outlines:
        picture[_find_rim(mask[np.ix_(rows, columns)])] = colour
    return _add_names(picture, [(name, colour) for _, colour, name in outlines])


def _find_rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask that have a neighbour outside it, or lie at the picture's edge."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _add_names(picture: NDArray[np.uint8], names: Sequence[tuple[str, Rgb]]) -> NDArray[np.uint8]:
    image = Image.fromarray(picture)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(_LETTERS)
    room = picture.shape[0] // (_LETTERS + 4) - 1
    for line, (name, colour) in enumerate(names[: max(room, 0)]):
        # The font has Latin letters alone; others become escapes rather than empty boxes.
        text = show_name(name)[:_LONGEST_NAME].encode("latin-1", "backslashreplace").decode("latin-1")
        pen.text((6, 4 + line * (_LETTERS + 4)), text, fill=colour, font=font, stroke_width=2, stroke_fill=(0, 0, 0))
    return np.asarray(image)
