"""Compiled loops that move a patch: linear interpolation of intensities, a vote of neighbours for labels.

A row of output voxels is placed in the input once, for all channels and labels. Importing this module loads numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.loops import Loop, compile_loop

Array = NDArray[Any]

BEYOND = -1  # the label of what lies outside the input
SEVERAL_PLACES = -1  # in place of an offset, where a voxel's neighbours are not all inside the input


def _fused(loop: Loop) -> Loop:
    return compile_loop(loop, fastmath={"contract"})


@_fused
def _place_row(matrix: Array, shift: Array, displacement: Array, i: int, j: int, points: Array) -> None:
    """Where the voxels of output row (i, j) come from, in input voxels: (axis, k)."""
    for axis in range(3):
        row = points[axis]
        first = np.float32(matrix[axis, 0] * i + matrix[axis, 1] * j + shift[axis])
        step = np.float32(matrix[axis, 2])
        for k in range(row.shape[0]):
            row[k] = first + np.float32(k) * step
        if displacement.shape[1] > 0:
            for component in range(3):
                weight, moved = np.float32(matrix[axis, component]), displacement[component, i, j]
                for k in range(row.shape[0]):
                    row[k] += weight * moved[k]


@_fused
def _locate_row(points: Array, sizes: Array, offsets: Array, parts: Array) -> None:
    """The input voxel below each point as an offset, and the point's distances from it, (axis, k)."""
    # A single slice has no neighbour; it is its own.
    ends = np.maximum(sizes - 1, 1).astype(np.float32)
    row_step, slice_step = np.int32(sizes[2]), np.int32(sizes[1] * sizes[2] if sizes[0] > 1 else 0)
    for k in range(points.shape[1]):
        x, y, z = points[0, k], points[1, k], points[2, k]
        inside = (x >= 0) & (x < ends[0]) & (y >= 0) & (y < ends[1]) & (z >= 0) & (z < ends[2])
        i, j, m = np.int32(x), np.int32(y), np.int32(z)
        parts[0, k], parts[1, k], parts[2, k] = x - np.float32(i), y - np.float32(j), z - np.float32(m)
        offsets[k] = np.int32(i * slice_step + j * row_step + m) if inside else np.int32(SEVERAL_PLACES)


@compile_loop
def _find_corners(x: float, y: float, z: float, sizes: Array, offsets: Array, weights: Array) -> bool:
    """Offsets (BEYOND where outside) and weights of a point's eight neighbours, the nearest first; False for none."""
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    if i < -1 or i >= sizes[0] or j < -1 or j >= sizes[1] or k < -1 or k >= sizes[2]:
        return False
    up_i, up_j, up_k = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    nearest = (4 if up_i >= 0.5 else 0) + (2 if up_j >= 0.5 else 0) + (1 if up_k >= 0.5 else 0)
    one = np.float32(1)
    for number in range(8):
        corner = number ^ nearest
        a, b, c = i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)
        inside = 0 <= a < sizes[0] and 0 <= b < sizes[1] and 0 <= c < sizes[2]
        offsets[number] = (a * sizes[1] + b) * sizes[2] + c if inside else BEYOND
        weight = up_i if corner & 4 else one - up_i
        weight *= up_j if corner & 2 else one - up_j
        weights[number] = weight * (up_k if corner & 1 else one - up_k)
    return True


@compile_loop
def _fade(values: Array, x: float, y: float, z: float, sizes: Array, offsets: Array, weights: Array) -> np.float32:
    """Linear interpolation where some neighbours are outside and count as 0."""
    total = np.float32(0)
    if _find_corners(x, y, z, sizes, offsets, weights):
        for corner in range(8):
            if offsets[corner] != BEYOND:
                total += weights[corner] * values[offsets[corner]]
    return total


