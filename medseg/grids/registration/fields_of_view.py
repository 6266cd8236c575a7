"""Where fields of view lie to one another, and the grids that scans are registered on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry

Matrix = NDArray[np.float64]

_STEPS = 16  # along each side, of the points by which a field of view is compared with another


def shift_by(offset_mm: NDArray[np.float64]) -> Matrix:
    """The 4x4 that moves points by an offset, millimetres."""
    matrix = np.eye(4)
    matrix[:3, 3] = offset_mm
    return matrix


def turn_about(matrix: Matrix, centre_mm: NDArray[np.float64], degrees: float) -> Iterator[Matrix]:
    """A motion followed by a turn either way about each of the world's axes through a point.

    Args:
        matrix: the motion, 4x4.
        centre_mm: the point.
        degrees: how far to turn.
    Returns:
        six 4x4.
    """
    for axis in range(3):
        first, second = (other for other in range(3) if other != axis)
        for angle in np.radians([-degrees, degrees]):
            turn = np.eye(4)
            turn[first, first] = turn[second, second] = np.cos(angle)
            turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
            turn[:3, 3] = centre_mm - turn[:3, :3] @ centre_mm
            yield turn @ matrix


def turn_by_quarters(matrix: Matrix, centre_mm: NDArray[np.float64]) -> Iterator[Matrix]:
    """A motion followed by each turn about a point after which the world's axes lie along one another again.

    Args:
        matrix: the motion, 4x4.
        centre_mm: the point.
    Returns:
        23 4x4, all but the motion itself.
    """
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            turn = np.eye(4)
            turn[:3, :3] = np.eye(3)[list(order)] * np.asarray(signs)[:, None]
            if np.linalg.det(turn) > 0 and not np.array_equal(turn, np.eye(4)):
                turn[:3, 3] = centre_mm - turn[:3, :3] @ centre_mm
                yield turn @ matrix


def measure_turn(matrix: Matrix) -> float:
    """The angle by which a motion turns, degrees; of an affine one, the turn nearest to it."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    return float(np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1.0, 1.0))))


def find_middle(field: Geometry) -> NDArray[np.float64]:
    """The middle of a field of view, world millimetres."""
    return field.to_world((np.array(field.shape) - 1) / 2)


def share_fields(fixed: Geometry, moving: Geometry, matrix: Matrix) -> float:
    """The part of the smaller of two fields of view that lies within the other one, 0 to 1.

    Args:
        fixed, moving: their grids.
        matrix: 4x4, from the moving scan's world to the fixed scan's.
    Returns:
        the larger of both shares, by points spread evenly over each field.
    """
    shares = []
    for asking, asked, there in ((fixed, moving, np.linalg.inv(matrix)), (moving, fixed, matrix)):
        steps = [(np.arange(_STEPS) + 0.5) / _STEPS * n - 0.5 for n in asking.shape]
        world = asking.to_world(np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3))
        index = asked.to_index(world @ there[:3, :3].T + there[:3, 3])
        shares.append(float(((index > -0.5) & (index < np.array(asked.shape) - 0.5)).all(axis=1).mean()))
    return max(shares)


def plan_copy(field: Geometry, longest_side: int, least_voxels: int) -> Geometry:
    """A grid of cubic voxels along the world's axes over all of a field of view.

    Args:
        field: the scan's grid.
        longest_side: voxels along the longest side at most.
        least_voxels: along each side.
    Returns:
        the grid, its x and y running down in RAS+, as they run up in LPS; voxels no smaller than the scan's.
    Raises:
        GeometryError: a side is too short.
    """
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in field.shape], indexing="ij")).reshape(3, -1).T
    world = field.to_world(corners)
    low, high = world.min(axis=0), world.max(axis=0)
    spacing = max(float((high - low).max()) / longest_side, min(field.spacing_mm))
    shape = np.maximum(np.ceil((high - low) / spacing - 1e-6).astype(int), 1)
    if shape.min() < least_voxels:
        raise GeometryError(
            f"an image of {field.describe()} is too thin to be registered", code="cannot_register",
            remedy="Bring single slices and pictures onto one grid first",
        )  # fmt: skip
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[:3, 3] = [high[0] - spacing / 2, high[1] - spacing / 2, low[2] + spacing / 2]
    return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)
