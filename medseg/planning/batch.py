"""How many patches make a training step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medseg.planning.nnunet_rules import SMALLEST_BATCH, Rules

# Our cap, for every preset: no step sees more than this share of the data set's voxels, against overfitting. nnU-Net's
# default planner has the same; its residual presets have none and plan 178 patches of hippocampus.
LARGEST_SHARE_OF_DATASET = 0.05


@dataclass(frozen=True)
class Batch:
    """Patches per step.

    Args:
        size: how many.
        uncapped: what the planner's own rules give, where our cap makes it smaller; None elsewhere.
        reasons: for ``batch_size``, and for ``uncapped_batch_size`` where it is capped.
    """

    size: int
    uncapped: int | None
    reasons: dict[str, str]


def choose_batch(rules: Rules, elements: int, patch: Sequence[int], dataset_voxels: float, memory_gb: float) -> Batch:
    """The batch that fills the memory target, within 5 % of the data set.

    Args:
        rules: of the planner.
        elements: feature map elements of one patch (``count_feature_elements``).
        patch: voxels per axis, 2 or 3 axes.
        dataset_voxels: voxels of all cases at the target spacing.
        memory_gb: the target.
    Returns:
        the batch, at least 2, with what nnU-Net's planner gives.
    Source: nnU-Net 2.8.1, ``get_plans_for_configuration``; the cap of the residual presets is ours.
    """
    by_memory = rules.count_patches(elements, len(patch), memory_gb)
    by_dataset = round(dataset_voxels * rules.dataset_share / math.prod(patch))
    planned = max(min(by_memory, by_dataset), SMALLEST_BATCH)
    share = f"{100 * rules.dataset_share:g} % of the data set's voxels are {by_dataset}"
    reason = f"{memory_gb:g} GB hold {by_memory} patches, {share}; the smaller one counts, but at least"
    most = max(round(dataset_voxels * LARGEST_SHARE_OF_DATASET / math.prod(patch)), SMALLEST_BATCH)
    if planned <= most:
        return Batch(planned, None, {"batch_size": f"{reason} {SMALLEST_BATCH}."})
    capped = (
        f"{most} in place of nnU-Net's {planned}: a step sees {100 * LARGEST_SHARE_OF_DATASET:g} % of the data set's "
        f"voxels at most, against overfitting, but {SMALLEST_BATCH} patches or more."
    )
    return Batch(most, planned, {"batch_size": capped, "uncapped_batch_size": f"{reason} {SMALLEST_BATCH}."})
