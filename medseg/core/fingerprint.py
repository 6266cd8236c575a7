"""What a data set looks like: the numbers that the planner decides by."""

from __future__ import annotations

from medseg.core.labels import LabelScheme
from medseg.core.records import Record

FORMAT = "medseg-fingerprint-1"


class ScanIntensities(Record):
    """One channel of one scan: percentiles of its voxels that are not zero, in the file's unit."""

    percentile_00_5: float
    median: float
    percentile_99_5: float


class CaseFingerprint(Record):
    """One case's grid and contents.

    Args:
        shape: voxels along i, j, k in the file.
        spacing_mm: along i, j, k.
        cropped_shape: voxels of the box around what is not zero.
        label_ml: volume of each label or region, millilitres.
        orientation: where i, j, k run to, such as ``LPS``; empty where it is not known.
        intensities: per channel; empty where they are not known.
    """

    case: str
    patient: str
    day: int | None
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    cropped_shape: tuple[int, int, int]
    label_ml: dict[str, float]
    orientation: str = ""
    intensities: tuple[ScanIntensities | None, ...] = ()


class IntensityStatistics(Record):
    """Intensities of one channel inside the foreground of all cases together, in the file's unit."""

    mean: float
    sd: float
    median: float
    minimum: float
    maximum: float
    percentile_00_5: float
    percentile_99_5: float


class Fingerprint(Record):
    """The data set's fingerprint.

    Args:
        dataset: the data set's name.
        channels: the channels' names in order.
        labels: the label scheme.
        cases: a record per usable case, sorted by name.
        intensities: per channel, within the foreground.
        cropped_share: median over cases of the share of voxels left after cropping to non-zero.
        notes: how names and modalities were found, a line each.
    """

    format: str = FORMAT
    dataset: str
    channels: tuple[str, ...]
    labels: LabelScheme
    cases: tuple[CaseFingerprint, ...]
    intensities: tuple[IntensityStatistics, ...]
    cropped_share: float
    notes: tuple[str, ...] = ()
