"""The frames of a multi-frame file: where each lies, what its values stand for, which volume it belongs to.

Source: DICOM PS3.3 C.7.6.16 (functional groups), C.8.8.3.2 (grid frame offsets), C.8.4.15 (frames of nuclear medicine).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.core.errors import FormatError, show_name
from medseg.io.dicom.bytes_window import REMEDY
from medseg.io.dicom.datasets import open_dataset
from medseg.io.dicom.fields import read_time
from medseg.io.dicom.headers import FrameHeader, Moment, Place, Scale
from medseg.io.dicom.identity import quiet

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_WANTED = (
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionIndexSequence"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "DetectorInformationSequence"),
    *("GridFrameOffsetVector", "SpacingBetweenSlices", "NumberOfSlices"),
)
_FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
# DICOM PS3.5, 6.2: the longest value of LO; longer ones are against the rules.
_LONGEST_WORD = 64
# Dimensions that count places: InStackPositionNumber, ImagePositionPatient, ImagePositionVolume, SliceLocation.
_SPATIAL = frozenset((0x00209057, 0x00200032, 0x00209301, 0x00201041))


def list_frames(header: FrameHeader) -> list[FrameHeader]:
    """The frames of a file of several, or of a single one with functional groups.

    Frames at one place (times, echoes, b values) are told apart by their moments; ``moments.split_moments`` makes
    volumes of them.

    Args:
        header: of the whole file.
    Returns:
        a header per frame, in the file's order, numbered from 1 on.
    Raises:
        FormatError: damaged, or it does not say where its frames lie.
    """
    if header.pixels is None:
        raise FormatError("it has no pixels", code="no_pixels", file=header.path, remedy="Leave it out")
    content = open_dataset(header.path, _WANTED)
    with quiet():
        try:
            if "PerFrameFunctionalGroupsSequence" in content:
                frames = _read_groups(content, header, header.pixels.frames)
            else:
                frames = _read_offsets(content, header, header.pixels.frames)
        except FormatError:
            raise
        except Exception as error:  # pydicom and conversions raise errors of every kind on damaged values
            raise FormatError(
                f"what it says of its frames cannot be read ({type(error).__name__})", code="corrupt",
                file=header.path, remedy=REMEDY,
            ) from None  # fmt: skip
    return frames


def _read_groups(content: Dataset, header: FrameHeader, count: int) -> list[FrameHeader]:
    items = content.PerFrameFunctionalGroupsSequence
    if len(items) != count:
        raise FormatError(
            f"functional groups of {len(items)} frames, expected {count}", code="frame_count", file=header.path,
            remedy=REMEDY,
        )  # fmt: skip
    shared = content.get("SharedFunctionalGroupsSequence") or [None]
    frames = []
    for number, item in enumerate(items, 1):
        groups = _Groups(item, shared[0])
        frames.append(
            replace(
                header,
                number=number,
                place=_read_place(groups, content, header, number),
                scale=_read_scale(groups, header),
                moment=_read_moment(groups, header.moment),
            )
        )
    return _tell_apart(frames, content, items)


class _Groups:
    """The functional groups of a frame: its own, else those that all share."""

    def __init__(self, own: Any, shared: Any) -> None:
        self.parts = [part for part in (own, shared) if part is not None]

    def find(self, keyword: str) -> Any:
        """The first item of a group; None where neither has it."""
        tag = _find_tag(keyword)
        for part in self.parts:
            sequence = part[tag].value if tag in part else None
            if sequence:
                return sequence[0]
        return None

    def value(self, group: str, keyword: str) -> Any:
        """A value of a group's first item; None where there is none or it is empty."""
        item, tag = self.find(group), _find_tag(keyword)
        value = item[tag].value if item is not None and tag in item else None
        return None if value is None or value == "" else value


@cache
def _find_tag(keyword: str) -> Any:
    """The tag of an element; asking a data set by tag takes a tenth of asking by keyword."""
    from pydicom.tag import Tag

    return Tag(keyword)


