"""Masks as a folder with a binary file per structure, put together as one label map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.dataset import MaskSource
from medseg.core.errors import DatasetError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.label_map import read_values, refuse_values, turn_to


def name_structures(names: Sequence[str]) -> LabelScheme:
    """The label scheme for structures that only their files' names tell: 1, 2, ... in the order of the names."""
    return LabelScheme.make({name: value for value, name in enumerate(sorted(set(names)), start=1)})


def read_structures(
    source: MaskSource,
    labels: LabelScheme | None,
    like: Geometry | None,
    spacing_mm: Sequence[float] | None,
    *,
    grid_of: str = "image",
) -> Segmentation:
    """The label map of a folder of structures.

    Args:
        source: names the files; those that ``labels`` does not name are left out.
        labels: the value each structure paints, or for regions, the sets of structures a value stands for.
        like: the grid to lie on; the first structure's where None.
        spacing_mm: for pictures, which seldom know theirs.
        grid_of: whose grid ``like`` is, for messages.
    Returns:
        the label map, uint8 or uint16.
    Raises:
        FormatError: a file is missing, damaged or of an unknown kind.
        GeometryError: a structure lies on another grid.
        DatasetError: a file is not binary, structures overlap in a way that no value stands for, or none is named.
    """
    scheme = labels or name_structures([name for name, _ in source.structures])
    known = [(name, path) for name, path in source.structures if name in scheme.labels]
    if not known:
        raise DatasetError(
            f"none of the files is called after a label ({', '.join(scheme.names)})",
            code="no_structure",
            file=source.path,
            remedy="Name the labels after the files with --labels",
        )
    array: NDArray[Any] | None = None
    grid_of = "first structure" if like is None else grid_of
    for name, path in known:
        values, geometry = read_values(path, spacing_mm)
        _refuse_several(values, path)
        part = turn_to(values, geometry, like, path, grid_of=grid_of)
        like, inside = part.geometry, part.array > 0
        if array is None:
            array = np.zeros(inside.shape, np.uint64 if scheme.has_regions else scheme.value_type(), order="F")
        if scheme.has_regions:
            array[inside] |= np.uint64(1 << scheme.names.index(name))
            continue
        overlap = int(np.count_nonzero(array[inside]))
        if overlap:
            raise DatasetError(
                f"{name!r} overlaps an earlier structure in {overlap} voxels",
                code="overlapping_structures",
                file=path,
                remedy="Make them exclusive, or give a dataset.json with regions",
            )
        array[inside] = scheme.labels[name][0]
    assert array is not None
    assert like is not None
    return Segmentation(decode_regions(array, scheme, source.path) if scheme.has_regions else array, like)


def _refuse_several(values: NDArray[Any], path: Path) -> None:
    other = (values != 0) & (values != values.max())
    if other.any():
        refuse_values(values[values != 0], "in a structure's file, expected 0 and one other", path)


def decode_regions(membership: NDArray[Any], scheme: LabelScheme, path: Path) -> NDArray[Any]:
    """The values of a label map out of the set of regions that each voxel belongs to.

    Args:
        membership: (i, j, k), bit n set where the region n of ``scheme.names`` lies.
        scheme: which values belong to which regions.
        path: for the message.
    Returns:
        (i, j, k), uint8 or uint16.
    Raises:
        DatasetError: no value stands for some voxel's set of regions.
    """
    codes, inverse = np.unique(membership, return_inverse=True)
    value_of = {
        sum(1 << n for n, group in enumerate(scheme.labels.values()) if value in group): value
        for value in reversed(scheme.values)
        if value != scheme.ignore
    }
    unknown = [int(code) for code in codes if int(code) not in value_of]
    if unknown:
        sets = " and ".join(name for n, name in enumerate(scheme.names) if unknown[0] >> n & 1)
        raise DatasetError(f"no label value stands for {sets} alone", code="overlapping_structures", file=path)
    values = np.array([value_of[int(code)] for code in codes], scheme.value_type())
    decoded: NDArray[Any] = values[inverse].reshape(membership.shape)
    return decoded
