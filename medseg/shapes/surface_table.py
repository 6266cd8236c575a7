"""How much surface runs through a cube of eight voxel centres, for each of the 256 ways they can lie in or out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Corner = tuple[int, int, int]
Point = NDArray[np.float64]

CORNERS: tuple[Corner, ...] = tuple((i, j, k) for k, i, j in itertools.product((0, 1), repeat=3))
"""The cube's corners in the order of a code's bits, lowest first: j runs fastest, then i, then k."""

MOST_TRIANGLES = 4  # of any code: a hexagon, or four corners each cut off on its own


def tabulate_areas(spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """The area of the surface element of each code.

    Args:
        spacing_mm: distance of neighbouring voxels along i, j, k, millimetres.
    Returns:
        area by code, (256,), square millimetres; 0 for the codes 0 (all out) and 255 (all in). Bit b of a code says
        whether ``CORNERS[b]`` lies in.
    Source: the definition of Nikolov et al., J Med Internet Res 2021;23(7):e26151: the area of the triangles
        that marching cubes (Lorensen and Cline, Computer Graphics 1987;21(4):163-169) lays through the middles of
        the cube's cut edges, built up here from its rules.
    """
    i, j, k = spacing_mm
    return _tabulate_areas(float(i), float(j), float(k))


@functools.lru_cache(maxsize=32)
def _tabulate_areas(i: float, j: float, k: float) -> NDArray[np.float64]:
    normals = _tabulate_normals() * np.array([j * k, i * k, i * j])
    areas: NDArray[np.float64] = np.sqrt((normals**2).sum(axis=-1)).sum(axis=-1)
    areas.setflags(write=False)
    return areas


@functools.cache
def _tabulate_normals() -> NDArray[np.float64]:
    """Normals of each code's triangles at unit spacing, as long as the triangle is large: (256, MOST_TRIANGLES, 3)."""
    normals = np.zeros((256, MOST_TRIANGLES, 3))
    for code in range(256):
        inside = {corner for bit, corner in enumerate(CORNERS) if code >> bit & 1}
        # The surface between the two sides is the same seen from either; the fewer corners are the ones cut off, so
        # that where a cube can be cut in two ways (two opposite corners of a face), those stay apart.
        fewer = inside if len(inside) <= 4 else set(CORNERS) - inside
        triangles = [t for part in _split_by_edges(fewer) for t in _triangulate(_trace_loop(part))]
        for number, (a, b, c) in enumerate(triangles):
            normals[code, number] = np.cross(b - a, c - a) / 2
    normals.setflags(write=False)
    return normals


def _split_by_edges(corners: set[Corner]) -> list[set[Corner]]:
    """Groups of corners that the cube's edges join."""
    left, parts = set(corners), []
    while left:
        part, border = set[Corner](), {min(left)}
        while border:
            part |= border
            border = {near for corner in border for near in _neighbours(corner)} & left - part
        parts.append(part)
        left -= part
    return parts


def _neighbours(corner: Corner) -> list[Corner]:
    i, j, k = corner
    return [(1 - i, j, k), (i, 1 - j, k), (i, j, 1 - k)]


def _trace_loop(part: set[Corner]) -> list[Point]:
    """The middles of the edges that cut one group off, in order around it.

    The loop begins on the corner with the fewest cut edges.
    """
    cuts = {
        corner: [(np.array(corner) + near) / 2 for near in _neighbours(corner) if near not in part] for corner in part
    }
    points = [point for corner in sorted(part, key=lambda c: (len(cuts[c]) or 9, c)) for point in cuts[corner]]
    loop = [points.pop(0)]
    while points:
        # Two middles follow one another when they lie on one face of the cube: share a coordinate 0 or 1.
        following = next(n for n, p in enumerate(points) if np.any((p == loop[-1]) & (p != 0.5)))
        loop.append(points.pop(following))
    return loop


def _triangulate(loop: list[Point]) -> list[tuple[Point, Point, Point]]:
    """Triangles that fill a loop: every second point is cut off as an ear, the rest lies in a plane."""
    count = len(loop)
    ears = range(0, count - 1, 2)
    triangles = [(loop[n - 1], loop[n], loop[(n + 1) % count]) for n in ears]
    rest = [point for n, point in enumerate(loop) if n not in ears]
    return triangles + [(rest[0], rest[n], rest[n + 1]) for n in range(1, len(rest) - 1)]
