"""What choosing rules needs to know of one case: its components and what they hit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.shapes.boxes import bound_mask
from medseg.shapes.components import find_components


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The components of one label in one case; voxels that the reference ignores count in ``sizes_ml`` alone.

    Args:
        sizes_ml: volume of each predicted component, largest first, millilitres.
        voxels: voxels of each predicted component.
        hits: those of them that the reference has too.
        reference_voxels: voxels of the label in the reference.
        reference_sizes_ml: volume of each reference component, largest first, millilitres.
        contacts: (predicted, reference) component, from 0, for every two that share a voxel, (contact, 2).
    """

    sizes_ml: NDArray[np.floating[Any]]
    voxels: NDArray[np.int64]
    hits: NDArray[np.int64]
    reference_voxels: int
    reference_sizes_ml: NDArray[np.floating[Any]]
    contacts: NDArray[np.int64]


CaseTable = dict[str, LabelTable]
"""A table per class or region of the label scheme."""


def tabulate_case(prediction: Segmentation, reference: Segmentation, labels: LabelScheme) -> CaseTable:
    """The components of one case's prediction and what they hit, a few numbers each.

    Args:
        prediction: the predicted mask before any rule.
        reference: its reference on the same grid.
        labels: the label scheme of both.
    Returns:
        a table per class or region.
    Raises:
        GeometryError: the masks lie on different grids.
    """
    if not prediction.geometry.same_grid(reference.geometry):
        raise GeometryError(
            f"the reference's grid is {reference.geometry.describe()}, the prediction's "
            f"{prediction.geometry.describe()}",
            code="other_grid",
        )
    box = bound_mask((prediction.array != 0) | (reference.array != 0)) or (slice(0, 0),) * 3
    predicted, referred = prediction.array[box], reference.array[box]
    ignored = None if labels.ignore is None else referred == labels.ignore
    voxel_ml = prediction.geometry.voxel_volume_ml
    return {
        name: _tabulate_label(labels.mask(predicted, name), labels.mask(referred, name), ignored, voxel_ml)
        for name in labels.names
    }


def _tabulate_label(
    predicted: NDArray[np.bool_], referred: NDArray[np.bool_], ignored: NDArray[Any] | None, voxel_ml: float
) -> LabelTable:
    components, count = find_components(predicted)
    references, reference_count = find_components(referred)
    both = predicted & referred
    contacts = np.unique(np.stack([components[both], references[both]], axis=1), axis=0).astype(np.int64) - 1
    counted = components if ignored is None else components[~ignored]
    return LabelTable(
        sizes_ml=_count_voxels(components, count) * voxel_ml,
        voxels=_count_voxels(counted, count),
        hits=_count_voxels(components[both], count),
        reference_voxels=int(np.count_nonzero(referred)),
        reference_sizes_ml=_count_voxels(references, reference_count) * voxel_ml,
        contacts=contacts,
    )


def _count_voxels(components: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    return np.bincount(components.ravel(), minlength=count + 1)[1:]
