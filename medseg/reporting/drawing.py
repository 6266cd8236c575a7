"""The pictures of a case: a key slice for each label, and thumbnails of the whole scan through the smallest label."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.reporting.content import CaseFigures, Figure, Line
from medseg.reporting.palette import DIAMETER, REFERENCE, colour_on_image
from medseg.reporting.picture import Frame, Outline, Stroke, draw_picture
from medseg.reporting.views import View, choose_planes, is_picture, make_view
from medseg.reporting.windows import Window, choose_window, to_grey
from medseg.shapes.boxes import Box, bound_mask

# A page of more pictures is not looked at; the tables hold every label.
_MOST_KEY_SLICES = 6
_KEY_PIXELS = 640
_THUMBNAIL_PIXELS = 400
# A key slice shows the label in its surroundings: this many times its extent, and never less than this.
_SURROUNDINGS = 3.0
_LEAST_FIELD_MM = 90.0


@dataclass(frozen=True)
class _Scan:
    """What all pictures of a case need."""

    volume: Volume | None
    masks: tuple[tuple[Segmentation, bool], ...]  # each with whether it is the reference
    labels: LabelScheme
    lines: tuple[Line, ...]
    window: Window | None
    box: Box | None  # around all labels of both masks
    value_boxes: tuple[dict[int, Box], ...]  # of each mask: the box of each value, within that box


@dataclass(frozen=True)
class _Spot:
    """A label's key slice, why it was chosen, the label's box there (index coordinates) and its voxels in all."""

    label: str
    reason: str
    index: int
    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    voxels: int


def draw_case(
    volume: Volume | None,
    segmentation: Segmentation,
    reference: Segmentation | None,
    labels: LabelScheme,
    *,
    case: str,
    patient: str = "",
    day: int | None = None,
    lines: Sequence[Line] = (),
) -> CaseFigures:
    """The key slices and thumbnails of a case, with contours, encoded as JPEG.

    Args:
        volume: the scan, whose first channel is shown; None draws the contours on black.
        segmentation: the prediction, on the scan's grid; solid contours, a colour per label.
        reference: the reference, on the same grid; white dashed contours; None where there is none.
        labels: the label scheme.
        case: the case's name.
        patient: whom the scan belongs to; the case's name where empty.
        day: days since the patient's first scan, where known.
        lines: diameters to draw on the slices they belong to.
    Returns:
        the pictures: for each label (the first six that are there, in the scheme's order) the slice of its first line,
        or without a line the axial slice of its largest area; then the whole scan in up to three planes through the
        smallest label, but for an axial slice that is shown whole already. Without any label, the middle slices and a
        note.
    Raises:
        GeometryError: the scan, the prediction and the reference are not on one grid.
    """
    for name, other in (("scan", volume), ("reference", reference)):
        if other is not None and not other.geometry.same_grid(segmentation.geometry):
            found, expected = other.geometry.describe(), segmentation.geometry.describe()
            raise GeometryError(
                f"the {name} ({found}) is not on the prediction's grid ({expected})", code="other_grid", case=case,
                remedy="Give the scan and the reference that the prediction belongs to",
            )  # fmt: skip
    masks = ((segmentation, False), *(((reference, True),) if reference is not None else ()))
    box = _join_boxes([bound_mask(mask.array) for mask, _ in masks])
    window = choose_window(volume, box) if volume is not None else None
    value_boxes = tuple(_bound_values(mask.array[box]) if box else {} for mask, _ in masks)
    scan = _Scan(volume, masks, labels, tuple(lines), window, box, value_boxes)
    view = make_view(segmentation.geometry, choose_planes(segmentation.geometry)[0])
    spots = [spot for name in labels.names if (spot := _find_spot(scan, view, name)) is not None]
    shown = spots[:_MOST_KEY_SLICES]
    frames = [_frame_around(view, spot) for spot in shown]
    slices = [_draw_key_slice(scan, view, spot, frame) for spot, frame in zip(shown, frames, strict=True)]
    whole = {spot.index for spot, frame in zip(shown, frames, strict=True) if frame.shape == view.shape}
    slices += _draw_thumbnails(scan, spots, whole)
    note = "" if spots else "No label in this case: the middle slice is shown."
    if len(spots) > len(shown):
        note = f"Key slices of the first {len(shown)} of {len(spots)} labels; the tables hold all of them."
    return CaseFigures(case, patient or case, day, tuple(slices), note, has_reference=reference is not None)


def _join_boxes(boxes: Sequence[Box | None]) -> Box | None:
    there = [box for box in boxes if box is not None]
    if not there:
        return None
    return tuple(slice(min(s.start for s in spans), max(s.stop for s in spans)) for spans in zip(*there, strict=True))


def _bound_values(array: NDArray[Any]) -> dict[int, Box]:
    """The box of each value but 0, found in one pass, however many labels there are."""
    from scipy.ndimage import find_objects  # type: ignore[attr-defined]  # re-exported at run time

    return {value: box for value, box in enumerate(find_objects(array), start=1) if box is not None}


def _find_spot(scan: _Scan, view: View, name: str) -> _Spot | None:
    # The prediction decides; only where it lacks the label does the reference.
    if scan.box is None:
        return None
    for (segmentation, is_reference), boxes in zip(scan.masks, scan.value_boxes, strict=True):
        inner = _join_boxes([boxes.get(value) for value in scan.labels.labels[name]])
        if inner is None:
            continue
        mask = scan.labels.mask(segmentation.array[scan.box][inner], name)
        start = tuple(a.start + b.start for a, b in zip(scan.box, inner, strict=True))
        areas = np.count_nonzero(mask, axis=tuple(axis for axis in range(3) if axis != view.slice_axis))
        first_line = _find_line(scan, view, name, range(start[view.slice_axis], start[view.slice_axis] + len(areas)))
        index = int(np.argmax(areas))
        reason = "missed by the prediction" if is_reference else "largest area"
        if first_line is not None and areas[first_line.slice_index - start[view.slice_axis]]:
            index, reason = first_line.slice_index - start[view.slice_axis], "longest diameter"
        low, high = _bound_slice(mask, view.slice_axis, index, start)
        return _Spot(name, reason, low[view.slice_axis], low, high, int(areas.sum()))
    return None


def _find_line(scan: _Scan, view: View, name: str, slices: range) -> Line | None:
    lines = (line for line in scan.lines if line.label == name and line.slice_axis == view.slice_axis)
    return next((line for line in lines if line.slice_index in slices), None)


def _bound_slice(
    mask: NDArray[np.bool_], axis: int, index: int, start: Sequence[int]
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    # The box around what a slice of the mask holds; ``start`` is the mask's first voxel in the scan.
    flat = bound_mask(mask[(slice(None),) * axis + (slice(index, index + 1),)]) or (slice(0, 1),) * 3
    shift = [first + (index if other == axis else 0) for other, first in enumerate(start)]
    low = [a + span.start for a, span in zip(shift, flat, strict=True)]
    high = [a + span.stop for a, span in zip(shift, flat, strict=True)]
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _draw_key_slice(scan: _Scan, view: View, spot: _Spot, frame: Frame) -> Figure:
    caption = f"{spot.reason}, {_name_slice(scan, view, spot.index)}{f'; {scan.window.text}' if scan.window else ''}"
    return _draw(scan, view, spot.index, frame, _KEY_PIXELS, (spot.label, caption), key_label=spot.label)


def _draw_thumbnails(scan: _Scan, spots: Sequence[_Spot], whole: Container[int]) -> list[Figure]:
    geometry = scan.masks[0][0].geometry
    centre = [n // 2 for n in geometry.shape]
    if spots:
        smallest = min(spots, key=lambda spot: spot.voxels)
        centre = [(a + b - 1) // 2 for a, b in zip(smallest.start, smallest.stop, strict=True)]
    figures = []
    for number, plane in enumerate(choose_planes(geometry)):
        view = make_view(geometry, plane)
        if number == 0 and centre[view.slice_axis] in whole:
            continue
        frame = Frame(0, 0, *view.shape)
        title = plane.capitalize() if not is_picture(geometry) else "Whole picture"
        index = centre[view.slice_axis]
        words = (title, _name_slice(scan, view, index))
        figures.append(_draw(scan, view, index, frame, _THUMBNAIL_PIXELS, words))
    return figures


def _name_slice(scan: _Scan, view: View, index: int) -> str:
    count = scan.masks[0][0].geometry.shape[view.slice_axis]
    return f"slice {index + 1} of {count}" if count > 1 else "the only slice"


def _frame_around(view: View, spot: _Spot) -> Frame:
    """A square field of view around the label, within the slice; the whole slice where that is hardly more."""
    corners = view.place(np.array([spot.start, np.array(spot.stop) - 1]))
    low, high = corners.min(axis=0) - 0.5, corners.max(axis=0) + 0.5
    mm = np.array([view.column_mm, view.row_mm])
    field_mm = max(_SURROUNDINGS * float(((high - low) * mm).max()), _LEAST_FIELD_MM)
    size = np.array([view.shape[1], view.shape[0]])
    if field_mm >= 0.8 * float((size * mm).max()):
        return Frame(0, 0, *view.shape)
    extent = np.minimum(np.ceil(field_mm / mm), size).astype(int)
    start = np.clip(np.round((low + high + 1 - extent) / 2).astype(int), 0, size - extent)
    return Frame(int(start[1]), int(start[0]), int(start[1] + extent[1]), int(start[0] + extent[0]))


def _draw(
    scan: _Scan, view: View, index: int, frame: Frame, pixels: int, words: tuple[str, str], *, key_label: str = ""
) -> Figure:
    grey = np.zeros(frame.shape, np.uint8)
    if scan.volume is not None and scan.window is not None:
        grey = to_grey(frame.crop(view.cut(scan.volume.array[0], index)), scan.window)
    image, width, height = draw_picture(
        grey,
        frame=frame,
        view=view,
        outlines=_outlines(scan, view, index, frame),
        strokes=_strokes(scan, view, index, key_label),
        pixels=pixels,
    )
    return Figure(*words, image, "image/jpeg", width, height, is_key=bool(key_label))


def _outlines(scan: _Scan, view: View, index: int, frame: Frame) -> list[Outline]:
    outlines = []
    grown = frame.grow(view.shape)
    for segmentation, is_reference in scan.masks:
        flat: NDArray[Any] = grown.crop(view.cut(segmentation.array, index))
        if not flat.any():
            continue
        for name in scan.labels.names:
            mask = scan.labels.mask(flat, name)
            if mask.any():
                colour = REFERENCE if is_reference else colour_on_image(scan.labels.names, name)
                outlines.append(Outline(mask, (grown.top, grown.left), colour, dashed=is_reference))
    return outlines


def _strokes(scan: _Scan, view: View, index: int, key_label: str) -> list[Stroke]:
    return [
        Stroke(view.place(np.array([line.start, line.stop])), DIAMETER, line.text)
        for line in scan.lines
        if line.label == key_label and line.slice_axis == view.slice_axis and line.slice_index == index
    ]
