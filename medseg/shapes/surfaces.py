"""Distances between the surfaces of two masks, each surface element weighted by its area."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.shapes.boxes import bound_mask
from medseg.shapes.surface_table import tabulate_areas

Elements = Literal["surfel", "voxel"]

STEPS_TRIED = 3000  # about 9 voxels around; farther surfaces go to a tree, which costs more to begin with


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far each element of either surface lies from the other surface.

    Args:
        a_to_b_mm: distance of each element of the first mask's surface, millimetres; infinite where the second is
            empty, an array of no elements where the first is.
        a_areas: these elements' areas, square millimetres (for pictures lengths, millimetres).
        b_to_a_mm: the same from the second surface to the first.
        b_areas: these elements' areas.
    """

    a_to_b_mm: NDArray[np.float64]
    a_areas: NDArray[np.float64]
    b_to_a_mm: NDArray[np.float64]
    b_areas: NDArray[np.float64]


def measure_surface_distances(
    a: NDArray[Any], b: NDArray[Any], spacing_mm: Sequence[float], *, elements: Elements = "surfel"
) -> SurfaceDistances:
    """The distances between the surfaces of two masks.

    A surface element lies where eight neighbouring voxels are neither all in nor all out; its place is the corner
    they share, its area that of the marching-cubes triangles between them. Beyond the array all is outside. Where
    the array has a single voxel along an axis it is a picture: elements lie among four voxels and have lengths.

    As ``voxel``, an element is instead a voxel of the mask that has a neighbour outside, at its centre, by face (in a
    picture by edge); all weigh 1.

    Args:
        a: non-zero inside, (i, j, k).
        b: the other mask on the same grid.
        spacing_mm: distance of neighbouring voxels along i, j, k, millimetres; the axes are taken as perpendicular.
        elements: ``surfel`` or ``voxel``.
    Returns:
        distances and areas in both directions, exact, in no particular order.
    Raises:
        ValueError: the masks have not the same three axes, or the spacing is not three positive numbers.
    Source: Nikolov et al., J Med Internet Res 2021;23(7):e26151 (the surface-distance package's definition).
        ``voxel``: the border by erosion with the six neighbours of MONAI, MetricsReloaded and MedPy.
    """
    spacing = tuple(float(value) for value in spacing_mm)
    if a.ndim != 3 or a.shape != b.shape:
        raise ValueError(f"the masks have the shapes {a.shape} and {b.shape}, expected one shape (i, j, k)")
    if len(spacing) != 3 or not all(math.isfinite(value) and value > 0 for value in spacing):
        raise ValueError(f"a spacing is three positive numbers, not {spacing_mm}")
    box = bound_mask(np.asarray(a, dtype=bool) | np.asarray(b, dtype=bool))
    if box is None:
        nothing = np.zeros(0)
        return SurfaceDistances(nothing, nothing, nothing, nothing)
    grid = _make_grid(spacing, _find_flat_axis(a))
    find = _find_surfels if elements == "surfel" else _find_border
    first, second = find(a[box], grid), find(b[box], grid)
    return SurfaceDistances(
        _measure_nearest(first, second, grid), first.areas, _measure_nearest(second, first, grid), second.areas
    )


def find_border(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """The outermost layer of a mask: its voxels with a neighbour outside, by face (in a picture by edge).

    Args:
        mask: non-zero inside, (i, j, k); where an axis has a single voxel it is a picture. Beyond it all is outside.
    Returns:
        (i, j, k), true in the layer.
    """
    from medseg.shapes import surface_kernels

    border = np.zeros(mask.shape, np.uint8)
    surface_kernels.mark_border(_surround(mask, _find_flat_axis(mask)), border, np.zeros(3, np.int64))
    return border.view(np.bool_)


@dataclass(frozen=True, eq=False)
class _Grid:
    """What the search knows before it sees a mask.

    Args:
        flat_axis: the axis along which a picture has its single voxel.
        moves: differences of index from near to far, (step, 3).
        lengths_mm: their lengths.
        reach: how far they lead along each axis, voxels: the margin that a search needs.
    """

    spacing_mm: tuple[float, ...]
    flat_axis: int | None
    moves: NDArray[np.int64]
    lengths_mm: NDArray[np.float64]
    reach: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Surface:
    """Surface elements: the code of each cube of the grid with its margin, where codes are not 0, the areas there."""

    codes: NDArray[np.uint8]
    places: NDArray[np.int64]
    areas: NDArray[np.float64]


@functools.lru_cache(maxsize=32)
def _make_grid(spacing_mm: tuple[float, ...], flat_axis: int | None) -> _Grid:
    """The grid with about STEPS_TRIED nearest neighbours: those within a ball, for pictures within a disc."""
    axes = [axis for axis in range(3) if axis != flat_axis]
    cell = math.prod(spacing_mm[axis] for axis in axes)
    unit_ball = math.pi if len(axes) == 2 else 4 / 3 * math.pi
    radius_mm = (STEPS_TRIED * cell / unit_ball) ** (1 / len(axes))
    reach = tuple(0 if axis == flat_axis else int(radius_mm / spacing_mm[axis]) for axis in range(3))
    moves = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.sqrt(((moves * spacing_mm) ** 2).sum(axis=1))
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= radius_mm]
    return _Grid(spacing_mm, flat_axis, moves[order], lengths[order], reach)


