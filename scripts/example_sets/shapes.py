"""Smooth shapes whose volume is known, and how much of each voxel they fill."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.spatial
from numpy.typing import NDArray

from medseg.core.geometry import Geometry

Array = NDArray[np.float64]

# Directions of the sphere quadrature: Gauss-Legendre along the polar cosine, even steps around the axis. Twice as many
# change the volume of the shapes used here by less than one part in a million.
POLAR_NODES = 160
AZIMUTH_NODES = 320


class Shape(Protocol):
    """A region of space.

    Attributes:
        reach: a point and a radius, mm: the shape lies in that ball (the radius may be infinite).
        steepness: the most that ``level`` changes over one millimetre near the surface.
    """

    @property
    def reach(self) -> tuple[Array, float]: ...

    @property
    def steepness(self) -> float: ...

    def level(self, points_mm: Array) -> Array:
        """A signed distance in all but name, mm, (n,) for points (n, 3): negative inside, 0 on the surface."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """A superellipsoid (power 2 or more) along the world's axes; an infinite half axis makes a column."""

    centre: tuple[float, float, float]
    half_axes: tuple[float, float, float]
    power: float = 2.0

    @property
    def reach(self) -> tuple[Array, float]:
        # A power above 2 fills the corners of the box around the ellipsoid, no more.
        return np.array(self.centre), float(np.linalg.norm(self.half_axes))

    @property
    def steepness(self) -> float:
        return 1.0  # for powers from 2 up: the gradient of the p-norm is never longer than 1

    def level(self, points_mm: Array) -> Array:
        scaled = (points_mm - np.array(self.centre)) / np.array(self.half_axes)
        norm = (np.abs(scaled) ** self.power).sum(axis=1) ** (1.0 / self.power)
        return np.asarray((norm - 1.0) * min(self.half_axes))


@dataclass(frozen=True, eq=False)
class Tube:
    """All points within a radius of a line of points (vessels, ribs)."""

    path_mm: Array
    radius_mm: float

    @cached_property
    def _tree(self) -> scipy.spatial.cKDTree:
        return scipy.spatial.cKDTree(_densify(self.path_mm, step_mm=self.radius_mm / 4))

    @property
    def reach(self) -> tuple[Array, float]:
        low, high = self.path_mm.min(axis=0), self.path_mm.max(axis=0)
        return (low + high) / 2, float(np.linalg.norm(high - low) / 2 + self.radius_mm)

    @property
    def steepness(self) -> float:
        return 1.0

    def level(self, points_mm: Array) -> Array:
        far = 4 * self.radius_mm + 8.0  # beyond any voxel that the surface could cross; saves the search most points
        distance, _ = self._tree.query(points_mm, distance_upper_bound=far)
        return np.asarray(np.minimum(distance, far) - self.radius_mm)


@dataclass(frozen=True, eq=False)
class Blob:
    """A star-shaped region: a superellipsoid whose radius swells and shrinks smoothly with the direction.

    Args:
        centre: the point that sees the whole surface, world mm.
        half_axes: of the superellipsoid, mm.
        waves: rows (amplitude, phase, x, y, z): each adds amplitude * cos(direction . (x, y, z) + phase) to the
            factor on the radius, which is 1 without waves.
    """

    centre: Array
    half_axes: Array
    waves: Array = field(default_factory=lambda: np.zeros((0, 5)))
    power: float = 2.0

    def radius_mm(self, directions: Array) -> Array:
        """Distance of the surface from the centre, mm, (n,), along unit vectors (n, 3)."""
        base = (np.abs(directions / self.half_axes) ** self.power).sum(axis=1) ** (-1.0 / self.power)
        factor = np.ones(len(directions))
        for amplitude, phase, *wave in self.waves:
            factor += amplitude * np.cos(directions @ np.array(wave) + phase)
        return np.asarray(base * factor)

    @property
    def reach(self) -> tuple[Array, float]:
        swell = 1.0 + np.abs(self.waves[:, 0]).sum()
        return self.centre, float(np.linalg.norm(self.half_axes) * swell)

    @property
    def steepness(self) -> float:
        return 2.0

    def level(self, points_mm: Array) -> Array:
        offset = points_mm - self.centre
        distance = np.sqrt((offset**2).sum(axis=1))
        directions = offset / np.maximum(distance, 1e-9)[:, None]
        directions[distance < 1e-9] = (1.0, 0.0, 0.0)
        return np.asarray(distance - self.radius_mm(directions))

    @cached_property
    def volume_ml(self) -> float:
        """The volume, ml: a third of the integral of the cubed radius over the sphere."""
        directions, weights = _sphere_nodes()
        return float((self.radius_mm(directions) ** 3 * weights).sum() / 3.0 / 1000.0)

    @cached_property
    def centroid_mm(self) -> Array:
        """The centre of mass, world mm."""
        directions, weights = _sphere_nodes()
        moment = ((self.radius_mm(directions) ** 4 * weights)[:, None] * directions).sum(axis=0) / 4.0
        return np.asarray(self.centre + moment / (self.volume_ml * 1000.0))

    @cached_property
    def diameter_mm(self) -> float:
        """The longest straight line between two points of the surface, mm (between the quadrature's directions)."""
        points = self.surface()
        points = points[scipy.spatial.ConvexHull(points).vertices]
        return float(scipy.spatial.distance.pdist(points).max())

    def surface(self) -> Array:
        """Points of the surface, (n, 3), world mm."""
        directions, _ = _sphere_nodes()
        directions = directions[::13]  # 4000 directions, about two degrees apart
        return np.asarray(self.centre + self.radius_mm(directions)[:, None] * directions)

    def scaled_to(self, volume_ml: float) -> Blob:
        """The same form with another volume, about the same centre."""
        return replace(self, half_axes=self.half_axes * (volume_ml / self.volume_ml) ** (1 / 3))

    def moved_to(self, centre: Array) -> Blob:
        """The same form at another place."""
        return replace(self, centre=centre)


