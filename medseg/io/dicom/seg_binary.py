"""The frames of a binary segmentation: one for each plane that a segment reaches, however many segments there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from medseg.core.errors import DatasetError
from medseg.core.geometry import Geometry
from medseg.io.dicom.segments import Bodies, Segment

_GROUPS = Tag(0x5200, 0x9230)
_LONGEST_VALUE = 0xFFFFFFFE
_ITEM = bytes.fromhex("FEFF00E0")
# Explicit little endian, up to the value: DimensionIndexValues, two numbers of 4 bytes, the first of which counts the
# segments; ReferencedSegmentNumber, one of 2 bytes.
_INDEX, _INDEX_BYTES = bytes.fromhex("20005791") + b"UL\x08\x00", 4
_OWNER, _OWNER_BYTES = bytes.fromhex("62000B00") + b"US\x02\x00", 2


class PackedFrames(NamedTuple):
    """The frames of a binary segmentation, as its pixels hold them.

    Args:
        segments, planes: of each frame the segment's number and the plane along k, segment by segment.
        bits: of all frames one after another (PS3.5, 8.1.1), an even number of bytes.
    """

    segments: tuple[int, ...]
    planes: tuple[int, ...]
    bits: bytes


def pack_frames(
    array: NDArray[Any], segments: Sequence[Segment], bodies: Mapping[str, Bodies], geometry: Geometry
) -> PackedFrames:
    """A frame for each segment and each plane that it reaches.

    Args:
        array: the label map, (i, j, k).
        segments: each with voxels.
        bodies: lesions by label.
        geometry: of the series.
    Returns:
        the frames, those of a segment in the order in which highdicom numbers planes: against the direction of a row
        times a column.
    """
    columns, rows = array.shape[:2]
    order = range(array.shape[2])[:: -1 if np.linalg.det(geometry.affine[:3, :3]) > 0 else 1]
    frames: list[tuple[int, int]] = []
    parts: list[tuple[int, NDArray[np.uint8]]] = []
    for segment in segments:
        for k, first_row, band in _list_bands(segment, array, bodies, order):
            parts.append(_pack((len(frames) * rows + first_row) * columns, band))
            frames.append((segment.number, k))
    numbers, planes = zip(*frames, strict=True)
    return PackedFrames(numbers, planes, _join(parts, len(frames) * rows * columns))


def show_planes(frames: PackedFrames, stand_ins: Sequence[Any]) -> NDArray[np.uint8]:
    """What highdicom is given in place of a mask, to describe the planes that have frames: a pixel each.

    Args:
        frames: of the mask.
        stand_ins: the series' planes (``make_stand_ins``); they become as small.
    Returns:
        1 where a plane has a frame, (k, 1, 1).
    """
    shown = np.zeros((len(stand_ins), 1, 1), np.uint8)
    shown[list(frames.planes)] = 1
    for plane in stand_ins:
        plane.Rows = plane.Columns = 1
    return shown


def put_frames(content: Any, frames: PackedFrames, stand_ins: Sequence[Any], shape: tuple[int, ...]) -> None:
    """Give an object that describes planes alone its frames.

    highdicom asks every segment about every plane and builds each frame's description from objects, as pydicom writes
    it from objects: for hundreds of lesions that takes far longer than all else. Frames of one plane differ in the
    segment's number alone, so that one description a plane is encoded and copied.

    Args:
        content: highdicom's, of ``show_planes`` as its first segment, which refers to its sources; changed.
        frames: of the mask.
        stand_ins: the series' planes.
        shape: of the mask, (i, j, k).
    Raises:
        DatasetError: there are more frames than an object can describe.
    """
    places = {_name_position(plane): k for k, plane in enumerate(stand_ins)}
    described = {
        places[_name_position(group.PlanePositionSequence[0])]: _encode(group)
        for group in content.PerFrameFunctionalGroupsSequence
    }
    groups = [_number(described[k], number) for number, k in zip(frames.segments, frames.planes, strict=True)]
    size = sum(map(len, groups))
    if size > _LONGEST_VALUE:
        raise DatasetError(
            f"{len(groups)} frames, more than an object can describe", code="too_many_segments",
            remedy="Write a label map, or remove small components first",
        )  # fmt: skip
    content.Rows, content.Columns, content.NumberOfFrames = shape[1], shape[0], len(groups)
    content.PixelData = frames.bits
    content["PixelData"].VR = "OB"
    content[_GROUPS] = RawDataElement(_GROUPS, "SQ", size, b"".join(groups), 0, False, True)
    # Else pydicom would parse what is encoded already, to encode it again.
    content.set_original_encoding(False, True, convert_encodings(content.SpecificCharacterSet))


def _list_bands(
    segment: Segment, array: NDArray[Any], bodies: Mapping[str, Bodies], order: Sequence[int]
) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Each plane that a segment reaches, the first row there and the mask from that row on, (row, column)."""
    if segment.instance:
        box, mask = bodies[segment.label].parts[segment.instance - 1]
        for k in (plane for plane in order if box[2].start <= plane < box[2].stop):
            inside = mask[..., k - box[2].start].T
            if inside.any():
                band = np.zeros((inside.shape[0], array.shape[0]), bool)
                band[:, box[0]] = inside
                yield k, box[1].start, band
        return
    for k in order:
        plane = array[..., k].T
        inside = plane == segment.values[0]
        for value in segment.values[1:]:
            inside |= plane == value
        rows = np.flatnonzero(inside.any(axis=1))
        if rows.size:
            yield k, int(rows[0]), inside[rows[0] : rows[-1] + 1]


def _name_position(item: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in item.ImagePositionPatient)


def _encode(group: Any) -> bytes:
    """A frame's description as it stands in the file, of the first segment."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, group)
    value = buffer.getvalue()
    assert value.count(_INDEX) == value.count(_OWNER) == 1
    return _ITEM + len(value).to_bytes(4, "little") + value


def _number(encoded: bytes, number: int) -> bytes:
    """The same description for another segment."""
    for field, size in ((_INDEX, _INDEX_BYTES), (_OWNER, _OWNER_BYTES)):
        before, _, after = encoded.partition(field)
        encoded = before + field + number.to_bytes(size, "little") + after[size:]
    return encoded


def _pack(first: int, band: NDArray[np.bool_]) -> tuple[int, NDArray[np.uint8]]:
    """Whole rows of a frame as bits, and the byte that they begin in; the frame's bits go on in the last byte."""
    byte, skipped = divmod(first, 8)
    flat = band.ravel() if not skipped else np.concatenate([np.zeros(skipped, bool), band.ravel()])
    return byte, np.packbits(flat, bitorder="little")


def _join(parts: Sequence[tuple[int, NDArray[np.uint8]]], count: int) -> bytes:
    """All frames' bits one after another (PS3.5, 8.1.1), an even number of bytes."""
    bits = np.zeros((count + 15) // 16 * 2, np.uint8)
    for byte, packed in parts:
        bits[byte : byte + packed.size] |= packed
    return bits.tobytes()
