"""Where the frames of a DICOM segmentation lie on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.io.dicom.seg_object import SegObject
from medseg.io.guard import check_geometry

# Writers round positions and cosines to DICOM's 16 letters, some to three digits. A twentieth of a voxel off, at any
# corner, no voxel is mistaken for its neighbour.
TOLERANCE_VOXELS = 0.05
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_MOST_PLANES = 65535
# Planes nearer than this are one plane, which several segments share.
_SAME_PLANE_MM = 1e-3
_REMEDY = "Give the series that the segmentation was drawn on"


@dataclass(frozen=True, eq=False)
class Placement:
    """Where each frame's pixels lie on a grid, in whole voxels.

    Args:
        first: of the first pixel, (frame, 3).
        along, down: steps to the next column and to the next row, (frame, 3): -1, 0 or 1, along one axis each.
    """

    first: NDArray[np.int64]
    along: NDArray[np.int64]
    down: NDArray[np.int64]


def place_frames(seg: SegObject, like: Geometry) -> Placement:
    """Where the frames of a segmentation lie on a grid.

    Args:
        seg: the object.
        like: the grid; its axes may run in another order or direction, and frames may reach beyond it.
    Returns:
        the place of each frame.
    Raises:
        GeometryError: the pixels of some frame are not voxels of the grid.
    """
    inverse = np.linalg.inv(like.affine)
    turn = inverse[:3, :3].T
    along = seg.orientations[:, :3] * seg.spacing_mm[:, 1:] * _LPS_TO_RAS @ turn
    down = seg.orientations[:, 3:] * seg.spacing_mm[:, :1] * _LPS_TO_RAS @ turn
    first = seg.positions_mm * _LPS_TO_RAS @ turn + inverse[:3, 3]
    whole = [np.rint(part).astype(np.int64) for part in (first, along, down)]
    straight = (np.abs(whole[1]).sum(axis=1) == 1) & (np.abs(whole[2]).sum(axis=1) == 1)
    straight &= ~(whole[1] * whole[2]).any(axis=1)
    shift = np.abs(first - whole[0]).max(axis=1)
    lean = np.abs(along - whole[1]) * (seg.columns - 1) + np.abs(down - whole[2]) * (seg.rows - 1)
    bad = np.flatnonzero(~straight | (shift + lean.max(axis=1) > TOLERANCE_VOXELS))
    if bad.size:
        number = int(bad[0])
        turned = not straight[number] or lean[number].max() > TOLERANCE_VOXELS
        how = "runs in other directions or has another spacing" if turned else f"lies {shift[number]:.3g} voxels off it"
        raise GeometryError(
            f"frame {number + 1} of the segmentation {how}; the grid is {like.describe()}", code="other_grid",
            file=seg.path, remedy=_REMEDY,
        )  # fmt: skip
    return Placement(*whole)


def view_frame(
    placement: Placement, number: int, array: NDArray[Any], shape: tuple[int, int]
) -> tuple[NDArray[Any], slice, slice]:
    """A frame's voxels in an array on the grid.

    Args:
        placement: of all frames.
        number: of the frame, counted from 0.
        array: (i, j, k).
        shape: rows and columns of the frame.
    Returns:
        a view of those of its voxels that lie on the grid, (row, column), empty where none does; which rows of the
        frame they are, and which columns.
    """
    first, steps = placement.first[number], (placement.down[number], placement.along[number])
    axes = [int(np.abs(step).argmax()) for step in steps]
    across = 3 - sum(axes)
    if not 0 <= first[across] < array.shape[across]:
        return np.zeros((0, 0), array.dtype), slice(0, 0), slice(0, 0)
    plane = array[(slice(None),) * across + (int(first[across]),)]
    plane = plane if axes[0] < axes[1] else plane.T
    kept = []
    for side in range(2):
        size, place = plane.shape[side], int(first[axes[side]])
        if steps[side][axes[side]] < 0:
            plane, place = np.flip(plane, side), size - 1 - place
        begin, end = max(0, -place), max(0, min(shape[side], size - place))
        kept.append(slice(begin, max(begin, end)))
        window = slice(place + begin, place + kept[-1].stop)
        plane = plane[window] if side == 0 else plane[:, window]
    return plane, kept[0], kept[1]


def find_grid(seg: SegObject) -> Geometry:
    """The grid that a segmentation's frames lie on by themselves.

    Args:
        seg: the object.
    Returns:
        the smallest grid that holds every frame, planes that have no frame included: i along a row, j down the rows, k
        from plane to plane in the direction in which a row and a column make a right-handed system.
    Raises:
        GeometryError: frames lie in several directions, or their distances are no multiples of one step.
        FormatError: they are so far apart that there would be absurdly many planes between.
    """
    if np.ptp(seg.orientations, axis=0).max() > 1e-4 or np.ptp(seg.spacing_mm, axis=0).max() > 1e-5:
        raise GeometryError(
            "its frames lie in several directions or have several spacings, so that they make up no grid",
            code="mixed_orientation", file=seg.path, remedy=_REMEDY,
        )  # fmt: skip
    along, down = seg.orientations[0, :3], seg.orientations[0, 3:]
    normal = np.cross(along, down)
    heights = seg.positions_mm @ normal
    order = np.argsort(heights, kind="stable")
    levels = heights[order][np.diff(heights[order], prepend=-np.inf) > _SAME_PLANE_MM]
    step = _find_step(levels, seg)
    count = round((levels[-1] - levels[0]) / step) + 1
    if count > _MOST_PLANES:
        raise FormatError(
            f"its frames span {count} planes, expected {_MOST_PLANES} at most", code="bad_seg", file=seg.path
        )
    low, high = seg.positions_mm[order[0]], seg.positions_mm[order[-1]]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along * seg.spacing_mm[0, 1], down * seg.spacing_mm[0, 0]
    affine[:3, 2] = (high - low) / (count - 1) if count > 1 else normal * step
    affine[:3, 3] = low
    affine[:3] *= _LPS_TO_RAS[:, None]
    geometry = Geometry((seg.columns, seg.rows, count), affine)
    return check_geometry(geometry, seg.path)


def _find_step(levels: NDArray[np.float64], seg: SegObject) -> float:
    """The distance of planes: the stated one where the frames' heights are multiples of it, else their smallest gap."""
    gaps = np.diff(levels)
    candidates = [step for step in (seg.step_mm, float(gaps.min()) if gaps.size else None) if step]
    for step in candidates:
        if np.abs(gaps / step - np.rint(gaps / step)).max(initial=0) <= TOLERANCE_VOXELS:
            return step
    if not candidates:
        raise GeometryError("a single plane that states no thickness", code="no_place", file=seg.path, remedy=_REMEDY)
    raise GeometryError(
        f"its planes lie {gaps.min():.4g} to {gaps.max():.4g} mm apart, no multiples of one step",
        code="uneven_planes", file=seg.path, remedy=_REMEDY,
    )  # fmt: skip
