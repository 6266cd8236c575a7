"""Lesions in the order of how sure the prediction is of them: average precision and FROC."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.evaluation.instances.overlaps import LesionOverlaps, count_overlaps
from medseg.shapes.components import find_components

# Low, so that lesions that the mask leaves out take part; far below it, neighbours and noise grow into one.
CANDIDATE_PROBABILITY = 0.1
CANDIDATES = f"p>={CANDIDATE_PROBABILITY:g} conn=26 any_overlap score=max"
INSTANCES = "conn=26 score=mean"
# False positives per scan at which LUNA16 reads a FROC curve (Setio et al., Med Image Anal 2017;42:1-13).
FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, eq=False)
class Detections:
    """Predicted lesions with a score each, and the real ones they touch, of one scan or several.

    Args:
        scores: of each predicted lesion, 0 to 1, higher where the prediction is surer.
        references: for each pair of lesions that share voxels the real one, counted from 0.
        predictions: the predicted one, counted from 0.
        iou: their intersection over union.
        reference_count: how many real lesions there are.
        scans: how many scans they come from.
    """

    scores: NDArray[np.float64]
    references: NDArray[np.int64]
    predictions: NDArray[np.int64]
    iou: NDArray[np.float64]
    reference_count: int
    scans: int = 1


@dataclass(frozen=True)
class FrocPoint:
    """A point of a FROC curve: which part of the real lesions is found, and how many false ones come with them.

    Args:
        threshold: predicted lesions with this score or more are kept.
        false_per_scan: kept lesions that touch no real one, a scan.
        sensitivity: real lesions that a kept one touches, 0 to 1.
    """

    threshold: float
    false_per_scan: float
    sensitivity: float


def score_instances(prediction: NDArray[Any], reference: NDArray[Any], probability: NDArray[Any]) -> Detections:
    """The lesions of a predicted mask, each with the mean probability of its voxels.

    Args:
        prediction: the mask, non-zero inside, (i, j, k).
        reference: the mask taken as true.
        probability: of the label, 0 to 1.
    Returns:
        the lesions (26 neighbours a voxel) and what they touch.
    """
    found, count = find_components(prediction)
    inside = found > 0
    sums = np.bincount(found[inside], probability[inside].astype(np.float64), count + 1)[1:]
    sizes = np.bincount(found[inside], minlength=count + 1)[1:]
    return _as_detections(count_overlaps(found, count, *find_components(reference)), sums / np.maximum(sizes, 1))


def detect_lesions(
    probability: NDArray[Any], reference: NDArray[Any], least_probability: float = CANDIDATE_PROBABILITY
) -> Detections:
    """Everything that may be a lesion by its probability, each with the largest probability of its voxels.

    Args:
        probability: of the label, 0 to 1, (i, j, k).
        reference: the mask taken as true.
        least_probability: what a voxel needs to belong to a candidate.
    Returns:
        the candidates (26 neighbours a voxel) and what they touch.
    """
    found, count = find_components(probability >= least_probability)
    inside = found > 0
    highest = np.zeros(count + 1)
    np.maximum.at(highest, found[inside], probability[inside].astype(np.float64))
    return _as_detections(count_overlaps(found, count, *find_components(reference)), highest[1:])


def pool_detections(parts: Sequence[Detections]) -> Detections:
    """The lesions of several scans as one list.

    Args:
        parts: of each scan; one at least.
    Returns:
        all of them, numbered on.
    """
    references = np.cumsum([0, *(part.reference_count for part in parts)])
    predictions = np.cumsum([0, *(part.scores.size for part in parts)])
    return Detections(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.references + first for part, first in zip(parts, references[:-1], strict=True)]),
        np.concatenate([part.predictions + first for part, first in zip(parts, predictions[:-1], strict=True)]),
        np.concatenate([part.iou for part in parts]),
        int(references[-1]),
        sum(part.scans for part in parts),
    )


def measure_average_precision(detections: Detections, least_iou: float) -> float | None:
    """The area under the curve of precision over recall, walking from the surest predicted lesion to the least sure.

    Each takes the free real lesion of the largest IoU that is enough; one that finds none free is false.

    Args:
        detections: of one scan or many.
        least_iou: what a match needs: 0.5 for AP50, 0.75 for AP75.
    Returns:
        0 to 1; 0 where nothing was predicted, None where there is no real lesion.
    Source: Everingham et al., Int J Comput Vis 2015;111:98-136 (all points, precision made falling), as in COCO but for
        its 101 points; lesions of equal score count together.
    """
    if not detections.reference_count:
        return None
    if not detections.scores.size:
        return 0.0
    touched: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for reference, prediction, iou in zip(
        detections.references.tolist(), detections.predictions.tolist(), detections.iou.tolist(), strict=True
    ):
        if iou >= least_iou:
            touched[prediction].append((-iou, reference))
    order = np.argsort(-detections.scores, kind="stable")
    right, taken = np.zeros(order.size), set[int]()
    for place, prediction in enumerate(order.tolist()):
        free = [reference for _, reference in sorted(touched[prediction]) if reference not in taken]
        right[place] = bool(free)
        taken.update(free[:1])
    ends = np.flatnonzero(np.append(np.diff(detections.scores[order]) != 0, True))
    precision = np.cumsum(right)[ends] / (ends + 1)
    steps = np.diff(np.cumsum(right)[ends] / detections.reference_count, prepend=0.0)
    return float(steps @ np.maximum.accumulate(precision[::-1])[::-1])


def trace_froc(detections: Detections) -> list[FrocPoint]:
    """The free-response curve: sensitivity against false lesions a scan, for each score as threshold.

    Args:
        detections: candidates of all scans (``detect_lesions``, pooled).
    Returns:
        points from the highest threshold to the lowest; empty where there is no candidate or no real lesion.
    Source: Bunch et al., J Appl Photogr Eng 1978;4:166-171. A real lesion is found by any candidate that touches it; a
        candidate is false where it touches none.
    """
    if not detections.reference_count or not detections.scores.size:
        return []
    best = np.full(detections.reference_count, -np.inf)
    np.maximum.at(best, detections.references, detections.scores[detections.predictions])
    touching = np.zeros(detections.scores.size, np.bool_)
    touching[detections.predictions] = True
    thresholds = np.unique(detections.scores)[::-1]
    found, false = np.sort(best), np.sort(detections.scores[~touching])
    sensitivity = (found.size - np.searchsorted(found, thresholds)) / found.size
    false_per_scan = (false.size - np.searchsorted(false, thresholds)) / detections.scans
    return [
        FrocPoint(*point)
        for point in zip(thresholds.tolist(), false_per_scan.tolist(), sensitivity.tolist(), strict=True)
    ]


def measure_froc_mean(points: Sequence[FrocPoint], rates: Sequence[float] = FROC_RATES) -> float:
    """The mean sensitivity at given numbers of false lesions a scan.

    Args:
        points: of a curve.
        rates: false lesions a scan.
    Returns:
        0 to 1: at each rate the highest sensitivity reached with at most so many, 0 where every point has more.
    Source: Setio et al., Med Image Anal 2017;42:1-13 (LUNA16's score), without interpolating between points.
    """
    reached = [max((p.sensitivity for p in points if p.false_per_scan <= rate), default=0.0) for rate in rates]
    return sum(reached) / len(reached)


def _as_detections(overlaps: LesionOverlaps, scores: NDArray[np.float64]) -> Detections:
    return Detections(
        scores, overlaps.references, overlaps.predictions, overlaps.iou, int(overlaps.reference_voxels.size)
    )
