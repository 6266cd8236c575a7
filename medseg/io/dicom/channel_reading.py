"""Series as the channels of one volume, on the first one's grid; what lies in another frame of reference is registered
to it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medseg.core.channel_rules import ChannelRule
from medseg.core.errors import FormatError, MedsegError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.grids import align_volume
from medseg.io.dicom.channel_choice import check_register, require_frame, share_frame
from medseg.io.dicom.channel_transforms import ChannelTransform, describe_transform, tell_transform
from medseg.io.dicom.read import read_series
from medseg.io.dicom.series import DicomSeries
from medseg.io.dicom.source import DicomSource
from medseg.io.dicom.suv import scale_to_suv

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ScanReading:
    """A scan of one or several channels as it was read.

    Args:
        volume: all channels on the first one's grid.
        source: where the planes of the first channel came from.
        notes: what was changed or is doubtful, a line each.
        transforms: how series of other frames of reference were brought to the first one.
    """

    volume: Volume
    source: DicomSource
    notes: tuple[str, ...] = ()
    transforms: tuple[ChannelTransform, ...] = ()


def read_channels(
    rules: Sequence[ChannelRule],
    chosen: Sequence[DicomSeries],
    *,
    tilt: str = "refuse",
    gaps: str = "refuse",
    register: str = "refuse",
) -> ScanReading:
    """The series of a scan's channels as one volume.

    Args:
        rules: of the channels.
        chosen: a series for each.
        tilt, gaps: as ``read_series`` takes them.
        register: what becomes of series of other frames of reference than the first one's: ``refuse``, or ``rigid``:
            they are turned and shifted to it, those of one frame together.
    Returns:
        the scan, its channels called as the rules have them.
    Raises:
        GeometryError: series lie in different frames of reference and are not to be registered, or cannot be
            registered so that one may trust it; or a channel lies elsewhere altogether.
        MedsegError: as ``read_series`` for any of the series.
    """
    check_register(register)
    require_frame(chosen, register)
    parts = [_read_channel(rule, series, tilt, gaps) for rule, series in zip(rules, chosen, strict=True)]
    first = parts[0]
    notes = [note for part in parts for note in part.notes]
    transforms = _register_frames(rules, chosen, [part.volume for part in parts])
    notes += map(tell_transform, transforms)
    moved = {channel: transform for transform in transforms for channel in transform.moving}
    arrays = [first.volume.array]
    for rule, part in zip(rules[1:], parts[1:], strict=True):
        volume = part.volume
        if rule.channel in moved:
            affine = np.array(moved[rule.channel].matrix) @ volume.geometry.affine
            volume = replace(volume, geometry=Geometry(volume.geometry.shape, affine))
        if not volume.geometry.same_grid(first.volume.geometry):
            place = f"{volume.geometry.describe()} brought onto the grid of {rules[0].channel}"
            notes.append(f"{rule.channel}: {place} ({first.volume.geometry.describe()})")
        arrays.append(_align(volume, first.volume.geometry, rule, part.source).array)
    array = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    volume = Volume(array, first.volume.geometry, tuple(rule.channel for rule in rules))
    return ScanReading(volume, first.source, tuple(notes), tuple(transforms))


def _read_channel(rule: ChannelRule, series: DicomSeries, tilt: str, gaps: str) -> ScanReading:
    notes: tuple[str, ...] = ()
    if rule.as_suv and series.modality == "PT":
        try:
            planes, notes = scale_to_suv(series.planes)
        except FormatError as error:
            error.remedy = f"{error.remedy or 'Complete the header'}; or take what the files hold: --channels"
            error.remedy += f" '{rule.channel}: Modality=PT, unit=stored'"
            raise error.for_case(series.name) from None
        series = replace(series, planes=tuple(planes))
    volume, source, more = read_series(series, tilt=tilt, gaps=gaps)
    return ScanReading(volume, source, (*notes, *more))


def _align(volume: Volume, like: Geometry, rule: ChannelRule, source: DicomSource) -> Volume:
    try:
        return align_volume(volume, like)
    except MedsegError as error:
        error.reason = f"{rule.channel} ({source.modality}) lies beside the first channel: {error.reason}"
        raise


def _register_frames(
    rules: Sequence[ChannelRule], chosen: Sequence[DicomSeries], volumes: Sequence[Volume]
) -> list[ChannelTransform]:
    """A transform for each frame of reference other than the first one's; a series that states none has its own."""
    from medseg.grids.registration.trust import register_surely

    transforms = []
    left = [number for number in range(1, len(chosen)) if not share_frame(chosen[0], chosen[number])]
    while left:
        leader = left[0]
        group = [number for number in left if number == leader or share_frame(chosen[leader], chosen[number])]
        left = [number for number in left if number not in group]
        moving = [rules[number].channel for number in group]
        logger.info("registering %s to %s", " and ".join(moving), rules[0].channel)
        try:
            found = register_surely(volumes[0], volumes[leader])
        except MedsegError as error:
            error.reason = f"{rules[leader].channel} was not registered to {rules[0].channel}: {error.reason}"
            error.file = error.file or str(chosen[leader].files[0])
            raise
        transforms.append(describe_transform(found, rules[0].channel, moving))
    return transforms
