"""How a scan is turned for looking at: planes, sides and millimetres, as radiologists hang images."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry

Plane = Literal["axial", "coronal", "sagittal"]

# World axes (x right, y anterior, z superior) that each plane cuts and that run along its rows and its columns.
_WORLD_AXES: dict[Plane, tuple[int, int, int]] = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))
# A slice tilted by more than an eighth of a turn's half (22.5 degrees) gets its second letter, as on a console.
_SECOND_LETTER = float(np.sin(np.radians(22.5)))


@dataclass(frozen=True)
class View:
    """A plane of a scan, hung radiologically: the patient's right on the left, anterior or superior on top.

    Args:
        slice_axis: the array axis that the plane cuts.
        row_axis: the array axis that runs down the picture.
        column_axis: the array axis that runs across the picture.
        flip_rows: whether the picture runs against the row axis.
        flip_columns: whether the picture runs against the column axis.
        row_mm: distance of neighbouring rows.
        column_mm: distance of neighbouring columns.
        letters: the patient's sides at the left, right, top and bottom edge; empty where nobody knows them.
        shape: rows and columns.
    """

    plane: Plane
    slice_axis: int
    row_axis: int
    column_axis: int
    flip_rows: bool
    flip_columns: bool
    row_mm: float
    column_mm: float
    letters: tuple[str, str, str, str]
    shape: tuple[int, int]

    def cut(self, array: NDArray[Any], index: int) -> NDArray[Any]:
        """The slice ``index`` of an array (i, j, k) as the picture shows it, (row, column)."""
        flat = array[(slice(None),) * self.slice_axis + (index,)]
        turned = flat if self.row_axis < self.column_axis else flat.T
        return turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def place(self, index: Any) -> NDArray[np.float64]:
        """Index coordinates (..., 3) as (column, row) of the picture, pixel centres at whole numbers."""
        points = np.asarray(index, dtype=np.float64)
        row, column = points[..., self.row_axis], points[..., self.column_axis]
        return np.stack(
            [
                self.shape[1] - 1 - column if self.flip_columns else column,
                self.shape[0] - 1 - row if self.flip_rows else row,
            ],
            axis=-1,
        )


def make_view(geometry: Geometry, plane: Plane) -> View:
    """The view of a plane that lies nearest to the array's axes.

    Args:
        geometry: the scan's grid, oblique or not.
        plane: ``axial``, ``coronal`` or ``sagittal``.
    Returns:
        the view; a single picture that no header placed in a patient is shown as its file holds it (rows are i), and
        a grid without a place has no letters.
    """
    directions = geometry.affine[:3, :3] / np.array(geometry.spacing_mm)
    axis_of_world = _match_axes(directions)
    slice_axis, row_axis, column_axis = (axis_of_world[world] for world in _WORLD_AXES[plane])
    flip_rows, flip_columns = (directions[world, axis_of_world[world]] > 0 for world in _WORLD_AXES[plane][1:])
    if is_picture(geometry):
        slice_axis, row_axis, column_axis, flip_rows, flip_columns = 2, 0, 1, False, False
    down = directions[:, row_axis] * (-1 if flip_rows else 1)
    across = directions[:, column_axis] * (-1 if flip_columns else 1)
    letters = ("", "", "", "")
    if _is_placed(geometry):
        letters = (name_side(-across), name_side(across), name_side(-down), name_side(down))
    return View(
        plane=plane,
        slice_axis=slice_axis,
        row_axis=row_axis,
        column_axis=column_axis,
        flip_rows=bool(flip_rows),
        flip_columns=bool(flip_columns),
        row_mm=geometry.spacing_mm[row_axis],
        column_mm=geometry.spacing_mm[column_axis],
        letters=letters,
        shape=(geometry.shape[row_axis], geometry.shape[column_axis]),
    )


def choose_planes(geometry: Geometry) -> tuple[Plane, ...]:
    """The planes worth looking at: axial first; for a grid of one slice that slice's plane alone."""
    if is_picture(geometry):
        return ("axial",)
    planes: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
    views = [make_view(geometry, plane) for plane in planes]
    single = tuple(view.plane for view in views if geometry.shape[view.slice_axis] == 1)
    return single[:1] or planes


def is_picture(geometry: Geometry) -> bool:
    """Whether the grid is a single slice that no header placed in a patient (PNG, JPEG, TIFF)."""
    return geometry.shape[2] == 1 and not _is_placed(geometry)


def _is_placed(geometry: Geometry) -> bool:
    # Files without a place get axes along their own and the origin 0; no scanner puts its first voxel exactly there.
    return not np.array_equal(geometry.affine, np.diag(np.abs(np.diag(geometry.affine))))


def name_side(direction: NDArray[np.float64]) -> str:
    """The patient's side that a unit direction in RAS+ points to: ``L``, or ``LP`` where it is clearly tilted."""
    order = np.argsort(-np.abs(direction), kind="stable")
    named = [world for rank, world in enumerate(order) if rank == 0 or abs(direction[world]) > _SECOND_LETTER]
    return "".join(_LETTERS[world][0 if direction[world] > 0 else 1] for world in named)


def _match_axes(directions: NDArray[np.float64]) -> tuple[int, int, int]:
    # Each world axis gets an array axis of its own, the most parallel ones in sum, so that 45 degrees is no trouble.
    def agreement(axes: tuple[int, ...]) -> float:
        return float(sum(abs(directions[world, axis]) for world, axis in enumerate(axes)))

    x, y, z = max(permutations(range(3)), key=agreement)
    return x, y, z