def _find_surfels(mask: NDArray[Any], grid: _Grid) -> _Surface:
    from medseg.shapes import surface_kernels

    # A picture becomes two equal layers one millimetre apart: the area of their surface is its contour's length.
    spacing = [1.0 if axis == grid.flat_axis else value for axis, value in enumerate(grid.spacing_mm)]
    shape = [2 if axis == grid.flat_axis else n + 2 for axis, n in enumerate(mask.shape)]
    inside = np.zeros(shape, np.bool_)
    inside[tuple(slice(None) if axis == grid.flat_axis else slice(1, -1) for axis in range(3))] = mask
    codes = np.zeros([n - 1 + 2 * margin for n, margin in zip(shape, grid.reach, strict=True)], np.uint8)
    count = surface_kernels.encode_cubes(inside, codes, np.array(grid.reach))
    places, found = np.empty(count, np.int64), np.empty(count, np.uint8)
    surface_kernels.list_cubes(codes.reshape(-1), places, found)
    return _Surface(codes, places, tabulate_areas(spacing)[found])


def _find_border(mask: NDArray[Any], grid: _Grid) -> _Surface:
    from medseg.shapes import surface_kernels

    codes = np.zeros([n + 2 * margin for n, margin in zip(mask.shape, grid.reach, strict=True)], np.uint8)
    count = surface_kernels.mark_border(_surround(mask, grid.flat_axis), codes, np.array(grid.reach))
    places, found = np.empty(count, np.int64), np.empty(count, np.uint8)
    surface_kernels.list_cubes(codes.reshape(-1), places, found)
    return _Surface(codes, places, np.ones(count))


def _find_flat_axis(mask: NDArray[Any]) -> int | None:
    return next((axis for axis in (2, 1, 0) if mask.shape[axis] == 1), None)


def _surround(mask: NDArray[Any], flat_axis: int | None) -> NDArray[np.bool_]:
    """The mask with a margin of one voxel outside; a picture as three equal layers, so that none ends along there."""
    inside = np.zeros([n + 2 for n in mask.shape], np.bool_)
    inside[tuple(slice(None) if axis == flat_axis else slice(1, -1) for axis in range(3))] = mask
    return inside


def _measure_nearest(start: _Surface, goal: _Surface, grid: _Grid) -> NDArray[np.float64]:
    from medseg.shapes import surface_kernels

    distances = np.full(start.places.size, np.inf)
    if not start.places.size or not goal.places.size:
        return distances
    steps = grid.moves @ np.array(goal.codes.strides)
    codes = goal.codes.reshape(-1)
    if surface_kernels.search_nearest(start.places, codes, steps, grid.lengths_mm, distances):
        far = np.flatnonzero(np.isinf(distances))
        distances[far] = _search_tree(start.places[far], goal, grid.spacing_mm)
    return distances


def _search_tree(places: NDArray[np.int64], goal: _Surface, spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Distances from places farther from the surface than the steps lead."""
    from scipy.spatial import KDTree

    def locate(flat: NDArray[np.int64]) -> Any:
        return np.stack(np.unravel_index(flat, goal.codes.shape), axis=1) * np.array(spacing_mm)

    tree = KDTree(locate(goal.places))  # type: ignore[no-untyped-call]
    return np.asarray(tree.query(locate(places))[0], dtype=np.float64)  # type: ignore[no-untyped-call]
