"""On which slice each contour lies: told by where its points are, never by the images that the file refers to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry

# Points within a quarter of a slice distance of a slice's middle were drawn on it and rounded; at a half nobody could
# say on which of two.
ON_PLANE_SLICES = 0.25
# Index coordinates are rounded to a millionth of a voxel, so that a line through the middles of voxels, or one that
# comes back the same way, is the same in whichever direction the file writes it.
KEPT_DECIMALS = 6
# From so many planes on, equal gaps between all of them are no coincidence.
_LEAST_SKIPPED_PLANES = 3
_AXES = (2, 0, 1)


@dataclass(frozen=True, eq=False)
class PlacedContour:
    """A contour in a plane of a grid.

    Args:
        plane: index of the plane along the axis that all contours of the structure share.
        points: (point, 2), index coordinates along the two other axes in their order.
        exclusive: whether it is combined with others by exclusive or.
    """

    plane: int
    points: NDArray[np.float64]
    exclusive: bool


@dataclass(frozen=True, eq=False)
class PlacedRoi:
    """A structure's contours on a grid.

    Args:
        axis: which index is constant on each contour: 2 for contours on the slices themselves.
        contours: those that lie in the grid.
        notes: what was left out or looks doubtful, a line each.
    """

    axis: int
    contours: tuple[PlacedContour, ...]
    notes: tuple[str, ...]


def place_contours(
    contours: Sequence[tuple[NDArray[np.float64], bool]],
    geometry: Geometry,
    name: str,
    file: str,
    *,
    skipped: str = "refuse",
) -> PlacedRoi:
    """The planes of a grid that a structure's contours lie in.

    Args:
        contours: of each, its points in mm, (point, 3), LPS, and whether it is combined by exclusive or.
        geometry: the grid.
        name: of the structure, for messages, as it may be shown.
        file: for messages.
        skipped: what becomes of contours on every n-th plane alone: ``refuse``, or ``keep`` them as they are.
    Returns:
        the contours in index coordinates; those beyond the grid's planes are left out and noted.
    Raises:
        GeometryError: a contour lies in no plane of the grid or between two, all of them lie beyond it, or they lie on
            every n-th plane alone and ``skipped`` is ``refuse``.
    """
    points = [to_index(contour, geometry) for contour, _ in contours]
    axis = _choose_axis(points, geometry)
    if axis is None:
        raise _off_planes(points, geometry, name, file)
    rest = [other for other in range(3) if other != axis]
    planes = [round(float(part[:, axis].mean())) for part in points]
    count = geometry.shape[axis]
    placed = tuple(
        PlacedContour(plane, part[:, rest], exclusive)
        for plane, part, (_, exclusive) in zip(planes, points, contours, strict=True)
        if 0 <= plane < count
    )
    step_mm = geometry.spacing_mm[axis]
    if not placed:
        away_mm = min(max(-plane, plane - count + 1) for plane in planes) * step_mm
        raise GeometryError(
            f"all contours of {name} lie {away_mm:.4g} mm or more beyond the scan's slices", code="outside_scan",
            file=file, remedy="Give the series that it was drawn on",
        )  # fmt: skip
    _refuse_outside(placed, geometry, axis, name, file)
    notes = _note_outside(planes, placed, geometry, axis, name)
    used = sorted({contour.plane for contour in placed})
    return PlacedRoi(axis, placed, (*notes, *_note_gaps(used, step_mm, name, file, skipped)))


def to_index(points_mm: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """Points in mm, (point, 3), LPS, as index coordinates of a grid, rounded to a millionth of a voxel."""
    inverse = np.linalg.inv(geometry.affine)
    x, y, z = (points_mm * (-1.0, -1.0, 1.0)).T
    # Term by term: a matrix product may round equal points differently by where in the list they stand.
    rows = [row[0] * x + row[1] * y + row[2] * z + row[3] for row in inverse[:3]]
    return np.round(np.stack(rows, axis=1), KEPT_DECIMALS)


def _choose_axis(points: Sequence[NDArray[np.float64]], geometry: Geometry) -> int | None:
    """The axis whose planes hold every contour; the slices' own where it does."""
    for axis in _AXES:
        if all(_is_on_plane(part[:, axis], geometry.shape[axis]) for part in points):
            return axis
    return None


