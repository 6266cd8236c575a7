"""Rules that remove components of a predicted mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import PlanError
from medseg.core.labels import LabelScheme
from medseg.core.model import Rule
from medseg.core.volume import Segmentation
from medseg.shapes.boxes import bound_mask
from medseg.shapes.components import find_components


def apply_rules(segmentation: Segmentation, labels: LabelScheme, rules: Sequence[Rule]) -> Segmentation:
    """The mask without the components that the rules remove.

    Args:
        segmentation: a predicted mask.
        labels: its label scheme.
        rules: applied one after another, each to the result of the one before.
    Returns:
        a mask on the same grid; the same object where nothing is removed. A removed voxel leaves the rule's label and
        every region that lies within it, and takes the value that belongs to all its other regions and to nothing else
        (a removed enhancing tumour inside a tumour core becomes core); where no value does, and for labels in no
        region, background.
    Raises:
        PlanError: a rule names a label that the scheme has not.
    """
    for rule in rules:
        if rule.label not in labels.names:
            raise PlanError(
                f"the rule for {rule.label!r} fits none of the labels {', '.join(labels.names)}", code="unknown_label"
            )
        segmentation = _apply_rule(segmentation, labels, rule)
    return segmentation


def keep_components(sizes_ml: NDArray[np.floating[Any]], rule: Rule) -> NDArray[np.bool_]:
    """Which components a rule keeps.

    Args:
        sizes_ml: their volumes, largest first, millilitres.
        rule: the rule.
    Returns:
        true for the kept ones, in the same order.
    """
    # A component of exactly the minimum stays, whatever rounding the voxel volume brings.
    kept = sizes_ml >= rule.minimum_ml * (1 - 1e-9)
    if rule.keep_largest:
        kept[1:] = False
    return np.asarray(kept)


def find_substitutes(labels: LabelScheme, name: str) -> dict[int, int]:
    """The value that a voxel takes when it is removed from a label.

    Args:
        labels: the label scheme.
        name: the class or region that it is removed from.
    Returns:
        for each value of the label the one that stands for its other regions, 0 where there is none.
    """
    regions = {
        value: {region for region, values in labels.labels.items() if value in values}
        for value in labels.values
        if value != labels.ignore
    }
    lost = {region for region, values in labels.labels.items() if set(values) <= set(labels.labels[name])}
    return {
        value: next((other for other, held in regions.items() if held == regions[value] - lost), 0)
        for value in labels.labels[name]
    }


def _apply_rule(segmentation: Segmentation, labels: LabelScheme, rule: Rule) -> Segmentation:
    box = bound_mask(segmentation.array)
    if box is None:
        return segmentation
    components, count = find_components(labels.mask(segmentation.array[box], rule.label))
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    kept = keep_components(sizes * segmentation.geometry.voxel_volume_ml, rule)
    if kept.all():
        return segmentation
    removed = np.insert(~kept, 0, False)[components]
    array = segmentation.array.copy()
    _substitute(array[box], removed, find_substitutes(labels, rule.label))
    return Segmentation(array, segmentation.geometry)


def _substitute(array: NDArray[Any], removed: NDArray[np.bool_], substitutes: dict[int, int]) -> None:
    found = array[removed]
    array[removed] = np.select([found == value for value in substitutes], list(substitutes.values()))
