"""The two masks of one label, cut out, with everything that metrics are worked out from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.evaluation.definitions import DEFAULT_DEFINITION, DEFAULT_TOLERANCE_MM, Definition, require_definition
from medseg.evaluation.instances import (
    ANY_OVERLAP,
    LesionMatch,
    LesionOverlaps,
    Matching,
    match_overlaps,
    overlap_lesions,
)
from medseg.evaluation.overlap import Counts
from medseg.evaluation.survey import Survey, make_table, survey_maps, survey_numbers
from medseg.shapes.boxes import Box
from medseg.shapes.surfaces import Elements, SurfaceDistances, find_border, measure_surface_distances


@dataclass(frozen=True, eq=False)
class LabelPair:
    """One label's mask in the prediction and in the reference.

    Args:
        prediction: (i, j, k), cut out around both masks with a margin of one voxel where the scan goes on.
        reference: the same.
        counts: voxels of the whole scan.
        spacing_mm: distance of neighbouring voxels along i, j, k, millimetres.
        tolerance_mm: how far a surface may lie off, for NSD.
        definition: of surfaces and percentiles.
        matching: by which rule lesions belong together.
    """

    prediction: NDArray[np.bool_]
    reference: NDArray[np.bool_]
    counts: Counts
    spacing_mm: tuple[float, ...]
    tolerance_mm: float
    definition: Definition = "surfel"
    matching: Matching = ANY_OVERLAP

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Distances between the surfaces, a the prediction's, b the reference's; worked out when first asked for."""
        elements: Elements = "surfel" if self.definition == "surfel" else "voxel"
        return measure_surface_distances(self.prediction, self.reference, self.spacing_mm, elements=elements)

    @cached_property
    def lesion_overlaps(self) -> LesionOverlaps:
        """The components of both masks and what they share; worked out when first asked for."""
        return overlap_lesions(self.prediction, self.reference, connectivity=self.matching.connectivity)

    @cached_property
    def border_counts(self) -> Counts:
        """The voxels of both masks' outermost layers; worked out when first asked for."""
        first, second = find_border(self.prediction), find_border(self.reference)
        both, ours, theirs = (int(np.count_nonzero(mask)) for mask in (first & second, first, second))
        return Counts(both, ours - both, theirs - both, first.size - ours - theirs + both)

    @cached_property
    def lesions(self) -> LesionMatch:
        """Which components belong together by the chosen rule."""
        return match_overlaps(self.lesion_overlaps, self.matching)

    @cached_property
    def instances(self) -> LesionMatch:
        """Which components belong together one to one, with an IoU of 0.5 or more."""
        return match_overlaps(self.lesion_overlaps, replace(self.matching, least_iou=0.5, way="greedy"))

    @cached_property
    def touching(self) -> LesionMatch:
        """Which components touch any of the other mask."""
        return match_overlaps(self.lesion_overlaps, replace(self.matching, least_iou=0.0, way="many_to_many"))

    @property
    def voxel_ml(self) -> float:
        """The volume of a voxel, millilitres."""
        return math.prod(self.spacing_mm) / 1000.0


def pair_labels(
    prediction: Segmentation,
    reference: Segmentation,
    labels: LabelScheme,
    tolerances_mm: Mapping[str, float],
    definition: Definition = "surfel",
) -> Iterator[tuple[str, LabelPair]]:
    """Each class and region with its two masks, after one joint pass over both label maps.

    Args:
        prediction: the label map to score.
        reference: the label map taken as true, on the same grid; where it holds the ignore label, both count as
            outside and no voxel is counted.
        labels: the names to score.
        tolerances_mm: by name, how far a surface may lie off, for NSD.
        definition: of surfaces and percentiles.
    Returns:
        an iterator of name and pair, in the order of the labels.
    """
    values = sorted({value for group in labels.labels.values() for value in group})
    survey = survey_maps(prediction.array, reference.array, values, labels.ignore)
    for name, group in labels.labels.items():
        numbers = [values.index(value) + 1 for value in group]
        box = _join_boxes([survey.boxes[number] for number in numbers], reference.array.shape)
        predicted, expected = prediction.array[box], reference.array[box]
        masks = [_select(array, group) for array in (predicted, expected)]
        if labels.ignore is not None:
            counted = expected != labels.ignore
            masks = [mask & counted for mask in masks]
        yield (
            name,
            LabelPair(
                masks[0],
                masks[1],
                count_numbers(survey, numbers),
                reference.geometry.spacing_mm,
                tolerances_mm[name],
                definition,
            ),
        )


