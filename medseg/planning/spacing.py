"""The spacing that every scan is resampled to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import PlanError

# nnU-Net (Isensee et al., Nature Methods 2021, supplementary note 2): an axis three times coarser than the others,
# with three times fewer voxels, gets the finer 10th percentile, since its median would blur the better scans.
ANISOTROPY = 3.0
COARSE_AXIS_PERCENTILE = 10.0

ISOTROPIC = "isotropic"
Wanted = Sequence[float] | Literal["isotropic"]  # the user's target spacing


@dataclass(frozen=True)
class TargetSpacing:
    """The target spacing along i, j, k in millimetres, and why it was chosen."""

    spacing_mm: tuple[float, float, float]
    reason: str


def choose_spacing(
    spacings_mm: NDArray[np.float64],
    shapes: NDArray[np.int64],
    wanted_mm: Wanted | None = None,
    flat_axes: Sequence[int] = (),
) -> TargetSpacing:
    """The spacing to resample to: the user's, else the cases' median, finer along a coarse axis.

    Args:
        spacings_mm: of every case, (case, 3) along i, j, k, millimetres.
        shapes: voxels of every case after cropping, (case, 3).
        wanted_mm: the user's spacing: one number for all axes, three along i, j, k, or ``isotropic`` for the edge of a
            cube as large as the voxel chosen otherwise, so that scans keep their number of voxels; None to choose.
        flat_axes: along which every case has one voxel; ``isotropic`` leaves them as they are.
    Returns:
        the spacing along i, j, k with its reason.
    Raises:
        PlanError: ``wanted_mm`` is neither one nor three positive numbers nor ``isotropic``.
    Source: Isensee et al., Nature Methods 18 (2021), supplementary note 2; percentiles by linear interpolation.
    """
    spacing = None if wanted_mm is None else read_wanted(wanted_mm)
    if spacing is not None:
        return TargetSpacing(spacing, f"{format_mm(spacing)} (i, j, k) was asked for.")
    target = _choose_from_cases(spacings_mm, shapes)
    return target if wanted_mm is None else _make_isotropic(target, flat_axes)


def _choose_from_cases(spacings_mm: NDArray[np.float64], shapes: NDArray[np.int64]) -> TargetSpacing:
    target = np.percentile(spacings_mm, 50, axis=0)
    reason = f"{format_mm(target.tolist())} (i, j, k) is the median of {len(spacings_mm)} cases"
    # Among equally coarse axes the last one in the file counts, usually the slices.
    coarse = 2 - int(np.argmax(target[::-1]))
    coarsest_other = max(target[axis] for axis in range(3) if axis != coarse)
    median_shape = np.percentile(shapes, 50, axis=0)
    fewest_other = min(median_shape[axis] for axis in range(3) if axis != coarse)
    if target[coarse] > ANISOTROPY * coarsest_other and median_shape[coarse] * ANISOTROPY < fewest_other:
        median = float(target[coarse])
        finer = float(np.percentile(spacings_mm[:, coarse], COARSE_AXIS_PERCENTILE))
        # The coarse axis stays the coarsest, so that the axis order does not flip.
        target[coarse] = finer if finer >= coarsest_other else float(coarsest_other) + 1e-5
        reason = (
            f"the median is {median:.4g} mm along {'ijk'[coarse]}, over {ANISOTROPY:g} times the other axes' "
            f"{coarsest_other:.4g} mm, with over {ANISOTROPY:g} times fewer voxels ({median_shape[coarse]:g}); "
            f"there {target[coarse]:.4g} mm, the 10th percentile of {len(spacings_mm)} cases, keeps finer scans' detail"
        )
    i, j, k = (float(value) for value in target)
    return TargetSpacing((i, j, k), reason[0].upper() + reason[1:] + ".")


def _make_isotropic(target: TargetSpacing, flat_axes: Sequence[int]) -> TargetSpacing:
    """The same volume of a voxel (area of a pixel) with equal edges."""
    deep = [axis for axis in range(3) if axis not in flat_axes]
    edge = math.prod(target.spacing_mm[axis] for axis in deep) ** (1 / len(deep))
    i, j, k = (edge if axis in deep else target.spacing_mm[axis] for axis in range(3))
    reason = (
        f"{format_mm((i, j, k))} (i, j, k): equal edges were asked for, and these keep the scans' number of voxels at "
        f"{format_mm(target.spacing_mm)}."
    )
    return TargetSpacing((i, j, k), reason)


def resampled_shapes(
    spacings_mm: NDArray[np.float64], shapes: NDArray[np.int64], target_mm: Sequence[float]
) -> NDArray[np.float64]:
    """Each case's voxels at the target spacing, (case, 3), whole numbers rounded half to even."""
    return np.asarray(np.rint(spacings_mm / np.asarray(target_mm) * shapes))


def format_mm(spacing_mm: Sequence[float | None]) -> str:
    """A spacing for messages: ``0.7 x 0.7 x 5 mm``; ``own`` along an axis that keeps the scan's spacing."""
    return " x ".join("own" if value is None else f"{value:.4g}" for value in spacing_mm) + " mm"


def read_wanted(wanted_mm: Wanted) -> tuple[float, float, float] | None:
    """The user's spacing along i, j, k.

    Args:
        wanted_mm: one number, three, or ``isotropic``.
    Returns:
        millimetres; None for ``isotropic``, which depends on the scans.
    Raises:
        PlanError: it is none of these.
    """
    if wanted_mm == ISOTROPIC:
        return None
    values = [] if isinstance(wanted_mm, str) else [float(value) for value in wanted_mm]
    if len(values) not in (1, 3) or not all(math.isfinite(value) and value > 0 for value in values):
        raise PlanError(
            f"spacing {', '.join(f'{value:g}' for value in values) or 'without numbers'}: expected three positive "
            "numbers along i, j, k, one for all axes, in millimetres, or isotropic",
            code="bad_spacing",
            remedy="Give for example --target-spacing-mm 1,1,3",
        )
    i, j, k = values * 3 if len(values) == 1 else values
    return i, j, k
