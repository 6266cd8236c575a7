"""Shapes on oblique anisotropic grids whose volumes, diameters and surface distances are known in closed form.

A voxel belongs to a shape where its centre lies inside, unless a function says otherwise. Lengths are millimetres,
positions are RAS+ world millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.core.volume import Segmentation

Point = Sequence[float]


def oblique_geometry(
    shape: Sequence[int] = (48, 40, 24),
    spacing_mm: Sequence[float] = (0.8, 1.1, 2.5),
    angles_degrees: Sequence[float] = (12.0, -8.0, 20.0),
    centre_mm: Point = (10.0, -20.0, 30.0),
) -> Geometry:
    """A grid turned about the world's x, y and z axes (in that order) whose middle lies at ``centre_mm``."""
    linear = rotation(angles_degrees) @ np.diag(np.asarray(spacing_mm, dtype=np.float64))
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = np.asarray(centre_mm) - linear @ ((np.asarray(shape) - 1) / 2)
    i, j, k = (int(n) for n in shape)
    return Geometry((i, j, k), affine)


def rotation(angles_degrees: Sequence[float]) -> NDArray[np.float64]:
    """The 3x3 rotation about x, then y, then z."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.radians(np.asarray(angles_degrees, dtype=np.float64))):
        a, b = [other for other in range(3) if other != axis]
        step = np.eye(3)
        step[a, a] = step[b, b] = math.cos(angle)
        step[b, a] = math.sin(angle) * (-1 if axis == 1 else 1)
        step[a, b] = -step[b, a]
        turned = step @ turned
    return turned


def centre_of(geometry: Geometry) -> NDArray[np.float64]:
    """Where the middle of the grid lies, world millimetres."""
    return geometry.to_world((np.asarray(geometry.shape) - 1) / 2)


def ball(geometry: Geometry, centre_mm: Point, radius_mm: float) -> NDArray[np.bool_]:
    """The voxels whose centres lie within ``radius_mm`` of ``centre_mm``."""
    return _mark(geometry, _inside_ball(centre_mm, radius_mm))


def box(geometry: Geometry, centre_mm: Point, size_mm: Sequence[float]) -> NDArray[np.bool_]:
    """A box along the grid's own axes; exact where its faces lie on voxel faces."""
    return _mark(geometry, _inside_box(geometry, centre_mm, size_mm))


def tube(geometry: Geometry, start_mm: Point, end_mm: Point, radius_mm: float) -> NDArray[np.bool_]:
    """A straight cylinder with flat ends between two points."""
    return _mark(geometry, _inside_tube(start_mm, end_mm, radius_mm))


def lesions(geometry: Geometry, balls: Iterable[tuple[Point, float]]) -> NDArray[np.bool_]:
    """Several balls, each (centre_mm, radius_mm), in one mask."""
    mask = np.zeros(geometry.shape, bool)
    for centre_mm, radius_mm in balls:
        mask |= ball(geometry, centre_mm, radius_mm)
    return mask


def partial_volume_ball(
    geometry: Geometry, centre_mm: Point, radius_mm: float, subdivisions: int = 5
) -> NDArray[np.float32]:
    """The share of each voxel, 0 to 1, that lies in the ball: what a scanner would see of it."""
    return _share(geometry, _inside_ball(centre_mm, radius_mm), subdivisions)


def partial_volume_box(
    geometry: Geometry, centre_mm: Point, size_mm: Sequence[float], subdivisions: int = 5
) -> NDArray[np.float32]:
    """The share of each voxel, 0 to 1, that lies in a box along the grid's axes."""
    return _share(geometry, _inside_box(geometry, centre_mm, size_mm), subdivisions)


def partial_volume_tube(
    geometry: Geometry, start_mm: Point, end_mm: Point, radius_mm: float, subdivisions: int = 5
) -> NDArray[np.float32]:
    """The share of each voxel, 0 to 1, that lies in a cylinder with flat ends."""
    return _share(geometry, _inside_tube(start_mm, end_mm, radius_mm), subdivisions)


def segmentation_of(geometry: Geometry, *masks: NDArray[np.bool_]) -> Segmentation:
    """A label map with the values 1, 2, ... for the masks; later masks are painted over earlier ones."""
    array = np.zeros(geometry.shape, np.uint8)
    for value, mask in enumerate(masks, start=1):
        array[mask] = value
    return Segmentation(array, geometry)


def ball_volume_ml(radius_mm: float) -> float:
    """Volume of a ball, millilitres."""
    return 4 / 3 * math.pi * radius_mm**3 / 1000


def ball_surface_mm2(radius_mm: float) -> float:
    """Surface of a ball, square millimetres."""
    return 4 * math.pi * radius_mm**2


