"""How one grid differs from another, in words that tell what went wrong."""

from __future__ import annotations

import numpy as np

from medseg.core.geometry import DIRECTIONS, SAME_SPACING, Geometry

# Directions whose cosine is this near to 1 are the same; headers keep them as float32.
_SAME_DIRECTION = 1 - 1e-5
_AXES = "ijk"


def describe_difference(geometry: Geometry, like: Geometry) -> str:
    """What must have happened to a grid that should be another one.

    Args:
        geometry: the grid that was found.
        like: the grid that was expected.
    Returns:
        a few words (``mirrored along i``, ``shifted by 0, 0, 7 mm``, ``other spacing``); empty where the two cannot be
        told apart by more than rounding.
    """
    if geometry.shape != like.shape:
        if sorted(geometry.shape) == sorted(like.shape):
            return "its array looks transposed"
        return "another number of voxels"
    found, wanted = np.asarray(geometry.measured_mm), np.asarray(like.measured_mm)
    if not np.allclose(found, wanted, rtol=SAME_SPACING, atol=0):
        return "another spacing"
    cosines = (geometry.affine[:3, :3] / found * (like.affine[:3, :3] / wanted)).sum(axis=0)
    if (np.abs(cosines) < _SAME_DIRECTION).any():
        kinds = geometry.orientation, like.orientation
        return f"turned, {kinds[0]} instead of {kinds[1]}" if kinds[0] != kinds[1] else "turned by less than 90 degrees"
    flipped = [axis for axis in range(3) if cosines[axis] < 0]
    if flipped:
        named = ", ".join(f"{_AXES[axis]} ({_name_axis(like, axis)})" for axis in flipped)
        return f"its header is mirrored along {named}"
    shift = geometry.to_world((0, 0, 0)) - like.to_world((0, 0, 0))
    if np.abs(shift).max() < SAME_SPACING:
        return ""
    x, y, z = (f"{value:.4g}" for value in shift + 0.0)
    return f"shifted by {x}, {y}, {z} mm"


def _name_axis(geometry: Geometry, axis: int) -> str:
    letter = geometry.orientation[axis]
    names = {"LR": "left-right", "PA": "back-front", "IS": "down-up"}
    return names[next(pair for pair in DIRECTIONS if letter in pair)]
