"""Fingerprints to plan for: made up, or converted from nnU-Net's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medseg.core.fingerprint import CaseFingerprint, Fingerprint, IntensityStatistics
from medseg.core.labels import LabelScheme

Triple = tuple[int, int, int]


def make_fingerprint(
    shapes: Sequence[Sequence[int]],
    spacings_mm: Sequence[Sequence[float]],
    *,
    channels: Sequence[str] = ("CT",),
    labels: Mapping[str, int | Sequence[int]] | None = None,
    cropped_share: float = 1.0,
    intensities: Sequence[IntensityStatistics] | None = None,
    dataset: str = "made_up",
) -> Fingerprint:
    """A fingerprint of cases with these shapes and spacings along i, j, k."""
    cases = tuple(
        CaseFingerprint(
            case=f"case_{index:03d}",
            patient=f"case_{index:03d}",
            day=None,
            shape=(shape[0], shape[1], shape[2]),
            spacing_mm=(spacing[0], spacing[1], spacing[2]),
            cropped_shape=(shape[0], shape[1], shape[2]),
            label_ml={},
        )
        for index, (shape, spacing) in enumerate(zip(shapes, spacings_mm, strict=True))
    )
    statistics = IntensityStatistics(
        mean=60.0, sd=35.0, median=62.0, minimum=-200.0, maximum=500.0, percentile_00_5=-40.0, percentile_99_5=160.0
    )
    return Fingerprint(
        dataset=dataset,
        channels=tuple(channels),
        labels=LabelScheme.make(labels or {"organ": 1, "tumour": 2}),
        cases=cases,
        intensities=tuple(intensities or [statistics] * len(channels)),
        cropped_share=cropped_share,
    )


def convert_nnunet(fingerprint: Mapping[str, Any], dataset: Mapping[str, Any]) -> Fingerprint:
    """Our fingerprint for nnU-Net's ``dataset_fingerprint.json`` and ``dataset.json`` (axes there are k, j, i)."""
    statistics = fingerprint["foreground_intensity_properties_per_channel"]
    return make_fingerprint(
        [shape[::-1] for shape in fingerprint["shapes_after_crop"]],
        [spacing[::-1] for spacing in fingerprint["spacings"]],
        channels=list(dataset["channel_names"].values()),
        labels=dataset["labels"],
        cropped_share=fingerprint["median_relative_size_after_cropping"],
        intensities=[
            IntensityStatistics(
                mean=values["mean"],
                sd=values["std"],
                median=values["median"],
                minimum=values["min"],
                maximum=values["max"],
                percentile_00_5=values["percentile_00_5"],
                percentile_99_5=values["percentile_99_5"],
            )
            for values in (statistics[str(channel)] for channel in range(len(statistics)))
        ],
        dataset=dataset["name"],
    )
