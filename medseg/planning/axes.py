"""The order in which the network sees the axes: the coarsest first."""

from __future__ import annotations

from collections.abc import Sequence

AXIS_NAMES = "ijk"


def choose_axis_order(spacing_mm: Sequence[float], flat_axis: int | None = None) -> tuple[tuple[int, int, int], str]:
    """The file axes in the network's order.

    Args:
        spacing_mm: the target spacing along i, j, k, millimetres.
        flat_axis: the axis along which every case has one voxel (pictures), or None.
    Returns:
        the axes (0 = i, 1 = j, 2 = k), the coarsest first and the others from last to first, as files are stored;
        and the reason. Among equally coarse axes the last one counts, so isotropic data give (2, 1, 0).
    """
    first = flat_axis if flat_axis is not None else max(range(3), key=lambda axis: (spacing_mm[axis], axis))
    second, third = (axis for axis in (2, 1, 0) if axis != first)
    order = (first, second, third)
    names = ", ".join(AXIS_NAMES[axis] for axis in order)
    if flat_axis is not None:
        return order, f"{names}: every case has one voxel along {AXIS_NAMES[first]}, so it comes first."
    if max(spacing_mm) == min(spacing_mm):
        return order, f"{names}: all axes have {spacing_mm[0]:.4g} mm, so the file's order is kept, slices first."
    return order, f"{names}: {AXIS_NAMES[first]} is the coarsest axis with {spacing_mm[first]:.4g} mm and comes first."
