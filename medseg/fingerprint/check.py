"""What makes a case unusable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.dataset import Case
from medseg.core.errors import DatasetError, FormatError, GeometryError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.io.files import PICTURE_ENDINGS, split_ending

SHOWN_VALUES = 10


def check_case(
    case: Case, volume: Volume, segmentation: Segmentation | None, labels: LabelScheme | None
) -> list[MedsegError]:
    """Every problem of a case at once: its intensities, its mask's grid and its mask's values.

    Args:
        case: the case, for names and files.
        volume: its image, (channel, i, j, k).
        segmentation: its reference mask, or None where it has none.
        labels: the values that the mask may hold, or None where they are not known yet.
    Returns:
        an error per problem; empty where the case can be used. A mask without foreground is none: healthy cases exist.
    """
    problems: list[MedsegError] = []
    for index, name in enumerate(volume.channels):
        problem = _check_intensities(case, index, name, volume.array[index])
        problems += [problem] if problem else []
    if segmentation is not None:
        problems += _check_grid(case, volume, segmentation)
        if labels is not None:
            problems += _check_values(case, segmentation.array, labels)
    return problems


def _check_intensities(case: Case, index: int, name: str, array: NDArray[Any]) -> MedsegError | None:
    file = case.images[index].path if index < len(case.images) else None
    # Smallest and largest value show NaN and infinity too, without a copy of the image.
    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int(array.size - np.isfinite(array).sum())
        return FormatError(
            f"channel {name}: {bad} of {array.size} voxels are NaN or infinite",
            code="not_finite",
            case=case.name,
            file=file,
            remedy="Export the image again, or replace these voxels by the background's value",
        )
    if low != high or _is_colour(case, index):
        return None
    text = "all voxels are 0" if low == 0 else f"all voxels have the value {low:g}"
    return FormatError(
        f"channel {name}: {text}",
        code="constant_image",
        case=case.name,
        file=file,
        remedy="Export the image again or leave the case out",
    )


def _is_colour(case: Case, index: int) -> bool:
    # A stain may leave one of a picture's colours empty; that all of them are is found on reading.
    images = case.images
    if index >= len(images) or split_ending(images[index].path)[1] not in PICTURE_ENDINGS:
        return False
    return sum(source.path == images[index].path for source in images) > 1


def _check_grid(case: Case, volume: Volume, segmentation: Segmentation) -> list[MedsegError]:
    image, mask = volume.geometry, segmentation.geometry
    if image.same_grid(mask):
        return []
    reason = f"the mask's grid, {mask.describe()}, is not the image's, {image.describe()}"
    if image.shape == mask.shape:
        reason = (
            f"the mask's grid is not the image's: voxels lie up to {image.largest_shift_voxels(mask):.3g} voxels apart"
        )
    return [
        GeometryError(
            reason,
            code="grid_mismatch",
            case=case.name,
            file=case.mask.path if case.mask else None,
            remedy="Give the mask that was drawn on this image, or resample it to the image's grid",
        )
    ]


def _check_values(case: Case, array: NDArray[Any], labels: LabelScheme) -> list[MedsegError]:
    known = labels.values
    if known == tuple(range(len(known))) and array.max() <= known[-1]:
        return []
    unknown = sorted(set(find_values(array)) - set(known))
    if not unknown:
        return []
    shown = ", ".join(map(str, unknown[:SHOWN_VALUES])) + (", ..." if len(unknown) > SHOWN_VALUES else "")
    expected = ", ".join(map(str, known[:SHOWN_VALUES])) + (", ..." if len(known) > SHOWN_VALUES else "")
    return [
        DatasetError(
            f"the mask holds the values {shown}; expected {expected}",
            code="unknown_labels",
            case=case.name,
            file=case.mask.path if case.mask else None,
            remedy="Name these values with --labels name=value or mend the mask",
        )
    ]


def find_values(array: NDArray[Any]) -> tuple[int, ...]:
    """The values of a label map, (i, j, k) of an unsigned integer type, in ascending order."""
    flat = array.ravel(order="K")
    if array.dtype.itemsize > 2:
        return tuple(int(value) for value in np.unique(flat))
    # A table of 65536 flags instead of sorting: a label map has many voxels and few values.
    seen = np.zeros(np.iinfo(array.dtype).max + 1, np.bool_)
    seen[flat] = True
    return tuple(int(value) for value in np.flatnonzero(seen))