def draw_waves(rng: np.random.Generator, amplitudes: tuple[float, ...], frequency: tuple[float, float]) -> Array:
    """Waves for a Blob, one an amplitude, with random directions, phases and frequencies (radians over the sphere)."""
    directions = rng.normal(size=(len(amplitudes), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions *= rng.uniform(*frequency, size=(len(amplitudes), 1))
    phases = rng.uniform(0, 2 * np.pi, size=len(amplitudes))
    return np.column_stack([amplitudes, phases, directions])


def measure_coverage(shape: Shape, grid: Geometry, subdivisions: int) -> NDArray[np.float32]:
    """How much of each voxel a shape fills.

    Args:
        shape: the region, world mm.
        grid: the voxels.
        subdivisions: each voxel that the surface may cross is tested at this many points along each of its axes.
    Returns:
        parts from 0 to 1, (i, j, k).
    """
    coverage = np.zeros(grid.shape, np.float32)
    start, stop = _find_box(shape, grid)
    if np.any(stop <= start):
        return coverage
    index = np.stack(np.meshgrid(*map(np.arange, start, stop), indexing="ij"), axis=-1).reshape(-1, 3)
    level = shape.level(grid.to_world(index))
    inside = (level < 0).astype(np.float32)
    half_diagonal = _half_diagonal_mm(grid)
    near = np.flatnonzero(np.abs(level) <= shape.steepness * half_diagonal)
    inside[near] = _sample_voxels(shape, grid, index[near], subdivisions)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    coverage[box] = inside.reshape(coverage[box].shape)
    return coverage


def _sample_voxels(shape: Shape, grid: Geometry, index: NDArray[np.int64], subdivisions: int) -> Array:
    steps = (np.arange(subdivisions) + 0.5) / subdivisions - 0.5
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    offsets_mm = offsets @ grid.affine[:3, :3].T
    centres_mm = grid.to_world(index)
    count = np.zeros(len(index))
    for offset_mm in offsets_mm:
        count += shape.level(centres_mm + offset_mm) < 0
    return count / len(offsets)


def _find_box(shape: Shape, grid: Geometry) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    centre, radius = shape.reach
    if not np.isfinite(radius):
        return np.zeros(3, np.int64), np.array(grid.shape)
    # A ball of that radius reaches radius * |row of the inverse affine| voxels along each index axis.
    reach = radius * np.linalg.norm(np.linalg.inv(grid.affine[:3, :3]), axis=1) + 1.0
    middle = grid.to_index(centre)
    start = np.maximum(np.floor(middle - reach), 0).astype(np.int64)
    stop = np.minimum(np.ceil(middle + reach) + 1, grid.shape).astype(np.int64)
    return start, stop


def _half_diagonal_mm(grid: Geometry) -> float:
    signs = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [1, -1, -1]])
    return float(np.linalg.norm(signs @ grid.affine[:3, :3].T, axis=1).max() / 2)


_NODES: list[tuple[Array, Array]] = []


def _sphere_nodes() -> tuple[Array, Array]:
    """Unit vectors (n, 3) and weights (n,) that sum to the sphere's 4 pi."""
    if not _NODES:
        cosine, polar_weight = np.polynomial.legendre.leggauss(POLAR_NODES)
        angle = (np.arange(AZIMUTH_NODES) + 0.5) * (2 * np.pi / AZIMUTH_NODES)
        cosine, angle = (grid.ravel() for grid in np.meshgrid(cosine, angle, indexing="ij"))
        sine = np.sqrt(1 - cosine**2)
        directions = np.column_stack([sine * np.cos(angle), sine * np.sin(angle), cosine])
        _NODES.append((directions, np.repeat(polar_weight, AZIMUTH_NODES) * (2 * np.pi / AZIMUTH_NODES)))
    return _NODES[0]


def _densify(path_mm: Array, step_mm: float) -> Array:
    pieces = [path_mm[:1]]
    for a, b in itertools.pairwise(path_mm):
        count = max(int(np.ceil(np.linalg.norm(b - a) / step_mm)), 1)
        pieces.append(a + (b - a) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(pieces)