@compile_loop
def _vote(values: Array, x: float, y: float, z: float, sizes: Array, offsets: Array, weights: Array) -> np.int64:
    """The label with the largest weight among the neighbours; of equals the nearest neighbour's."""
    if not _find_corners(x, y, z, sizes, offsets, weights):
        return np.int64(BEYOND)
    for corner in range(8):  # offsets become labels
        if offsets[corner] != BEYOND:
            offsets[corner] = values[offsets[corner]]
    winner, most = np.int64(offsets[0]), np.float32(-1)
    for corner in range(8):
        label, total = np.int64(offsets[corner]), np.float32(0)
        for other in range(8):
            if offsets[other] == label:
                total += weights[other]
        if total > most:
            winner, most = label, total
        if most > np.float32(0.5):
            break
    return winner


@_fused
def _interpolate_row(values: Array, offsets: Array, parts: Array, points: Array, sizes: Array, target: Array) -> None:
    row, layer = sizes[2], (sizes[1] * sizes[2] if sizes[0] > 1 else 0)
    corners, weights = np.empty(8, np.int64), np.empty(8, np.float32)
    for k in range(target.shape[0]):
        a = np.int64(offsets[k])
        if a == SEVERAL_PLACES:
            target[k] = _fade(values, points[0, k], points[1, k], points[2, k], sizes, corners, weights)
            continue
        b, c, d = a + row, a + layer, a + layer + row
        x, y, z = parts[0, k], parts[1, k], parts[2, k]
        low = values[a] + z * (values[a + 1] - values[a])
        high = values[b] + z * (values[b + 1] - values[b])
        low += y * (high - low)
        upper = values[c] + z * (values[c + 1] - values[c])
        high = values[d] + z * (values[d + 1] - values[d])
        upper += y * (high - upper)
        target[k] = low + x * (upper - low)


@compile_loop
def _label_row(values: Array, offsets: Array, points: Array, sizes: Array, beyond: int, target: Array) -> None:
    row, layer = sizes[2], (sizes[1] * sizes[2] if sizes[0] > 1 else 0)
    corners, weights = np.empty(8, np.int64), np.empty(8, np.float32)
    for k in range(target.shape[0]):
        a = np.int64(offsets[k])
        if a != SEVERAL_PLACES:
            b, c, d = a + row, a + layer, a + layer + row
            first = values[a]
            differ = (first ^ values[a + 1]) | (first ^ values[b]) | (first ^ values[b + 1]) | (first ^ values[c])
            differ |= (first ^ values[c + 1]) | (first ^ values[d]) | (first ^ values[d + 1])
            if differ == 0:
                target[k] = first
                continue
        winner = _vote(values, points[0, k], points[1, k], points[2, k], sizes, corners, weights)
        target[k] = winner if winner != BEYOND else beyond


@compile_loop
def move_patch(
    images: Array,
    labels: Array,
    matrix: Array,
    shift: Array,
    displacement: Array,
    beyond: int,
    new_images: Array,
    new_labels: Array,
) -> None:
    """Fill a patch: output voxel p is the input at ``matrix @ (p + displacement) + shift``.

    Args:
        images: (channel, a, b, c), float32; a single slice is looked at without neighbours along a.
        labels: (map, a, b, c), any whole numbers.
        matrix: (3, 3), float64.
        shift: input voxels, (3,), float64.
        displacement: output voxels, (3, *output), float32; (3, 0, 0, 0) for none.
        beyond: the label of what lies outside the input, where the image is 0.
        new_images: (channel, *output), filled.
        new_labels: (map, *output), filled.
    """
    sizes = np.array(images.shape[1:])
    _, rows, columns, length = new_images.shape
    points, parts = np.empty((3, length), np.float32), np.empty((3, length), np.float32)
    offsets = np.empty(length, np.int32)
    for i in range(rows):
        for j in range(columns):
            _place_row(matrix, shift, displacement, i, j, points)
            _locate_row(points, sizes, offsets, parts)
            for channel in range(images.shape[0]):
                values = images[channel].reshape(-1)
                _interpolate_row(values, offsets, parts, points, sizes, new_images[channel, i, j])
            for number in range(labels.shape[0]):
                _label_row(labels[number].reshape(-1), offsets, points, sizes, beyond, new_labels[number, i, j])
