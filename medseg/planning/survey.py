"""The data set as the planner sees it: in the network's axis order, at the target spacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.core.errors import PlanError
from medseg.core.fingerprint import Fingerprint
from medseg.planning.axes import choose_axis_order
from medseg.planning.orientation import choose_orientation, order_like
from medseg.planning.spacing import Wanted, choose_spacing, format_mm, resampled_shapes

# A median scan of 2 billion voxels is 8 GB in float32: no scanner makes one, a mistyped spacing does.
LARGEST_SCAN_VOXELS = 2**31
SMALLEST_EDGE_VOXELS = 8


@dataclass(frozen=True)
class Survey:
    """What the planner decides by.

    Args:
        axis_order: the file axes in the network's order.
        orientation: the directions that these axes run to in most cases; None where a case's is not known.
        spacing_mm: the target spacing in the network's order, millimetres.
        median_shape: the median case's voxels at that spacing, in the network's order; halves are possible.
        case_count: how many cases there are.
        input_channels: channels of an image.
        output_channels: labels with the background and, as nnU-Net counts, the ignore label.
        mask_channels: that the masks of a cascade's first stage add to the image's, one per label value.
        is_flat: whether there is no third dimension (pictures, single slices).
        reasons: for ``spacing_mm`` and ``axis_order``.
    """

    axis_order: tuple[int, int, int]
    orientation: str | None
    spacing_mm: tuple[float, float, float]
    median_shape: tuple[float, float, float]
    case_count: int
    input_channels: int
    output_channels: int
    mask_channels: int
    is_flat: bool
    reasons: dict[str, str]

    @property
    def median_voxels(self) -> float:
        """Voxels of the median case at the target spacing."""
        return float(np.prod(self.median_shape))


def survey_cases(fingerprint: Fingerprint, spacing_mm: Wanted | None = None) -> Survey:
    """The data set in the network's axis order at the target spacing.

    Args:
        fingerprint: the data set's fingerprint.
        spacing_mm: the user's target spacing (one number, three along i, j, k, ``isotropic``), or None to choose it.
    Returns:
        the survey.
    Raises:
        PlanError: there is no case, the spacing cannot be used, or the scans are too small for a network.
    """
    if not fingerprint.cases:
        raise PlanError("the fingerprint holds no case", code="no_cases", remedy="Run medseg check on the data set")
    cases, like = fingerprint.cases, choose_orientation(fingerprint)
    # Scans that lie otherwise than most are turned before anything else, so they count as turned.
    spacings = np.array([order_like(case.spacing_mm, case.orientation, like) for case in cases], dtype=np.float64)
    shapes = np.array([order_like(case.cropped_shape, case.orientation, like) for case in cases], dtype=np.int64)
    whole = [order_like(case.shape, case.orientation, like) for case in cases]
    flat = [axis for axis in (2, 1, 0) if all(shape[axis] == 1 for shape in whole)]
    target = choose_spacing(spacings, shapes, spacing_mm, flat)
    order, order_reason = choose_axis_order(target.spacing_mm, flat[0] if flat else None)
    median = np.median(resampled_shapes(spacings, shapes, target.spacing_mm), axis=0)
    if flat:
        median[flat] = 1
    _refuse_sizes(median.tolist(), target.spacing_mm, given=spacing_mm is not None)
    first, second, third = order
    labels = fingerprint.labels
    return Survey(
        axis_order=order,
        orientation=None if like is None else "".join(like[axis] for axis in order),
        spacing_mm=(target.spacing_mm[first], target.spacing_mm[second], target.spacing_mm[third]),
        median_shape=(float(median[first]), float(median[second]), float(median[third])),
        case_count=len(cases),
        input_channels=len(fingerprint.channels),
        output_channels=len(labels.names) + 1 + (labels.ignore is not None),
        mask_channels=len(labels.foreground),
        is_flat=bool(median[first] == 1),
        reasons={"spacing_mm": target.reason, "axis_order": order_reason},
    )


def _refuse_sizes(median_shape: Sequence[float], spacing_mm: Sequence[float], *, given: bool) -> None:
    shape = " x ".join(f"{size:g}" for size in median_shape)
    at = f"the median case would have {shape} voxels at {format_mm(spacing_mm)}"
    remedy = "Give another --target-spacing-mm or leave it out" if given else "Check the spacing in the files' headers"
    if np.prod(median_shape) > LARGEST_SCAN_VOXELS:
        raise PlanError(f"{at}, more than {LARGEST_SCAN_VOXELS / 1e9:.1f} billion", code="bad_spacing", remedy=remedy)
    if min(median_shape) < 1 or sorted(median_shape)[1] < SMALLEST_EDGE_VOXELS:
        raise PlanError(
            f"{at}; a network needs {SMALLEST_EDGE_VOXELS} voxels or more along two axes",
            code="scans_too_small",
            remedy=remedy,
        )
