"""The two masks of one label, cut out, with everything that metrics are worked out from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.evaluation.definitions import Definition
from medseg.evaluation.instances import LesionMatch, match_lesions
from medseg.evaluation.overlap import Counts
from medseg.shapes.boxes import Box, bound_mask
from medseg.shapes.surfaces import Elements, SurfaceDistances, measure_surface_distances

LARGEST_VALUE = 65535  # that a label scheme takes
SLAB_VOXELS = 1 << 22  # counted at once: 32 MB of joint indices


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
    """

    prediction: NDArray[np.bool_]
    reference: NDArray[np.bool_]
    counts: Counts
    spacing_mm: tuple[float, float, float]
    tolerance_mm: float
    definition: Definition = "surfel"

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Distances between the surfaces, a the prediction's, b the reference's; worked out when first asked for."""
        elements: Elements = "surfel" if self.definition == "surfel" else "voxel"
        return measure_surface_distances(self.prediction, self.reference, self.spacing_mm, elements=elements)

    @cached_property
    def lesions(self) -> LesionMatch:
        """Which components belong together; worked out when first asked for."""
        return match_lesions(self.prediction, self.reference)


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
    predicted, expected, counted = _number_values(prediction.array, reference.array, values, labels.ignore)
    joint = _count_joint(predicted, expected, len(values) + 1)
    boxes = _find_boxes(predicted, expected, len(values))
    for name, group in labels.labels.items():
        numbers = [values.index(value) + 1 for value in group]
        both = int(joint[np.ix_(numbers, numbers)].sum())
        in_prediction, in_reference = int(joint[:, numbers].sum()), int(joint[numbers].sum())
        neither = counted - in_prediction - in_reference + both
        box = _join_boxes([boxes[number] for number in numbers], predicted.shape)
        yield (
            name,
            LabelPair(
                _select(predicted[box], numbers),
                _select(expected[box], numbers),
                Counts(both, in_prediction - both, in_reference - both, neither),
                reference.geometry.spacing_mm,
                tolerances_mm[name],
                definition,
            ),
        )


def _number_values(
    predicted: NDArray[Any], expected: NDArray[Any], values: Sequence[int], ignore: int | None
) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Both maps with 1, 2, ... for the values and 0 for all else, cut to what is not 0; and how many voxels count."""
    table = np.zeros(LARGEST_VALUE + 2, np.uint8 if len(values) < 256 else np.uint16)
    table[values] = np.arange(1, len(values) + 1)
    numbered = [table[_clip_values(array)] for array in (predicted, expected)]
    counted = predicted.size
    if ignore is not None:
        ignored = expected == ignore
        numbered[0][ignored] = numbered[1][ignored] = 0
        counted -= int(np.count_nonzero(ignored))
    box = bound_mask((numbered[0] | numbered[1]) != 0)
    box = _join_boxes([box], predicted.shape)
    return numbered[0][box], numbered[1][box], counted


def _clip_values(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.dtype.itemsize <= 2 else np.minimum(array, LARGEST_VALUE + 1)


def _count_joint(predicted: NDArray[Any], expected: NDArray[Any], count: int) -> NDArray[np.int64]:
    """How many voxels have each pair of numbers: (reference, prediction)."""
    joint = np.zeros(count * count, np.int64)
    rows = max(1, SLAB_VOXELS // max(1, predicted[:1].size))
    for start in range(0, predicted.shape[0], rows):
        index = expected[start : start + rows].astype(np.intp)
        index *= count
        index += predicted[start : start + rows]
        joint += np.bincount(index.reshape(-1), minlength=count * count)
    return joint.reshape(count, count)


def _find_boxes(predicted: NDArray[Any], expected: NDArray[Any], count: int) -> dict[int, Box | None]:
    """The smallest box around each number's voxels in both maps."""
    from scipy import ndimage

    found = [ndimage.find_objects(array, max_label=count) for array in (predicted, expected)]  # type: ignore[attr-defined]
    return {number + 1: _enclose([boxes[number] for boxes in found]) for number in range(count)}


def _enclose(boxes: Sequence[Box | None]) -> Box | None:
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    return tuple(slice(min(s.start for s in spans), max(s.stop for s in spans)) for spans in zip(*known, strict=True))


def _join_boxes(boxes: Sequence[Box | None], shape: tuple[int, ...]) -> Box:
    """The box around all with a margin of one voxel, so that a cut-out is flat only where the scan is."""
    box = _enclose(boxes) or (slice(0, 1),) * len(shape)
    return tuple(slice(max(0, span.start - 1), min(n, span.stop + 1)) for span, n in zip(box, shape, strict=True))


def _select(numbered: NDArray[Any], numbers: Sequence[int]) -> NDArray[np.bool_]:
    if len(numbers) == 1:
        return np.asarray(numbered == numbers[0])
    return np.asarray(np.isin(numbered, numbers))
