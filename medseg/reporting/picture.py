"""One picture of a slice: grey image, contours, diameters, scale bar and the patient's sides."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from medseg.reporting.views import View
from medseg.shapes.contours import trace_outline

_DPI = 100
_HALO = "#000000"
# Lines and letters grow with the picture, which the page shows at half its pixels or so: this makes a contour about
# 1.2 and a letter about 11 screen pixels. One brush is the width of a contour in points.
_BRUSH = 0.0028
_LETTER_BRUSHES = 8.5
# JPEG with full colour resolution: a third of PNG's size on noisy scans, thin coloured lines stay clean.
_JPEG_QUALITY = 88
# Matplotlib's fonts and caches are not made for several threads.
_DRAWING = threading.Lock()


@dataclass(frozen=True)
class Frame:
    """The part of a slice that a picture shows: rows ``top`` to ``bottom``, columns ``left`` to ``right``, ends not
    included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    def crop(self, flat: NDArray[Any]) -> NDArray[Any]:
        """This part of a slice (row, column)."""
        return flat[self.top : self.bottom, self.left : self.right]

    def grow(self, shape: tuple[int, int]) -> Frame:
        """One pixel more on each side, as far as the slice reaches, so that a cut contour is not closed at the edge."""
        return Frame(
            max(0, self.top - 1), max(0, self.left - 1), min(shape[0], self.bottom + 1), min(shape[1], self.right + 1)
        )


@dataclass(frozen=True)
class Outline:
    """A mask to outline, (row, column), the slice's pixel that it begins at, and how to draw it."""

    mask: NDArray[np.bool_]
    begin: tuple[int, int]
    colour: str
    dashed: bool


@dataclass(frozen=True)
class Stroke:
    """A line between two points (column, row) of a slice, with a text beside it."""

    points: NDArray[np.float64]
    colour: str
    text: str


