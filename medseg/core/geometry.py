"""Where the voxels of a grid lie, in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError

# Headers keep float32 orientations; a tenth of a per mille of a voxel is far above their rounding and far below any
# shift that matters.
SAME_GRID_TOLERANCE_VOXELS = 1e-3
# Two statements of a spacing that differ by less, relatively, mean the same.
SAME_SPACING = 1e-5
# World axes x, y, z in RAS+: what a negative and a positive step along them is called.
DIRECTIONS = ("LR", "PA", "IS")


@dataclass(frozen=True, eq=False)
class Geometry:
    """A grid of voxels in the patient's world space.

    Args:
        shape: voxels along i, j, k (1 along k for a 2D picture).
        affine: 4x4, from index (i, j, k) to millimetres in RAS+.
        stated_mm: the spacing along i, j, k as the file states it beside the affine, whose columns are rounded on
            oblique grids; dropped where the affine contradicts it.
    Raises:
        GeometryError: the affine is not finite or not invertible.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    stated_mm: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.all(np.isfinite(affine)):
            raise GeometryError("the affine is not a finite 4x4 matrix", code="bad_affine")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise GeometryError("the affine has no volume (it is singular)", code="bad_affine")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        if self.stated_mm is not None and not np.allclose(self.stated_mm, self.measured_mm, rtol=SAME_SPACING, atol=0):
            object.__setattr__(self, "stated_mm", None)  # the affine counts where the two contradict each other
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def from_spacing(cls, shape: Sequence[int], spacing_mm: Sequence[float]) -> Geometry:
        """A grid along the world's axes that begins at the origin."""
        i, j, k = shape
        x, y, z = map(float, spacing_mm)
        return cls((i, j, k), np.diag([x, y, z, 1.0]), (x, y, z))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along i, j, k, millimetres, as the file states it or as the affine has it."""
        return self.measured_mm if self.stated_mm is None else self.stated_mm

    @property
    def measured_mm(self) -> tuple[float, float, float]:
        """The lengths of the affine's columns, millimetres."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)

    @property
    def orientation(self) -> str:
        """The patient's direction that each axis runs to, such as ``LPS``: i to the left, j to the back, k upwards."""
        # The rotation nearest to the affine (sheared grids have one too); then, as nibabel and SimpleITK do, the axis
        # that follows a direction most closely takes it, and the others share what is left.
        left, _, right = np.linalg.svd(self.affine[:3, :3] / np.asarray(self.measured_mm))
        cosines, letters = left @ right, ["", "", ""]
        open_cosines = np.abs(cosines)
        for axis in np.argsort(-open_cosines.max(axis=0), kind="stable"):
            direction = int(open_cosines[:, axis].argmax())
            letters[axis] = DIRECTIONS[direction][int(cosines[direction, axis] > 0)]
            open_cosines[direction] = -1
        return "".join(letters)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, cubic millimetres (exact for sheared grids too)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel, millilitres."""
        return self.voxel_volume_mm3 / 1000.0

    def to_world(self, index: Any) -> NDArray[np.float64]:
        """Index coordinates (..., 3) as millimetres in RAS+ (..., 3)."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, world_mm: Any) -> NDArray[np.float64]:
        """World millimetres (..., 3) as index coordinates (..., 3), fractions kept."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(np.asarray(world_mm, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3])

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Geometry:
        """The grid of the voxels ``start <= index < stop``; it may reach beyond this one."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(np.asarray(start))
        i, j, k = (int(b) - int(a) for a, b in zip(start, stop, strict=True))
        return Geometry((i, j, k), affine, self.stated_mm)

    def same_grid(self, other: Geometry, tolerance_voxels: float = SAME_GRID_TOLERANCE_VOXELS) -> bool:
        """Whether every voxel of both grids lies at the same place within the tolerance."""
        if self.shape != other.shape:
            return False
        return np.array_equal(self.affine, other.affine) or self.largest_shift_voxels(other) <= tolerance_voxels

    def largest_shift_voxels(self, other: Geometry) -> float:
        """How far apart the two grids' corner voxels lie at most, in voxels of this grid."""
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1).T
        return float(np.abs(self.to_index(other.to_world(corners)) - corners).max())

    def describe(self) -> str:
        """Shape and spacing for messages: ``512x512x90 at 0.7x0.7x5 mm``."""
        spacing = "x".join(f"{value:.4g}" for value in self.spacing_mm)
        return f"{'x'.join(map(str, self.shape))} at {spacing} mm"


def match_axes(orientation: str, like: str) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """How to turn a grid so that its axes run to given directions.

    Args:
        orientation: of the grid, such as ``RAS``.
        like: wanted, such as ``SPL``.
    Returns:
        for each wanted axis the grid's axis that runs along it, and whether it must be flipped.
    """
    world = [next(axis for axis, pair in enumerate(DIRECTIONS) if letter in pair) for letter in orientation]
    order = [world.index(next(axis for axis, pair in enumerate(DIRECTIONS) if letter in pair)) for letter in like]
    flips = [orientation[axis] != letter for axis, letter in zip(order, like, strict=True)]
    return (order[0], order[1], order[2]), (flips[0], flips[1], flips[2])
