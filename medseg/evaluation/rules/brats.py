"""Scoring as the BraTS 2023 challenges do it: lesion by lesion, with a penalty for each false and missed one."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.evaluation import overlap, surface
from medseg.evaluation.metrics import Better, Metric
from medseg.evaluation.pairs import LabelPair
from medseg.evaluation.rules.regions import Region, Rules
from medseg.shapes.boxes import Box
from medseg.shapes.components import find_components
from medseg.shapes.surfaces import measure_surface_distances

# In place of an infinite distance: the diagonal of a BraTS scan, 240 x 240 x 155 voxels of 1 mm, rounded.
PENALTY_MM = 374.0


@dataclass(frozen=True)
class Lesion:
    """A lesion of the reference against everything that was predicted near it.

    Args:
        volume_mm3: of the lesion.
        dice: with all predicted components that touch the lesion once it is dilated; 0 where none does.
        hd95_mm: with the same; the penalty where none does.
        found: whether one does.
    """

    volume_mm3: float
    dice: float
    hd95_mm: float
    found: bool


@dataclass(frozen=True)
class Lesions:
    """A scan's lesions, and how many predicted components are near none of them."""

    found: tuple[Lesion, ...]
    false: int


def compare_lesions(pair: LabelPair, dilation_voxels: int) -> Lesions:
    """Each lesion of a reference against the predicted components near it.

    Components of the reference (26 neighbours) that touch once dilated are one lesion. A predicted component belongs
    to every lesion that it touches once that lesion is dilated, and is compared with the lesion as it was drawn.

    Args:
        pair: the masks.
        dilation_voxels: how many times the lesions are dilated, by 18 neighbours.
    Returns:
        the lesions, and the number of predicted components that belong to none.
    """
    from scipy import ndimage

    near_by: Any = ndimage.generate_binary_structure(3, 2)  # type: ignore[attr-defined]
    dilate: Any = ndimage.binary_dilation  # type: ignore[attr-defined]
    find_boxes: Any = ndimage.find_objects  # type: ignore[attr-defined]
    predicted, count = find_components(pair.prediction)
    grown = dilate(pair.reference, near_by, dilation_voxels)
    lesions = np.where(pair.reference, find_components(grown)[0], 0)
    boxes, near_some, found = find_boxes(predicted), set[int](), []
    for number, box in enumerate(find_boxes(lesions), start=1):
        wide = _widen(box, dilation_voxels, lesions.shape)
        near = dilate(lesions[wide] == number, near_by, dilation_voxels)
        touching = np.unique(predicted[wide][near & (predicted[wide] > 0)])
        near_some.update(touching.tolist())
        both = _widen(_enclose([box, *(boxes[component - 1] for component in touching)]), 1, lesions.shape)
        found.append(_compare(lesions[both] == number, np.isin(predicted[both], touching), pair))
    return Lesions(tuple(found), count - len(near_some))


def _enclose(boxes: Sequence[Box]) -> Box:
    return tuple(slice(min(s.start for s in spans), max(s.stop for s in spans)) for spans in zip(*boxes, strict=True))


def _widen(box: Box, voxels: int, shape: tuple[int, ...]) -> Box:
    return tuple(slice(max(0, s.start - voxels), min(n, s.stop + voxels)) for s, n in zip(box, shape, strict=True))


def _compare(lesion: NDArray[np.bool_], near: NDArray[np.bool_], pair: LabelPair) -> Lesion:
    size, others = int(lesion.sum()), int(near.sum())
    dice = 2 * int((lesion & near).sum()) / (size + others)
    hd95 = surface.measure_hd95(measure_surface_distances(near, lesion, pair.spacing_mm)) if others else math.inf
    return Lesion(size * pair.voxel_ml * 1000.0, dice, PENALTY_MM if hd95 == math.inf else hd95, others > 0)


