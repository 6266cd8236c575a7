"""The data set's fingerprint from its cases' summaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medseg.core.dataset import Dataset
from medseg.core.errors import DatasetError
from medseg.core.fingerprint import CaseFingerprint, Fingerprint, IntensityStatistics
from medseg.fingerprint.summary import CaseSummary


def extract_fingerprint(dataset: Dataset, summaries: Sequence[CaseSummary]) -> Fingerprint:
    """What the data set looks like: the numbers that the planner decides by.

    Args:
        dataset: the data set, its channels and labels named.
        summaries: of its usable cases, in any order.
    Returns:
        the fingerprint, cases sorted by name; the same for every order of the summaries.
    Raises:
        DatasetError: there is no case, a name is missing, or no case has any foreground.
    """
    if not summaries:
        raise DatasetError("no case can be used", code="no_cases", file=dataset.root, remedy="See medseg check")
    if not dataset.channels or dataset.labels is None:
        raise DatasetError(
            "the channels or labels have no names",
            code="no_names",
            file=dataset.root,
            remedy="Give --channels and --labels, or infer them first",
        )
    ordered = sorted(summaries, key=lambda summary: summary.fingerprint.case)
    for summary in ordered:
        if len(summary.intensities) != len(dataset.channels):
            raise DatasetError(
                f"{len(summary.intensities)} channels, expected {len(dataset.channels)}: {', '.join(dataset.channels)}",
                code="channel_count",
                case=summary.fingerprint.case,
            )
    samples = np.concatenate([summary.intensities for summary in ordered], axis=1)
    if samples.shape[1] == 0:
        raise DatasetError(
            "no mask has any foreground",
            code="no_foreground",
            file=dataset.root,
            remedy="Check the masks, or name their values with --labels name=value",
        )
    cases = tuple(summary.fingerprint for summary in ordered)
    return Fingerprint(
        dataset=dataset.name,
        channels=dataset.channels,
        labels=dataset.labels,
        cases=cases,
        intensities=tuple(describe_intensities(channel) for channel in samples),
        cropped_share=float(np.median([_cropped_share(case) for case in cases])),
        notes=dataset.notes,
    )


def describe_intensities(values: NDArray[np.float32]) -> IntensityStatistics:
    """Mean, spread and percentiles of intensities, 1D and not empty; percentiles by linear interpolation."""
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
    return IntensityStatistics(
        mean=float(values.mean(dtype=np.float64)),
        sd=float(values.std(dtype=np.float64)),
        median=float(median),
        minimum=float(values.min()),
        maximum=float(values.max()),
        percentile_00_5=float(low),
        percentile_99_5=float(high),
    )


def _cropped_share(case: CaseFingerprint) -> float:
    return float(np.prod(case.cropped_shape) / np.prod(case.shape))