def _read_place(groups: _Groups, content: Dataset, header: FrameHeader, number: int) -> Place:
    position = groups.value("PlanePositionSequence", "ImagePositionPatient") or content.get("ImagePositionPatient")
    orientation = (
        groups.value("PlaneOrientationSequence", "ImageOrientationPatient") or content.get("ImageOrientationPatient")
    )  # fmt: skip
    spacing = groups.value("PixelMeasuresSequence", "PixelSpacing") or content.get("PixelSpacing")
    return _make_place(
        position, orientation, spacing, header, number, _number(groups.value("PixelMeasuresSequence", "SliceThickness"))
    )


def _make_place(
    position: Any, orientation: Any, spacing: Any, header: FrameHeader, number: int, thickness: float | None = None
) -> Place:
    """Checked for count and finiteness; raises FormatError naming what is missing."""
    found = {}
    for name, value, count in (
        ("ImagePositionPatient (0020,0032)", position, 3),
        ("ImageOrientationPatient (0020,0037)", orientation, 6),
        ("PixelSpacing (0028,0030)", spacing, 2),
    ):
        numbers = () if value is None else tuple(float(part) for part in value)
        if len(numbers) != count or not all(map(math.isfinite, numbers)) or (count == 2 and min(numbers) <= 0):
            wanted = f"expected {count} finite numbers{' above 0' if count == 2 else ''}"
            raise FormatError(
                f"frame {number}: {name} is {'missing' if not numbers else f'of no use, {wanted}'}", code="no_place",
                file=header.path, remedy="Export the series again with its geometry",
            )  # fmt: skip
        found[count] = numbers
    (x, y, z), (a, b, c, d, e, f), (rows, columns) = found[3], found[6], found[2]
    tilt = header.place.tilt_degrees if header.place else None
    return Place((x, y, z), (a, b, c, d, e, f), (rows, columns), thickness, tilt)


def _read_scale(groups: _Groups, header: FrameHeader) -> Scale:
    scale = header.scale
    transform = groups.find("PixelValueTransformationSequence")
    if transform is not None:
        unit = _word(transform.get("RescaleType")) or scale.unit
        slope, intercept = _number(transform.get("RescaleSlope")), _number(transform.get("RescaleIntercept"))
        scale = replace(
            scale,
            slope=1.0 if slope is None else slope,
            intercept=0.0 if intercept is None else intercept,
            unit=unit,
            stated=(slope is not None, intercept is not None),
        )
    if header.modality == "PT":
        scale = _read_activity(groups, scale, stated=transform is not None)
    return scale


def _read_activity(groups: _Groups, scale: Scale, stated: bool) -> Scale:
    """Enhanced PET names its unit in the mapping to real-world values, and may give the scale there alone."""
    mapping = groups.find("RealWorldValueMappingSequence")
    codes = None if mapping is None else mapping.get("MeasurementUnitsCodeSequence")
    if mapping is None or not codes:
        return scale
    unit = _word(codes[0].get("CodeValue"))
    slope, intercept = (_number(mapping.get(f"RealWorldValue{name}")) for name in ("Slope", "Intercept"))
    if stated or slope is None:
        return replace(scale, unit=unit)
    return replace(scale, slope=slope, intercept=intercept or 0.0, unit=unit, stated=(True, True))


def _read_moment(groups: _Groups, whole: Moment) -> Moment:
    kinds = [kind for name in _FRAME_TYPES if (kind := groups.find(name)) is not None]
    types = _list_words(kinds[0].get("FrameType")) if kinds else whole.image_type
    component = _word(kinds[0].get("ComplexImageComponent")) if kinds else ""
    time = groups.value("FrameContentSequence", "FrameReferenceDateTime")
    if time is None:
        time = groups.value("FrameContentSequence", "FrameAcquisitionDateTime")
    moment = Moment(
        image_type=(*types, component) if component and component not in types else types,
        acquisition_number=_whole(groups.value("FrameContentSequence", "FrameAcquisitionNumber")),
        temporal_position=_whole(groups.value("FrameContentSequence", "TemporalPositionIndex")),
        echo_time_ms=_number(groups.value("MREchoSequence", "EffectiveEchoTime")),
        inversion_time_ms=_number(groups.value("MRModifierSequence", "InversionTimes")),
        trigger_time_ms=_number(groups.value("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime")),
        b_value=_number(groups.value("MRDiffusionSequence", "DiffusionBValue")),
        time_s=None if time is None else read_time(str(time)[8:].split("+")[0].split("-")[0].encode()),
        stack=_word(groups.value("FrameContentSequence", "StackID")),
    )
    names = ("acquisition_number", "temporal_position", "echo_time_ms", "inversion_time_ms", "trigger_time_ms")
    left = {name: getattr(whole, name) for name in (*names, "b_value", "time_s") if getattr(moment, name) is None}
    return replace(moment, echo_number=whole.echo_number, **left)


