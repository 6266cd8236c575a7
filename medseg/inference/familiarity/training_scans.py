"""What a model's training scans looked like."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from medseg.core.fingerprint import CaseFingerprint, Fingerprint, IntensityStatistics
from medseg.core.geometry import match_axes
from medseg.core.model import Familiar, FamiliarChannel, Span

# nnU-Net gives pictures a third axis of 999 times their largest spacing.
NNUNET_FLAT_SPACING = 999.0


def describe_familiar(
    fingerprint: Fingerprint, *, orientation: str | None = None, mirrored_axes: Collection[int] = ()
) -> Familiar:
    """What the scans of a fingerprint looked like.

    Args:
        fingerprint: of the training data.
        orientation: the plan's, to which scans are turned; None where axes are taken as they come.
        mirrored_axes: where they are, the file axes (0 = i) that training flipped.
    Returns:
        the ranges over all cases.
    """
    cases = fingerprint.cases
    turned = [_order_axes(case, orientation) for case in cases]
    known = sorted({case.orientation for case in cases})
    return _gather(
        spacings=[[case.spacing_mm[axis] for axis in order] for case, order in zip(cases, turned, strict=True)],
        shapes=[[case.cropped_shape[axis] for axis in order] for case, order in zip(cases, turned, strict=True)],
        channels=tuple(_describe_channel(cases, n, known) for n, known in enumerate(fingerprint.intensities)),
        orientation=orientation,
        orientations=tuple(known) if orientation is None and all(known) else (),
        mirrored_axes=tuple(sorted(mirrored_axes)) if orientation is None else (),
    )


def familiar_from_nnunet(
    content: Mapping[str, Any], *, axes: tuple[int, int, int] = (2, 1, 0), orientation: str | None = None
) -> Familiar | None:
    """What an nnU-Net model's training scans looked like.

    Args:
        content: of its ``dataset_fingerprint.json``.
        axes: the file axes (0 = i) in the order of nnU-Net's arrays; (2, 0, 1) for pictures.
        orientation: where its reader turns scans: the directions that i, j, k then run to, such as ``RAS``.
    Returns:
        the ranges over all cases; None where the file does not hold them.
    """
    places = [axes.index(axis) for axis in range(3)]
    try:
        spacings = [[float(case[place]) for place in places] for case in content["spacings"]]
        shapes = [[int(case[place]) for place in places] for case in content["shapes_after_crop"]]
        statistics = content["foreground_intensity_properties_per_channel"]
        channels = tuple(_translate_channel(statistics[str(number)]) for number in range(len(statistics)))
        return _gather(spacings=spacings, shapes=shapes, channels=channels, orientation=orientation)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None  # a file from elsewhere, of which nothing else depends


def _order_axes(case: CaseFingerprint, orientation: str | None) -> tuple[int, int, int]:
    return (0, 1, 2) if orientation is None else match_axes(case.orientation, orientation)[0]


def _gather(
    *,
    spacings: Sequence[Sequence[float]],
    shapes: Sequence[Sequence[int]],
    channels: tuple[FamiliarChannel, ...],
    orientation: str | None,
    orientations: tuple[str, ...] = (),
    mirrored_axes: tuple[int, ...] = (),
) -> Familiar:
    spacing = np.array(spacings, dtype=np.float64).reshape(-1, 3)
    shape = np.array(shapes, dtype=np.float64).reshape(-1, 3)
    i, j, k = (_span(spacing[:, axis]) for axis in range(3))
    p, q, r = (_span(shape[:, axis]) for axis in range(3))
    a, b, c = (_span(spacing[:, axis] * shape[:, axis]) for axis in range(3))
    largest = np.sort(spacing, axis=1)
    flat = bool((largest[:, 2] >= NNUNET_FLAT_SPACING * largest[:, 1]).all())
    none = int(spacing[0].argmax()) if flat else None
    return Familiar(
        spacing_mm=_leave_out((i, j, k), none),
        size_voxels=(p, q, r),
        size_mm=_leave_out((a, b, c), none),
        channels=channels,
        orientation=orientation,
        orientations=orientations,
        mirrored_axes=mirrored_axes,
    )


def _leave_out(spans: tuple[Span, Span, Span], axis: int | None) -> tuple[Span | None, Span | None, Span | None]:
    i, j, k = (None if number == axis else span for number, span in enumerate(spans))
    return i, j, k


def _span(values: Iterable[float]) -> Span:
    listed = [float(value) for value in values]
    return Span(low=min(listed), high=max(listed))


def _describe_channel(cases: Sequence[CaseFingerprint], number: int, labelled: IntensityStatistics) -> FamiliarChannel:
    seen = [case.intensities[number] for case in cases if number < len(case.intensities)]
    scans = [scan for scan in seen if scan is not None]
    return FamiliarChannel(
        foreground=Span(low=labelled.percentile_00_5, high=labelled.percentile_99_5),
        extremes=Span(low=labelled.minimum, high=labelled.maximum),
        level=_span(scan.median for scan in scans) if scans else None,
        width=_span(scan.percentile_99_5 - scan.percentile_00_5 for scan in scans) if scans else None,
    )


def _translate_channel(statistics: Mapping[str, Any]) -> FamiliarChannel:
    return FamiliarChannel(
        foreground=Span(low=statistics["percentile_00_5"], high=statistics["percentile_99_5"]),
        extremes=Span(low=statistics["min"], high=statistics["max"]),
    )