def pair_masks(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    spacing_mm: Sequence[float] | None = None,
    *,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    definition: str = DEFAULT_DEFINITION,
) -> LabelPair:
    """Two masks as metrics read them.

    Args:
        prediction: non-zero inside, (i, j, k) or a picture's (i, j).
        reference: the same grid.
        spacing_mm: distance of neighbouring voxels along each axis, millimetres; 1 where None.
        tolerance_mm: how far a surface may lie off, for NSD.
        definition: of surfaces and percentiles.
    Returns:
        the masks cut out around both.
    Raises:
        ValueError: the masks have not the same two or three axes, or the spacing is not a positive number for each.
        PlanError: a definition that is not known.
    """
    masks = [np.asarray(mask) for mask in (prediction, reference)]
    shape = masks[0].shape
    spacing = tuple(float(value) for value in (spacing_mm if spacing_mm is not None else (1.0,) * len(shape)))
    if masks[1].shape != shape or len(shape) not in (2, 3):
        raise ValueError(
            f"the masks have the shapes {shape} and {masks[1].shape}, expected one shape (i, j, k) or (i, j)"
        )
    if len(spacing) != len(shape) or not all(math.isfinite(value) and value > 0 for value in spacing):
        raise ValueError(f"a spacing is a positive number for each of {len(shape)} axes, not {spacing_mm}")
    surfaces = require_definition(definition)
    # Only these two types hold neither negative numbers nor fractions and have a number in the table for each value.
    masks = [mask if mask.dtype in (np.bool_, np.uint8) else mask != 0 for mask in masks]
    if len(shape) == 2:
        masks, spacing = [mask[..., None] for mask in masks], (*spacing, 1.0)
    table = make_table(*masks)
    table[1:] = 1
    survey = survey_numbers(masks[0], masks[1], table, 1, -1)
    box = _join_boxes([survey.boxes[1]], masks[0].shape)
    first, second = (mask[box] != 0 for mask in masks)
    return LabelPair(first, second, count_numbers(survey, [1]), spacing, float(tolerance_mm), surfaces)


def count_numbers(survey: Survey, numbers: Sequence[int]) -> Counts:
    """The voxels of a group of numbers in both maps."""
    both = int(survey.joint[np.ix_(numbers, numbers)].sum())
    in_prediction, in_reference = int(survey.joint[:, numbers].sum()), int(survey.joint[numbers].sum())
    neither = survey.counted - in_prediction - in_reference + both
    return Counts(both, in_prediction - both, in_reference - both, neither)


def _join_boxes(boxes: Sequence[Box | None], shape: tuple[int, ...]) -> Box:
    """The box around all with a margin of one voxel, so that a cut-out is flat only where the scan is."""
    known = [box for box in boxes if box is not None] or [(slice(0, 1),) * len(shape)]
    spans = [(min(span.start for span in axis), max(span.stop for span in axis)) for axis in zip(*known, strict=True)]
    return tuple(slice(max(0, low - 1), min(n, high + 1)) for (low, high), n in zip(spans, shape, strict=True))


def _select(array: NDArray[Any], values: Sequence[int]) -> NDArray[np.bool_]:
    found = np.asarray(array == values[0])
    for value in values[1:]:
        found |= array == value
    return found