_known: weakref.WeakKeyDictionary[LabelPair, dict[int, Lesions]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _remember(pair: LabelPair, dilation_voxels: int) -> Lesions:
    """The lesions of a pair, worked out once for all metrics."""
    with _lock:
        known = _known.setdefault(pair, {})
    if dilation_voxels not in known:
        known[dilation_voxels] = compare_lesions(pair, dilation_voxels)
    return known[dilation_voxels]


def measure_lesionwise(
    lesions: Lesions, above_mm3: float, value: Callable[[Lesion], float], false: float
) -> float | None:
    """The mean of a value over the lesions of a scan and its false components.

    Args:
        lesions: of the scan.
        above_mm3: lesions of this volume or less do not count (what was predicted near them is not false either).
        value: of a lesion.
        false: what each false component counts as.
    Returns:
        the mean; None where there is neither a lesion that counts nor a false component.
    """
    values = [value(lesion) for lesion in lesions.found if lesion.volume_mm3 > above_mm3]
    count = len(values) + lesions.false
    return (math.fsum(values) + lesions.false * false) / count if count else None


def _make_rules(name: str, challenges: str, dilation_voxels: int, above_mm3: float) -> Rules:
    lesionwise = f"brats2023 dilation={dilation_voxels} above={above_mm3:g}mm3 conn=26"

    def average(value: Callable[[Lesion], float], false: float, perfect: float) -> Callable[[LabelPair], float]:
        def measure(pair: LabelPair) -> float:
            mean = measure_lesionwise(_remember(pair, dilation_voxels), above_mm3, value, false)
            return perfect if mean is None else mean

        return measure

    def count(wanted: bool) -> Callable[[LabelPair], float]:
        def measure(pair: LabelPair) -> float:
            lesions = _remember(pair, dilation_voxels).found
            return float(sum(lesion.found == wanted and lesion.volume_mm3 > above_mm3 for lesion in lesions))

        return measure

    return Rules(
        name,
        f"{challenges}: Saluja et al., rachitsaluja/BraTS-2023-Metrics, eval.py: HD95 of the surface-distance package; "
        f"{PENALTY_MM:g} mm in place of infinite distances and for each false or missed lesion, whose Dice is 0; where "
        "both masks are empty Dice and sensitivity are 1 and distances 0",
        (
            Metric("lesionwise_dice", average(lambda lesion: lesion.dice, 0.0, 1.0), lesionwise, covers_empty=True),
            Metric(
                "lesionwise_hd95",
                average(lambda lesion: lesion.hd95_mm, PENALTY_MM, 0.0),
                lesionwise,
                "mm",
                covers_empty=True,
                better="lower",
            ),
            Metric("true_positive_lesions", count(wanted=True), lesionwise, covers_empty=True),
            Metric("false_negative_lesions", count(wanted=False), lesionwise, covers_empty=True, better="lower"),
            Metric(
                "false_positive_lesions",
                lambda pair: float(_remember(pair, dilation_voxels).false),
                lesionwise,
                covers_empty=True,
                better="lower",
            ),
            *WHOLE,
        ),
        parts={"ncr": 1, "ed": 2, "et": 3},
        regions={
            "whole_tumor": Region(("ncr", "ed", "et")),
            "tumor_core": Region(("ncr", "et")),
            "enhancing_tumor": Region(("et",)),
        },
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _both_empty(pair: LabelPair) -> bool:
    return not pair.counts.prediction and not pair.counts.reference


def _measure_hd95(pair: LabelPair) -> float:
    if _both_empty(pair):
        return 0.0
    hd95 = surface.measure_hd95(measure_surface_distances(pair.prediction, pair.reference, pair.spacing_mm))
    return PENALTY_MM if hd95 == math.inf else hd95


def _measure_sensitivity(pair: LabelPair) -> float:
    return 1.0 if _both_empty(pair) else _or(overlap.measure_sensitivity(pair.counts), 0.0)


def _metric(name: str, measure: Callable[[LabelPair], Any], unit: str = "", better: Better = "higher") -> Metric:
    return Metric(name, measure, "brats2023", unit, covers_empty=True, better=better)


# Of whole scans, which the challenge calls legacy.
WHOLE = (
    _metric("dice", lambda pair: _or(overlap.measure_dice(pair.counts), 1.0)),
    _metric("hd95", _measure_hd95, "mm", "lower"),
    _metric("sensitivity", _measure_sensitivity),
    _metric("specificity", lambda pair: _or(overlap.measure_specificity(pair.counts), 0.0)),
)

BRATS = _make_rules("brats", "BraTS-GLI, SSA and PED 2023", 3, 50.0)
BRATS_MEN = _make_rules("brats-men", "BraTS-MEN 2023", 1, 50.0)
BRATS_MET = _make_rules("brats-met", "BraTS-MET 2023", 1, 2.0)
