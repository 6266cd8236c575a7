"""Rules by which predicted lesions are matched to real ones, each with a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import PlanError
from medseg.evaluation.instances.overlaps import Connectivity, LesionOverlaps, overlap_lesions

Way = Literal["greedy", "maximum", "many_to_one", "many_to_many"]
WAYS: tuple[Way, ...] = ("greedy", "maximum", "many_to_one", "many_to_many")


@dataclass(frozen=True)
class Matching:
    """When a predicted lesion and a real one belong together.

    Args:
        least_iou: the intersection over union that a match needs; 0 where one shared voxel is enough.
        way: ``greedy``: each belongs to one other at most, the best pairs first (by shared voxels where those are
            enough, else by IoU). ``maximum``: one to one too, with as many matches as there can be, and among those
            the largest sum of IoU. ``many_to_one``: each predicted lesion goes to the real one it shares most voxels
            with; all that go to a real one are compared with it together. ``many_to_many``: a real lesion is compared
            with all predicted ones that touch it, each of which may touch others too.
        connectivity: how many neighbours a voxel of a lesion has: 6, 18 or 26.
    """

    least_iou: float = 0.0
    way: Way = "greedy"
    connectivity: Connectivity = 26

    @property
    def name(self) -> str:
        """What the column ``definition`` says: ``any_overlap conn=26``, ``iou>=0.5 maximum conn=18``."""
        rule = f"iou>={self.least_iou:g}" if self.least_iou else "any_overlap"
        return " ".join([rule, *([] if self.way == "greedy" else [self.way]), f"conn={self.connectivity}"])


ANY_OVERLAP = Matching()
HALF_IOU = Matching(least_iou=0.5)


def parse_matching(name: str | Matching) -> Matching:
    """A rule from its name.

    Args:
        name: ``any_overlap`` or ``iou>=0.3``, then as wanted ``maximum``, ``many_to_one`` or ``many_to_many``, then as
            wanted ``conn=6`` or ``conn=18``; a rule itself stays as it is.
    Returns:
        the rule; one to one, best pairs first, and 26 neighbours where the name does not say.
    Raises:
        PlanError: a word that is none of these.
    """
    if isinstance(name, Matching):
        return name
    found = re.fullmatch(
        rf"(any_overlap|iou>=(?P<iou>[0-9.]+))(?: (?P<way>{'|'.join(WAYS)}))?(?: conn=(?P<conn>6|18|26))?", name.strip()
    )
    share = found["iou"] if found else None
    least = float(share) if share and share.count(".") <= 1 and share != "." else 0.0
    if found is None or (share and not 0 < least <= 1):
        raise PlanError(
            f"{name!r} is no rule for matching lesions", code="bad_matching",
            remedy=f"Write any_overlap or iou>=0.5, then one of {', '.join(WAYS)}, then conn=6, conn=18 or conn=26",
        )  # fmt: skip
    ways = [way for way in WAYS if way == found["way"]]
    neighbours: dict[str | None, Connectivity] = {"6": 6, "18": 18}
    return Matching(least, ways[0] if ways else "greedy", neighbours.get(found["conn"], 26))


@dataclass(frozen=True)
class LesionMatch:
    """Which lesions of a reference and of a prediction belong together.

    Args:
        reference_voxels: size of each lesion of the reference, largest first.
        prediction_voxels: size of each lesion of the prediction, largest first.
        partners: for each lesion of the reference the number of its lesion in the prediction, counted from 1, 0 where
            it was missed; the one sharing most voxels where it has several.
        iou: for each lesion of the reference, the intersection over union with its partners, 0 where it was missed.
        dice: the same for Dice.
        real: for each lesion of the prediction, whether it belongs to one of the reference.
    """

    reference_voxels: tuple[int, ...]
    prediction_voxels: tuple[int, ...]
    partners: tuple[int, ...]
    iou: tuple[float, ...]
    dice: tuple[float, ...]
    real: tuple[bool, ...]

    @property
    def reference_count(self) -> int:
        """Lesions of the reference."""
        return len(self.reference_voxels)

    @property
    def prediction_count(self) -> int:
        """Lesions of the prediction."""
        return len(self.prediction_voxels)

    @property
    def found(self) -> int:
        """How many lesions of the reference have a partner (true positives)."""
        return sum(partner > 0 for partner in self.partners)


def match_lesions(
    prediction: NDArray[Any], reference: NDArray[Any], matching: str | Matching = ANY_OVERLAP
) -> LesionMatch:
    """Match the components of two masks.

    By default each has 26 neighbours a voxel, sharing a voxel is enough, and each belongs to one other at most, those
    sharing most voxels first: two lesions that one predicted component covers count as one found and one missed; a
    lesion that was predicted in two pieces counts as one found and one false.

    Args:
        prediction: non-zero inside, (i, j, k).
        reference: the same grid.
        matching: the rule, or its name (``parse_matching``).
    Returns:
        the matches; empty for an empty reference.
    Raises:
        PlanError: a name that is no rule.
    """
    rule = parse_matching(matching)
    return match_overlaps(overlap_lesions(prediction, reference, connectivity=rule.connectivity), rule)


def match_overlaps(overlaps: LesionOverlaps, matching: Matching) -> LesionMatch:
    """Match lesions by what they share.

    Args:
        overlaps: the lesions; their connectivity is the caller's matter.
        matching: the rule.
    Returns:
        the matches.
    """
    if matching.way in ("greedy", "maximum"):
        order = np.argsort(-(overlaps.iou if matching.least_iou else overlaps.shared_voxels), kind="stable")
        candidates = order[overlaps.iou[order] >= matching.least_iou]
        taken = _take_best if matching.way == "greedy" else _take_most
        return _describe(overlaps, taken(overlaps, candidates), 0.0)
    pairs = np.arange(overlaps.shared_voxels.size)
    if matching.way == "many_to_one":
        order = np.lexsort((overlaps.references, -overlaps.shared_voxels, overlaps.predictions))
        _, first = np.unique(overlaps.predictions[order], return_index=True)
        pairs = order[first]
    return _describe(overlaps, pairs, matching.least_iou)


def _take_best(overlaps: LesionOverlaps, candidates: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of pairs, best first, those whose lesions no better pair has taken."""
    references, predictions, taken = set[int](), set[int](), []
    for pair in candidates.tolist():
        reference, prediction = int(overlaps.references[pair]), int(overlaps.predictions[pair])
        if reference not in references and prediction not in predictions:
            references.add(reference)
            predictions.add(prediction)
            taken.append(pair)
    return np.array(taken, np.intp)


