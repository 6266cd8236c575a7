"""How many patches make a training step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medseg.planning.memory import REFERENCE_BATCH, REFERENCE_ELEMENTS, REFERENCE_GB

# nnU-Net 2.8.1: two at least; no step sees more than 5 % of the data set's voxels, against overfitting.
SMALLEST_BATCH = 2
LARGEST_SHARE_OF_DATASET = 0.05


def choose_batch(elements: int, patch: Sequence[int], dataset_voxels: float, memory_gb: float) -> tuple[int, str]:
    """The batch size that fills the memory target, within 5 % of the data set.

    Args:
        elements: feature map elements of one patch (``count_feature_elements``).
        patch: voxels per axis, 2 or 3 axes.
        dataset_voxels: voxels of all cases at the target spacing.
        memory_gb: the target.
    Returns:
        the batch size, at least 2, and the reason.
    """
    dimensions = len(patch)
    reference = REFERENCE_ELEMENTS[dimensions] * (memory_gb / REFERENCE_GB)
    by_memory = round(reference / elements * REFERENCE_BATCH[dimensions])
    by_dataset = round(dataset_voxels * LARGEST_SHARE_OF_DATASET / math.prod(patch))
    batch = max(min(by_memory, by_dataset), SMALLEST_BATCH)
    reason = f"{memory_gb:g} GB hold {by_memory} patches, 5 % of the data set's voxels are {by_dataset}"
    return batch, f"{reason}; the smaller one counts, but at least {SMALLEST_BATCH}."
