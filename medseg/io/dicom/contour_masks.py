"""Contours as masks: a voxel belongs to a structure where its middle lies inside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.io.dicom.contour_planes import KEPT_DECIMALS, PlacedContour, place_contours
from medseg.io.dicom.rtstruct_read import Roi

# A contour of which so large a share lies inside those around it is a hole that is drawn a little over its border.
HOLE_SHARE = 0.9
# A hole that is so large a share of what lies around it may be the same contour twice, drawn a little otherwise.
DOUBTFUL_HOLE_SHARE = 0.9
# Crossings of rows that are worked on at once: some tens of megabytes, whatever the file holds.
_CROSSINGS_AT_ONCE = 1 << 20


def fill_roi(
    roi: Roi, geometry: Geometry, file: str, *, skipped: str = "refuse"
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which voxels of a grid a structure holds.

    A voxel belongs to it where its middle lies inside by the even-odd rule; a middle on the line itself belongs to the
    side of higher index, so that structures that touch share no voxel. Contours inside one another are holes, and
    islands in holes; contours that merely overlap are united, unless the file asks for an exclusive or.

    Args:
        roi: the structure.
        geometry: the grid.
        file: for messages.
        skipped: what becomes of contours on every n-th slice alone: ``refuse``, or ``keep`` them as they are.
    Returns:
        the mask, (i, j, k), all false where nothing was drawn; and notes, a line each, on what was left out or looks
        doubtful.
    Raises:
        GeometryError: its contours do not lie in the grid's planes, or beyond the grid.
    """
    name = repr(roi.name)
    mask = np.zeros(geometry.shape, bool, order="F")
    notes = [f"{count} contours of {name} are left out: {reason}" for reason, count in roi.unused.items()]
    if not roi.contours:
        return mask, tuple(notes)
    lines = [(contour.points_mm, contour.exclusive) for contour in roi.contours]
    placed = place_contours(lines, geometry, name, file, skipped=skipped)
    notes += placed.notes
    by_plane: dict[int, list[PlacedContour]] = defaultdict(list)
    for contour in placed.contours:
        by_plane[contour.plane].append(contour)
    planes = np.moveaxis(mask, placed.axis, 2)
    repeated = united = doubtful = 0
    for plane, contours in by_plane.items():
        distinct = _drop_repeated(contours)
        repeated += len(contours) - len(distinct)
        changes = _fill_plane(planes[:, :, plane], distinct)
        united, doubtful = united + changes[0], doubtful + changes[1]
    if repeated:
        notes.append(f"{repeated} contours of {name} stand there twice and count once")
    if united:
        notes.append(f"{united} contours of {name} overlap others of their slice in part and are united with them")
    if doubtful:
        notes.append(
            f"{doubtful} contours of {name} are taken for holes though they fill {100 * DOUBTFUL_HOLE_SHARE:.0f} % or"
            " more of what is drawn around them: they may be there twice"
        )
    return mask, tuple(notes)


def _drop_repeated(contours: Sequence[PlacedContour]) -> list[PlacedContour]:
    """Contours of one plane, each once: twice the same would be a hole of itself."""
    if len(contours) == 1:
        return list(contours)
    # Wherever they begin and whichever way they run.
    return list({np.unique(contour.points, axis=0).tobytes(): contour for contour in contours}.values())


def _fill_plane(plane: NDArray[np.bool_], contours: Sequence[PlacedContour]) -> tuple[int, int]:
    """Paint the contours of one plane onto it; how many merely overlapped others, and how many are doubtful holes."""
    if len(contours) == 1:
        place, inside = fill_polygon(contours[0].points, plane.shape)
        plane[place] = inside
        return 0, 0
    if any(contour.exclusive for contour in contours):
        for contour in contours:
            place, inside = fill_polygon(contour.points, plane.shape)
            plane[place] ^= inside
        return 0, 0
    united = doubtful = 0
    filled = [fill_polygon(contour.points, plane.shape) for contour in contours]
    for place, inside in sorted(filled, key=lambda part: -int(np.count_nonzero(part[1]))):  # outer ones first
        region = plane[place]
        covered, size = int(np.count_nonzero(region & inside)), int(np.count_nonzero(inside))
        if size and covered >= HOLE_SHARE * size:
            doubtful += size >= DOUBTFUL_HOLE_SHARE * int(np.count_nonzero(plane))
            region[inside] = False
        else:
            united += covered > 0
            region[inside] = True
    return united, doubtful


def fill_polygon(points: NDArray[np.float64], shape: Sequence[int]) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Which pixels have their middle inside a polygon, by the even-odd rule.

    Args:
        points: its corners, (point, 2), index coordinates; the last is joined to the first.
        shape: of the picture, pixels along both axes; what lies beyond is cut.
    Returns:
        the box of the picture that holds them, and which pixels of it are inside; an empty box where none can be.
    """
    low = np.clip(np.ceil(points.min(axis=0)), 0, shape).astype(int)
    high = np.clip(np.floor(points.max(axis=0)) + 1, low, shape).astype(int)
    place = (slice(low[0], high[0]), slice(low[1], high[1]))
    width, height = (high - low).tolist()
    if not width or not height:
        return place, np.zeros((width, height), bool)
    # One parity more than pixels: what crosses behind the last pixel.
    parity = np.zeros((width + 1) * height, np.uint8)
    for at_i, at_j in _cross_rows(points - low, height):
        first = np.clip(np.ceil(at_i), 0, width).astype(np.intp)
        parity ^= (np.bincount(first * height + at_j, minlength=parity.size) & 1).astype(np.uint8)
    inside = np.bitwise_xor.accumulate(parity.reshape(width + 1, height)[:width], axis=0)
    return place, inside.astype(bool)


def _cross_rows(points: NDArray[np.float64], height: int) -> Any:
    """Where a polygon's edges cross the rows j = 0 to height - 1: batches of i coordinates and rows.

    Each edge crosses the rows from its lower end, itself included, to its upper end, excluded; it is looked at from its
    lower end, so that a way there and back crosses at the very same places.
    """
    ends = np.roll(points, -1, axis=0)
    up = (points[:, 1] < ends[:, 1])[:, None]
    lower, upper = np.where(up, points, ends), np.where(up, ends, points)
    first = np.clip(np.ceil(lower[:, 1]), 0, height).astype(np.intp)
    counts = np.clip(np.ceil(upper[:, 1]), first, height).astype(np.intp) - first
    crossing = np.flatnonzero(counts)
    batches = np.searchsorted(
        np.cumsum(counts[crossing]), np.arange(_CROSSINGS_AT_ONCE, counts.sum(), _CROSSINGS_AT_ONCE)
    )
    for edges in np.split(crossing, batches):
        number = np.repeat(edges, counts[edges])
        before = np.repeat(np.cumsum(counts[edges]) - counts[edges], counts[edges])
        rows = first[number] + np.arange(len(number)) - before
        low, high = lower[number], upper[number]
        share = (rows - low[:, 1]) / (high[:, 1] - low[:, 1])
        yield np.round(low[:, 0] + share * (high[:, 0] - low[:, 0]), KEPT_DECIMALS), rows