def draw_picture(
    grey: NDArray[np.uint8],
    *,
    frame: Frame,
    view: View,
    outlines: Sequence[Outline],
    strokes: Sequence[Stroke],
    pixels: int,
) -> tuple[bytes, int, int]:
    """A slice as a JPEG with everything drawn on it.

    Args:
        grey: the framed part of the slice, (row, column), 0 to 255.
        frame: which part of the slice that is.
        view: the slice's plane; gives millimetres and the letters.
        outlines: masks to outline.
        strokes: lines to draw.
        pixels: the longer side of the picture.
    Returns:
        the JPEG's bytes, its width and its height; pixels are square in millimetres.
    """
    height_mm, width_mm = grey.shape[0] * view.row_mm, grey.shape[1] * view.column_mm
    pixels_per_mm = pixels / max(height_mm, width_mm)
    width, height = (max(16, round(side * pixels_per_mm)) for side in (width_mm, height_mm))
    enlarged = np.asarray(Image.fromarray(np.ascontiguousarray(grey)).resize((width, height), Image.Resampling.BICUBIC))
    traced = [_trace(outline, frame, (width, height)) for outline in outlines]
    with _DRAWING:
        canvas = Canvas(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        agg = FigureCanvasAgg(canvas)
        axes = canvas.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        canvas.figimage(enlarged, cmap="gray", vmin=0, vmax=255, origin="upper", zorder=-1)
        brush = pixels * _BRUSH
        for outline, lines in zip(outlines, traced, strict=True):
            _add_outline(axes, outline, lines, brush)
        for stroke in strokes:
            _add_stroke(axes, stroke, frame, (width, height), brush)
        _add_letters(axes, view, (width, height), brush)
        _add_scale_bar(axes, pixels_per_mm, (width, height), brush)
        draw: Callable[[], None] = agg.draw
        buffer: Callable[[], memoryview] = agg.buffer_rgba
        draw()
        colours = np.asarray(buffer())[..., :3]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return stream.getvalue(), width, height


def _trace(outline: Outline, frame: Frame, size: tuple[int, int]) -> list[NDArray[np.float64]]:
    rows_columns = (points + outline.begin for points in trace_outline(outline.mask))
    return [_to_pixels(points[:, ::-1], frame, size) for points in rows_columns]


def _to_pixels(points: NDArray[np.float64], frame: Frame, size: tuple[int, int]) -> NDArray[np.float64]:
    """(column, row) of the slice as (x, y) of the picture; y points down."""
    rows, columns = frame.shape
    return (points - (frame.left, frame.top) + 0.5) * (size[0] / columns, size[1] / rows)


def _add_outline(axes: Axes, outline: Outline, lines: list[NDArray[np.float64]], brush: float) -> None:
    if outline.dashed:
        dash = [(0, (3.0, 2.6))]
        axes.add_collection(
            LineCollection(lines, colors=_HALO, linewidths=1.5 * brush, linestyles=[(0, (2.2, 1.9))], alpha=0.6)
        )
        axes.add_collection(LineCollection(lines, colors=outline.colour, linewidths=1.1 * brush, linestyles=dash))
        return
    axes.add_collection(LineCollection(lines, colors=_HALO, linewidths=1.8 * brush, alpha=0.45))
    axes.add_collection(LineCollection(lines, colors=outline.colour, linewidths=brush))


def _add_stroke(axes: Axes, stroke: Stroke, frame: Frame, size: tuple[int, int], brush: float) -> None:
    ends = _to_pixels(stroke.points, frame, size)
    along = ends[1] - ends[0]
    length = float(np.hypot(*along))
    cap = np.array([-along[1], along[0]]) / length * 3.5 * brush if length else np.zeros(2)
    lines = [ends, *(np.array([end - cap, end + cap]) for end in ends)]
    axes.add_collection(LineCollection(lines, colors=_HALO, linewidths=1.8 * brush, alpha=0.6))
    axes.add_collection(LineCollection(lines, colors=stroke.colour, linewidths=0.9 * brush))
    if stroke.text:
        # Beside the end farther right; where that lies near the edge, beside the other one.
        right, left = ends[np.argmax(ends[:, 0])], ends[np.argmin(ends[:, 0])]
        at_right = bool(right[0] < 0.72 * size[0])
        (x, y), step = (right, 6 * brush) if at_right else (left, -6 * brush)
        _add_text(axes, x + step, y, stroke.text, "left" if at_right else "right", "center", brush, stroke.colour)


def _add_letters(axes: Axes, view: View, size: tuple[int, int], brush: float) -> None:
    (width, height), edge = size, 4.5 * brush
    places: tuple[tuple[float, float, Literal["left", "center", "right"], Literal["top", "center", "bottom"]], ...] = (
        (edge, height / 2, "left", "center"),
        (width - edge, height / 2, "right", "center"),
        (width / 2, edge, "center", "top"),
        (width / 2, height - edge, "center", "bottom"),
    )
    for letter, (x, y, side, level) in zip(view.letters, places, strict=True):
        if letter:
            _add_text(axes, x, y, letter, side, level, brush)


def _add_scale_bar(axes: Axes, pixels_per_mm: float, size: tuple[int, int], brush: float) -> None:
    length_mm = choose_bar_length(size[0] / pixels_per_mm)
    start, cap = 7 * brush, 2.4 * brush
    stop, y = start + length_mm * pixels_per_mm, size[1] - 7 * brush
    bar = [np.array(line) for line in ([(start, y), (stop, y)], *([(x, y - cap), (x, y + cap)] for x in (start, stop)))]
    axes.add_collection(LineCollection(bar, colors=_HALO, linewidths=2.2 * brush, alpha=0.6))
    axes.add_collection(LineCollection(bar, colors="white", linewidths=1.1 * brush))
    _add_text(axes, start, y - 1.8 * cap, f"{length_mm:g} mm", "left", "bottom", brush)


def _add_text(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    side: Literal["left", "center", "right"],
    level: Literal["top", "center", "bottom"],
    brush: float,
    colour: str = "white",
) -> None:
    halo = [withStroke(linewidth=1.1 * brush, foreground=_HALO)]
    size = _LETTER_BRUSHES * brush
    axes.text(x, y, text, color=colour, fontsize=size, weight="bold", ha=side, va=level, path_effects=halo)


def choose_bar_length(width_mm: float) -> float:
    """The scale bar for a picture of this width: the longest of 1, 2, 5, 10, ... mm up to a quarter of it."""
    decade = 10.0 ** np.floor(np.log10(width_mm / 4))
    return float(max(step * decade for step in (1, 2, 5) if step * decade <= width_mm / 4))
