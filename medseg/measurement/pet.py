"""Uptake in PET: the peak of a lesion and how far lesions lie apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.measurement.diameters import find_longest_diameter
from medseg.shapes.boxes import Box

# A sphere of 1 ml (Wahl et al., J Nucl Med 2009;50 Suppl 1:122S-150S: 1 cm3, about 1.2 cm across).
PEAK_RADIUS_MM = (3 * 1000 / (4 * math.pi)) ** (1 / 3)
# Voxels summed at once: keeps the temporary arrays in tens of megabytes.
_CHUNK_VOXELS = 2_000_000


def find_suv_peak(image: NDArray[Any], box: Box, mask: NDArray[np.bool_], geometry: Geometry) -> float | None:
    """The highest mean uptake in a sphere of 1 ml about a voxel of a lesion.

    Args:
        image: one channel of the whole scan, (i, j, k).
        box: where the lesion lies in it, a slice along i, j and k.
        mask: true inside the lesion, of the box's shape.
        geometry: the scan's grid.
    Returns:
        the mean of the voxels whose centres lie in the sphere, those outside the lesion included, those outside the
        scan and those without a finite value left out; None for an empty mask.
    Source: PERCIST (Wahl et al. 2009), with the sphere wherever in the lesion its mean is highest, as IBSI reference
        manual 1.0, section 3.2.2 (global intensity peak).
    """
    columns = _list_columns(geometry.affine[:3, :3].tobytes())
    reach = [int(np.abs(columns[:, axes]).max()) for axes in (0, 1, (2, 3))]
    rows = max(1, _CHUNK_VOXELS // max(1, mask.shape[1] * mask.shape[2]))
    peaks = []
    for first in range(0, mask.shape[0], rows):
        centres = np.argwhere(mask[first : first + rows])
        if not len(centres):
            continue
        start = [side.start - margin for side, margin in zip(box, reach, strict=True)]
        stop = [side.stop + margin for side, margin in zip(box, reach, strict=True)]
        start[0] += first
        stop[0] = min(start[0] + rows + 2 * reach[0], stop[0])
        sums, counts = _sum_along_columns(image, start, stop)
        total = _sum_spheres(sums, centres + reach, columns)
        peaks.append(float((total / _sum_spheres(counts, centres + reach, columns)).max()))
    return max(peaks, default=None)


def measure_spread(centroids_mm: Sequence[NDArray[np.float64]]) -> float | None:
    """How far the two lesions that lie farthest apart are from one another.

    Args:
        centroids_mm: of the lesions, each (x, y, z), millimetres.
    Returns:
        the distance of their centroids, millimetres; None for fewer than two lesions.
    Source: Cottereau et al., J Nucl Med 2020;61:40-45 (Dmax).
    """
    if len(centroids_mm) < 2:
        return None
    first, second = find_longest_diameter(np.array(centroids_mm))
    return float(np.linalg.norm(second - first))


@lru_cache(maxsize=16)  # all lesions of a case share one grid
def _list_columns(linear: bytes) -> NDArray[np.intp]:
    # The voxels of the sphere as runs along k, relative to its centre: (column, 4) with i, j, first k, last k.
    affine = np.frombuffer(linear).reshape(3, 3)
    reach = np.floor(PEAK_RADIUS_MM * np.linalg.norm(np.linalg.inv(affine), axis=1) + 1e-9).astype(int)
    offsets = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1)
    inside = np.linalg.norm(offsets @ affine.T, axis=-1) <= PEAK_RADIUS_MM * (1 + 1e-9)
    i, j = np.nonzero(inside.any(axis=2))
    lines = inside[i, j]
    first, last = lines.argmax(axis=1), lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)
    return np.stack([i - reach[0], j - reach[1], first - reach[2], last - reach[2]], axis=1)


def _sum_along_columns(
    image: NDArray[Any], start: Sequence[int], stop: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Running sums along k, one entry longer than the box, of the values and of the voxels that have one; the box may
    # reach beyond the scan.
    inner = tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(start, stop, image.shape, strict=True))
    place = tuple(slice(part.start - a, part.stop - a) for part, a in zip(inner, start, strict=True))
    values = image[inner].astype(np.float64)
    finite = np.isfinite(values)
    found = []
    for part in (np.where(finite, values, 0.0), finite):
        sums = np.zeros([stop[0] - start[0], stop[1] - start[1], stop[2] - start[2] + 1])
        sums[:, :, 1:][place] = part
        found.append(np.cumsum(sums, axis=2, out=sums))
    return found[0], found[1]


def _sum_spheres(
    sums: NDArray[np.float64], centres: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float64]:
    flat = sums.reshape(-1)
    base = np.ravel_multi_index(tuple(centres.T), sums.shape)
    steps = np.array(sums.strides) // sums.itemsize
    total = np.zeros(len(centres))
    for i, j, first, last in columns.tolist():
        column = base + (i * steps[0] + j * steps[1])
        total += flat[column + (last + 1)] - flat[column + first]
    return total