def tube_volume_ml(length_mm: float, radius_mm: float) -> float:
    """Volume of a cylinder, millilitres."""
    return math.pi * radius_mm**2 * length_mm / 1000


def ball_overlap_ml(radius_a_mm: float, radius_b_mm: float, distance_mm: float) -> float:
    """Volume that two balls share, millilitres (the lens of two spherical caps)."""
    a, b, d = radius_a_mm, radius_b_mm, distance_mm
    if d >= a + b:
        return 0.0
    if d <= abs(a - b):
        return ball_volume_ml(min(a, b))
    lens = math.pi * (a + b - d) ** 2 * (d * d + 2 * d * (a + b) - 3 * (a - b) ** 2) / (12 * d)
    return lens / 1000


def half_diagonal_mm(geometry: Geometry) -> float:
    """Half a voxel's longest diagonal: the most by which a voxel grid misplaces a surface."""
    signs = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])
    return float(np.linalg.norm(signs @ geometry.affine[:3, :3].T, axis=1).max() / 2)


Inside = Callable[[NDArray[np.float64]], NDArray[np.bool_]]


def _inside_ball(centre_mm: Point, radius_mm: float) -> Inside:
    centre = np.asarray(centre_mm, dtype=np.float64)
    return lambda world: np.asarray(((world - centre) ** 2).sum(axis=-1) <= radius_mm**2)


def _inside_box(geometry: Geometry, centre_mm: Point, size_mm: Sequence[float]) -> Inside:
    axes = geometry.affine[:3, :3] / np.asarray(geometry.spacing_mm)
    centre = np.asarray(centre_mm, dtype=np.float64)
    half = np.asarray(size_mm, dtype=np.float64) / 2
    return lambda world: np.asarray((np.abs((world - centre) @ axes) <= half + 1e-9).all(axis=-1))


def _inside_tube(start_mm: Point, end_mm: Point, radius_mm: float) -> Inside:
    start = np.asarray(start_mm, dtype=np.float64)
    along = np.asarray(end_mm, dtype=np.float64) - start
    length = float(np.linalg.norm(along))
    along = along / length

    def inside(world: NDArray[np.float64]) -> NDArray[np.bool_]:
        offset = world - start
        height = offset @ along
        away = (offset**2).sum(axis=-1) - height**2
        return np.asarray((height >= 0) & (height <= length) & (away <= radius_mm**2))

    return inside


def _mark(geometry: Geometry, inside: Inside) -> NDArray[np.bool_]:
    return inside(geometry.to_world(_indices(geometry)))


def _share(geometry: Geometry, inside: Inside, subdivisions: int) -> NDArray[np.float32]:
    steps = (np.arange(subdivisions) + 0.5) / subdivisions - 0.5
    total = np.zeros(geometry.shape, np.int32)
    indices = _indices(geometry)
    for offset in np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3):
        total += inside(geometry.to_world(indices + offset))
    return (total / subdivisions**3).astype(np.float32)


def _indices(geometry: Geometry) -> NDArray[np.float64]:
    return np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1).astype(np.float64)


def motion(angles_degrees: Sequence[float], shift_mm: Point) -> NDArray[np.float64]:
    """A patient's turn about the world's x, y and z axes, then a shift, as 4x4."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(angles_degrees), shift_mm
    return matrix


def still_geometry(geometry: Geometry, moved: NDArray[np.float64]) -> Geometry:
    """The grid as the patient sees it who has moved: shapes drawn on it come out moved on ``geometry``."""
    return Geometry(geometry.shape, np.linalg.inv(moved) @ geometry.affine)


def head_image(geometry: Geometry, lesion_mask: NDArray[np.bool_], seed: int = 0) -> NDArray[np.float32]:
    """A head about the world's origin with two unequal dark spaces, a bright stem and lesions, in noise, (i, j, k)."""
    world = geometry.to_world(_indices(geometry))
    image = 100.0 * _inside_ellipsoid(world, (0, 0, 0), (52, 64, 48))
    for centre_mm, axes_mm, value in (
        ((18, 8, 6), (9, 22, 11), -60.0),
        ((-20, -4, 2), (7, 16, 13), -60.0),
        ((4, -26, -20), (10, 9, 24), 40.0),
    ):
        image += value * _inside_ellipsoid(world, centre_mm, axes_mm)
    image += 30.0 * lesion_mask
    return (image + np.random.default_rng(seed).normal(0, 4, geometry.shape)).astype(np.float32)


def _inside_ellipsoid(world: NDArray[np.float64], centre_mm: Point, axes_mm: Sequence[float]) -> NDArray[np.bool_]:
    return np.asarray((((world - np.asarray(centre_mm)) / np.asarray(axes_mm)) ** 2).sum(axis=-1) <= 1)