def _is_on_plane(along: NDArray[np.float64], count: int) -> bool:
    plane = round(float(along.mean()))
    beyond = not 0 <= plane < count  # no slice lies there to compare with
    middle = float(along.mean()) if beyond else plane
    return float(np.abs(along - middle).max()) <= ON_PLANE_SLICES


def _off_planes(points: Sequence[NDArray[np.float64]], geometry: Geometry, name: str, file: str) -> GeometryError:
    step_mm = geometry.spacing_mm[2]
    spreads = [float(np.ptp(part[:, 2])) for part in points]
    if max(spreads) > 2 * ON_PLANE_SLICES:
        tilted = sum(spread > 2 * ON_PLANE_SLICES for spread in spreads)
        reason = (
            f"{tilted} of {len(points)} contours of {name} are not parallel to the scan's slices: one reaches over "
            f"{max(spreads) * step_mm:.4g} mm, the slices are {step_mm:.4g} mm apart"
        )
    else:
        offsets = [abs(float(part[:, 2].mean()) - round(float(part[:, 2].mean()))) for part in points]
        between = sum(offset > ON_PLANE_SLICES for offset in offsets)
        reason = (
            f"{between} of {len(points)} contours of {name} lie between the scan's slices: up to "
            f"{max(offsets) * step_mm:.4g} mm from the nearest, the slices are {step_mm:.4g} mm apart"
        )
    return GeometryError(
        reason, code="contours_off_slices", file=file, remedy="Give the series that it was drawn on"
    )  # fmt: skip


def _refuse_outside(
    placed: Sequence[PlacedContour], geometry: Geometry, axis: int, name: str, file: str
) -> None:  # fmt: skip
    """Refuse a structure all of whose contours lie beside the scan's picture: it was drawn on something else."""
    sides = np.array([geometry.shape[other] for other in range(3) if other != axis])
    beside = [np.maximum(-0.5 - part.points.max(axis=0), part.points.min(axis=0) - (sides - 0.5)) for part in placed]
    away = [float(voxels.max()) for voxels in beside]
    if min(away) > 0:
        raise GeometryError(
            f"all contours of {name} lie {min(away):.4g} voxels or more beside the scan's picture", code="outside_scan",
            file=file, remedy="Give the series that it was drawn on",
        )  # fmt: skip


def _note_outside(
    planes: Sequence[int], placed: Sequence[PlacedContour], geometry: Geometry, axis: int, name: str
) -> list[str]:
    notes = []
    if len(placed) < len(planes):
        notes.append(f"{len(planes) - len(placed)} of {len(planes)} contours of {name} lie beyond the scan's slices")
    sides = np.array([geometry.shape[other] for other in range(3) if other != axis])
    cut = sum(bool(np.any((part.points < -0.5) | (part.points > sides - 0.5))) for part in placed)
    if cut:
        notes.append(f"{cut} of {len(placed)} contours of {name} reach beyond the scan's picture and are cut there")
    return notes


def _note_gaps(planes: Sequence[int], step_mm: float, name: str, file: str, skipped: str) -> list[str]:
    gaps = np.diff(planes)
    if not gaps.size or gaps.max() == 1:
        return []
    if skipped == "refuse" and len(planes) >= _LEAST_SKIPPED_PLANES and gaps.min() == gaps.max():
        raise GeometryError(
            f"{name} is drawn on every {gaps[0]}. slice alone: its contours are {gaps[0] * step_mm:.4g} mm apart, the "
            f"slices {step_mm:.4g} mm",
            code="contours_skip_slices", file=file,
            remedy="Give the series that it was drawn on, or let the planning system interpolate its contours; "
            'write "skipped_slices": "keep" in rois.json where they are meant so',
        )  # fmt: skip
    missing = int((gaps - 1).sum())
    return [f"{missing} slices between those of {name} have no contour (up to {math.ceil(gaps.max() - 1)} in a row)"]
