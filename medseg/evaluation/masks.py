"""Every metric as a plain function of two masks and a spacing.

All take the masks as (i, j, k), or (i, j) for a picture, non-zero inside, on one grid; ``spacing_mm`` is the distance
of neighbouring voxels along each axis. ``measure_metric`` does so by name, for any metric of the table.

Empty masks, the one policy of this package (``evaluate_case`` follows it too and names it in ``status``):

- both empty: every value is unknown, NaN (``both_empty``; in tables an empty cell);
- one empty (``prediction_empty``, ``reference_empty``): ratios are 0, distances infinite, since a value left out would
  reward whoever predicts nothing;
- what then divides by nothing (precision without a prediction, sensitivity without a reference) is unknown, NaN;
- nothing is ever -1, and no value is 1 or 0 for want of a better one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import PlanError
from medseg.evaluation import overlap, surface
from medseg.evaluation.definitions import DEFAULT_DEFINITION, DEFAULT_TOLERANCE_MM
from medseg.evaluation.metrics import METRICS
from medseg.evaluation.pairs import LabelPair, pair_masks

Mask = NDArray[Any]
Spacing = Sequence[float]


def measure_metric(
    name: str,
    prediction: Mask,
    reference: Mask,
    spacing_mm: Spacing,
    *,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    definition: str = DEFAULT_DEFINITION,
) -> float:
    """Any metric of the table, by its name.

    Args:
        name: a name of ``METRICS`` with one value for two masks.
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: along each axis, millimetres.
        tolerance_mm: how far a surface may lie off, for NSD.
        definition: of surfaces and percentiles, ``surfel``, ``voxel`` or ``pooled``.
    Returns:
        the value; NaN where it is not defined, as where both masks are empty.
    Raises:
        PlanError: a metric or definition that is not known, or a metric with a value per lesion or per case.
        ValueError: masks or spacing do not fit one another.
    """
    measure = METRICS.get(name).measure
    if measure is None:
        raise PlanError(f"{name} has no single value for two masks", code="bad_metric", remedy="Use evaluate_case")
    pair = pair_masks(prediction, reference, spacing_mm, tolerance_mm=tolerance_mm, definition=definition)
    return _settle(pair, measure)


def measure_dice(prediction: Mask, reference: Mask, spacing_mm: Spacing | None = None) -> float:
    """Dice: twice the shared voxels over the voxels of both masks.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: not needed; taken so that all metrics can be called alike.
    Returns:
        0 to 1; NaN where both masks are empty.
    """
    return _settle(pair_masks(prediction, reference, spacing_mm), lambda pair: overlap.measure_dice(pair.counts))


def measure_iou(prediction: Mask, reference: Mask, spacing_mm: Spacing | None = None) -> float:
    """Intersection over union (Jaccard): the shared voxels over those of the union.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: not needed; taken so that all metrics can be called alike.
    Returns:
        0 to 1; NaN where both masks are empty.
    """
    return _settle(pair_masks(prediction, reference, spacing_mm), lambda pair: overlap.measure_iou(pair.counts))


def measure_mean_iou(prediction: Mask, reference: Mask, spacing_mm: Spacing | None = None) -> float:
    """The mean of the IoU of every value from 1 up that either of two label maps holds; NaN where they hold none.

    Args:
        prediction: label values, 0 outside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: not needed.
    Returns:
        0 to 1.
    """
    maps = np.asarray(prediction), np.asarray(reference)
    values = sorted({int(value) for array in maps for value in np.unique(array)} - {0})
    known = [measure_iou(maps[0] == value, maps[1] == value, spacing_mm) for value in values]
    return math.fsum(known) / len(known) if known else math.nan


def measure_sensitivity(prediction: Mask, reference: Mask, spacing_mm: Spacing | None = None) -> float:
    """Sensitivity (recall): which part of the reference was found.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: not needed; taken so that all metrics can be called alike.
    Returns:
        0 to 1; NaN where the reference is empty.
    """
    return _settle(pair_masks(prediction, reference, spacing_mm), lambda pair: overlap.measure_sensitivity(pair.counts))


def measure_precision(prediction: Mask, reference: Mask, spacing_mm: Spacing | None = None) -> float:
    """Precision: which part of the prediction is right.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: not needed; taken so that all metrics can be called alike.
    Returns:
        0 to 1; NaN where the prediction is empty.
    """
    return _settle(pair_masks(prediction, reference, spacing_mm), lambda pair: overlap.measure_precision(pair.counts))


def measure_specificity(prediction: Mask, reference: Mask, spacing_mm: Spacing | None = None) -> float:
    """Specificity: which part of the outside was left outside; it grows with the field of view.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: not needed; taken so that all metrics can be called alike.
    Returns:
        0 to 1; NaN where there is no outside or both masks are empty.
    """
    return _settle(pair_masks(prediction, reference, spacing_mm), lambda pair: overlap.measure_specificity(pair.counts))


def measure_volume_similarity(prediction: Mask, reference: Mask, spacing_mm: Spacing | None = None) -> float:
    """How alike two masks' volumes are, wherever they lie.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: not needed; taken so that all metrics can be called alike.
    Returns:
        0 to 1; NaN where both masks are empty.
    Source: Taha and Hanbury, BMC Med Imaging 2015;15:29, equation 24.
    """
    return _settle(
        pair_masks(prediction, reference, spacing_mm), lambda pair: overlap.measure_volume_similarity(pair.counts)
    )


def measure_boundary_iou(prediction: Mask, reference: Mask, spacing_mm: Spacing | None = None) -> float:
    """The IoU of both masks' outermost layers of voxels, those with a neighbour outside by face.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: not needed; taken so that all metrics can be called alike.
    Returns:
        0 to 1; NaN where both masks are empty.
    Source: Cheng et al., CVPR 2021, Boundary IoU, with the width of one voxel that MetricsReloaded takes.
    """
    return _settle(pair_masks(prediction, reference, spacing_mm), lambda pair: overlap.measure_iou(pair.border_counts))


def measure_hd(
    prediction: Mask, reference: Mask, spacing_mm: Spacing, *, definition: str = DEFAULT_DEFINITION
) -> float:
    """The Hausdorff distance: the largest distance of either surface from the other.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: along each axis, millimetres.
        definition: ``surfel`` (as surface-distance), ``voxel`` (as MONAI) or ``pooled`` (as MedPy).
    Returns:
        millimetres; infinite where one mask is empty, NaN where both are.
    """
    pair = pair_masks(prediction, reference, spacing_mm, definition=definition)
    return _settle(pair, lambda pair: surface.measure_hd(pair.distances))


def measure_hd95(
    prediction: Mask, reference: Mask, spacing_mm: Spacing, *, definition: str = DEFAULT_DEFINITION
) -> float:
    """The robust Hausdorff distance: the 95th percentile of the distances in place of the largest.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: along each axis, millimetres.
        definition: ``surfel`` (as surface-distance), ``voxel`` (as MONAI) or ``pooled`` (as MedPy).
    Returns:
        millimetres; infinite where one mask is empty, NaN where both are.
    """
    pair = pair_masks(prediction, reference, spacing_mm, definition=definition)
    return _settle(pair, lambda pair: surface.measure_hd95(pair.distances, pair.definition))


def measure_assd(
    prediction: Mask, reference: Mask, spacing_mm: Spacing, *, definition: str = DEFAULT_DEFINITION
) -> float:
    """The average symmetric surface distance: all elements of both surfaces averaged.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: along each axis, millimetres.
        definition: ``surfel`` (as surface-distance), ``voxel`` (as MONAI) or ``pooled`` (as MedPy).
    Returns:
        millimetres; infinite where one mask is empty, NaN where both are.
    """
    pair = pair_masks(prediction, reference, spacing_mm, definition=definition)
    return _settle(pair, lambda pair: surface.measure_assd(pair.distances))


def measure_masd(
    prediction: Mask, reference: Mask, spacing_mm: Spacing, *, definition: str = DEFAULT_DEFINITION
) -> float:
    """The mean average surface distance: the mean of both directions' averages.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: along each axis, millimetres.
        definition: ``surfel`` (as surface-distance), ``voxel`` (as MONAI) or ``pooled`` (as MedPy).
    Returns:
        millimetres; infinite where one mask is empty, NaN where both are.
    """
    pair = pair_masks(prediction, reference, spacing_mm, definition=definition)
    return _settle(pair, lambda pair: surface.measure_masd(pair.distances))


def measure_nsd(
    prediction: Mask,
    reference: Mask,
    spacing_mm: Spacing,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    *,
    definition: str = DEFAULT_DEFINITION,
) -> float:
    """The normalised surface distance (surface Dice): the part of both surfaces that lies within a tolerance.

    Args:
        prediction: non-zero inside, (i, j, k) or (i, j).
        reference: the same grid.
        spacing_mm: along each axis, millimetres.
        tolerance_mm: how far a surface may lie off.
        definition: ``surfel`` (as surface-distance), ``voxel`` (as MONAI) or ``pooled`` (as MedPy).
    Returns:
        0 to 1; 0 where one mask is empty, NaN where both are.
    """
    pair = pair_masks(prediction, reference, spacing_mm, tolerance_mm=tolerance_mm, definition=definition)
    return _settle(pair, lambda pair: surface.measure_nsd(pair.distances, pair.tolerance_mm))


def _settle(pair: LabelPair, measure: Callable[[LabelPair], float | None]) -> float:
    """The value, NaN where it is not known."""
    if not pair.counts.prediction and not pair.counts.reference:
        return math.nan
    value = measure(pair)
    return math.nan if value is None else float(value)
