"""A case's contribution to the fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.dataset import Case
from medseg.core.fingerprint import CaseFingerprint
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.fingerprint.scan import describe_scan
from medseg.grids.crop import find_box

# As many as nnU-Net takes by default. Evenly spaced through the foreground and repeated where it is smaller, so that
# every case weighs the same whatever the size of its organs, and the same case always gives the same numbers.
SAMPLES_PER_CASE = 10_000


@dataclass(frozen=True, eq=False)
class CaseSummary:
    """A case's grid and contents, with intensities from its foreground.

    Args:
        fingerprint: what the data set's fingerprint keeps of the case.
        intensities: (channel, sample), the file's unit, 10000 samples; no sample where the case has no foreground.
    """

    fingerprint: CaseFingerprint
    intensities: NDArray[np.float32]


def summarise_case(case: Case, volume: Volume, segmentation: Segmentation, labels: LabelScheme) -> CaseSummary:
    """A case's shape, spacing, extent, label volumes and intensities.

    Args:
        case: the case, for its name, patient and day.
        volume: its image, (channel, i, j, k).
        segmentation: its reference mask on the same grid.
        labels: what the mask's values mean.
    Returns:
        the summary; ignored voxels count neither for volumes nor for intensities.
    """
    start, stop = find_box(_find_content(volume.array))
    foreground = segmentation.array > 0
    if labels.ignore is not None:
        foreground &= segmentation.array != labels.ignore
    counts = np.bincount(segmentation.array[foreground])
    voxel_ml = segmentation.geometry.voxel_volume_ml
    label_ml = {
        name: float(sum(int(counts[value]) for value in values if value < len(counts))) * voxel_ml
        for name, values in labels.labels.items()
    }
    return CaseSummary(
        CaseFingerprint(
            case=case.name,
            patient=case.patient,
            day=case.day,
            shape=volume.geometry.shape,
            spacing_mm=volume.geometry.spacing_mm,
            cropped_shape=(stop[0] - start[0], stop[1] - start[1], stop[2] - start[2]),
            label_ml=label_ml,
            orientation=volume.geometry.orientation,
            intensities=describe_scan(volume.array),
        ),
        _sample_foreground(volume.array, foreground),
    )


def _find_content(array: NDArray[Any]) -> NDArray[np.bool_]:
    content = array[0] != 0
    for channel in array[1:]:
        content |= channel != 0
    return np.asarray(content)


def _sample_foreground(array: NDArray[Any], foreground: NDArray[np.bool_]) -> NDArray[np.float32]:
    count = int(np.count_nonzero(foreground))
    if count == 0:
        return np.zeros((len(array), 0), np.float32)
    picks = np.arange(SAMPLES_PER_CASE) * count // SAMPLES_PER_CASE
    return np.stack([channel[foreground][picks].astype(np.float32) for channel in array])