def _take_most(overlaps: LesionOverlaps, candidates: NDArray[np.intp]) -> NDArray[np.intp]:
    """The largest set of pairs with no lesion in two of them, and of those sets the one with the largest sum of IoU."""
    from scipy.optimize import linear_sum_assignment  # type: ignore[attr-defined]

    references, rows = np.unique(overlaps.references[candidates], return_inverse=True)
    predictions, columns = np.unique(overlaps.predictions[candidates], return_inverse=True)
    gain = np.zeros((references.size, predictions.size))
    # The IoU of all pairs together stays below 1, the gain of one pair more.
    gain[rows, columns] = 1.0 + overlaps.iou[candidates] / (min(gain.shape, default=0) + 1)
    pair = np.full(gain.shape, -1, np.intp)
    pair[rows, columns] = candidates
    taken = pair[linear_sum_assignment(gain, maximize=True)]
    return np.asarray(taken[taken >= 0])


def _describe(overlaps: LesionOverlaps, pairs: NDArray[np.intp], least_iou: float) -> LesionMatch:
    """The match that pairs make: each lesion of the reference against all its partners together."""
    references, predictions = overlaps.references[pairs], overlaps.predictions[pairs]
    count = overlaps.reference_voxels.size
    shared = np.bincount(references, overlaps.shared_voxels[pairs], count)
    both = overlaps.reference_voxels + np.bincount(references, overlaps.prediction_voxels[predictions], count)
    iou = shared / np.maximum(both - shared, 1)
    matched = (shared > 0) & (iou >= least_iou)
    partners, real = np.zeros(count, np.int64), np.zeros(overlaps.prediction_voxels.size, np.bool_)
    # The last one written stays: the partner that shares most voxels, the lowest number among equals.
    order = np.lexsort((-predictions, overlaps.shared_voxels[pairs]))
    partners[references[order]] = predictions[order] + 1
    real[predictions[matched[references]]] = True
    return LesionMatch(
        tuple(overlaps.reference_voxels.tolist()),
        tuple(overlaps.prediction_voxels.tolist()),
        tuple(np.where(matched, partners, 0).tolist()),
        tuple(np.where(matched, iou, 0.0).tolist()),
        tuple(np.where(matched, 2 * shared / np.maximum(both, 1), 0.0).tolist()),
        tuple(real.tolist()),
    )