def _tell_apart(frames: list[FrameHeader], content: Dataset, items: Sequence[Any]) -> list[FrameHeader]:
    """The same frames; where some are alike in place and moment, the file's own dimensions number their times."""
    if len({(frame.place, frame.moment) for frame in frames}) == len(frames):
        return frames
    pointers = [int(item.get("DimensionIndexPointer") or 0) for item in content.get("DimensionIndexSequence") or ()]
    kept = [index for index, pointer in enumerate(pointers) if pointer not in _SPATIAL]
    keys: list[tuple[int, ...]] = []
    for item in items:
        values = _Groups(item, None).value("FrameContentSequence", "DimensionIndexValues")
        numbers = [] if values is None else [int(value) for value in np.atleast_1d(values)]
        if len(numbers) != len(pointers):
            return frames
        keys.append(tuple(numbers[index] for index in kept))
    ranks = {key: rank for rank, key in enumerate(sorted(set(keys)), 1)}
    return [
        replace(frame, moment=replace(frame.moment, temporal_position=ranks[key]))
        for frame, key in zip(frames, keys, strict=True)
    ]


def _read_offsets(content: Dataset, header: FrameHeader, count: int) -> list[FrameHeader]:
    """Frames without functional groups: one place, and how far each frame lies from it along the normal."""
    detectors = content.get("DetectorInformationSequence") or [content]
    position, orientation = (
        content.get(keyword) or detectors[0].get(keyword)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient")
    )
    first = _make_place(position, orientation, content.get("PixelSpacing"), header, 1)
    offsets = _list_offsets(content, header, count)
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(row, column)
    frames = []
    for number, offset in enumerate(offsets, 1):
        x, y, z = (np.array(first.position_mm) + offset * normal).tolist()
        frames.append(replace(header, number=number, place=replace(first, position_mm=(x, y, z))))
    return frames


def _list_offsets(content: Dataset, header: FrameHeader, count: int) -> list[float]:
    vector = content.get("GridFrameOffsetVector")
    if vector is not None:
        offsets = [float(value) for value in np.atleast_1d(vector)]
        if len(offsets) != count or not all(map(math.isfinite, offsets)):
            raise FormatError(
                f"GridFrameOffsetVector (3004,000C) of {len(offsets)} values, expected {count}", code="frame_count",
                file=header.path, remedy=REMEDY,
            )  # fmt: skip
        return [offset - offsets[0] for offset in offsets]
    step = _number(content.get("SpacingBetweenSlices"))
    slices = _whole(content.get("NumberOfSlices"))
    if header.modality == "NM" and step and slices in (None, count):
        return [step * number for number in range(count)]
    if count == 1:
        return [0.0]
    raise FormatError(
        f"nothing says where its {count} frames lie: neither functional groups (5200,9230) nor frame offsets"
        " (3004,000C)",
        code="no_place", file=header.path, remedy="Export the series again with its geometry",
    )  # fmt: skip


def _word(value: Any) -> str:
    """A short text that any line can hold; empty where there is none."""
    return "" if value is None else show_name(str(value).strip())[:_LONGEST_WORD]


def _list_words(value: Any) -> tuple[str, ...]:
    """The words of a value of one or several."""
    return (_word(value),) if isinstance(value, str) else tuple(_word(part) for part in value or ())


def _number(value: Any) -> float | None:
    """A finite number, the first of several; None where there is none."""
    values: Any = [] if value is None or value == "" else np.atleast_1d(value)
    number = float(values[0]) if len(values) else math.nan
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
