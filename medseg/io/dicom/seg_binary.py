"""The frames of a binary segmentation: one for each plane that a segment reaches, however many segments there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from medseg.core.errors import DatasetError
from medseg.io.dicom.segments import Bodies, Segment, mask_of
from medseg.shapes.boxes import Box, bound_mask

_GROUPS = Tag(0x5200, 0x9230)
_LONGEST_VALUE = 0xFFFFFFFE
_ITEM = bytes.fromhex("FEFF00E0")
# Explicit little endian, up to the value: DimensionIndexValues, two numbers of 4 bytes, the first of which counts the
# segments; ReferencedSegmentNumber, one of 2 bytes.
_INDEX, _INDEX_BYTES = bytes.fromhex("20005791") + b"UL\x08\x00", 4
_OWNER, _OWNER_BYTES = bytes.fromhex("62000B00") + b"US\x02\x00", 2


def unite_segments(array: NDArray[Any], segments: Sequence[Segment]) -> NDArray[np.uint8]:
    """Where any of some segments lies.

    Args:
        array: the label map, (i, j, k).
        segments: all of them, so that lesions cover their labels.
    Returns:
        1 inside, (k, j, i).
    """
    table = np.zeros(int(array.max(initial=0)) + 1, np.uint8)
    for segment in segments:
        table[[value for value in segment.values if value < len(table)]] = 1
    turned = array.transpose(2, 1, 0)
    planes = np.empty(turned.shape, np.uint8)
    for k, plane in enumerate(turned):
        np.take(table, plane, out=planes[k], mode="clip")
    return planes


def spread_segments(
    content: Any,
    planes: Mapping[tuple[str, ...], int],
    array: NDArray[Any],
    segments: Sequence[Segment],
    bodies: Mapping[str, Bodies],
) -> None:
    """Give an object that holds all segments as one a frame for each segment and plane.

    highdicom asks every segment about every plane and builds each frame's description from objects, as pydicom writes
    it from objects: for hundreds of lesions that takes far longer than all else. Frames of one plane differ in the
    segment's number alone, so that one description a plane is encoded and copied.

    Args:
        content: highdicom's, binary, whose first segment is the union and whose frames refer to their sources; changed.
        planes: which plane, along k, lies at a position as it is written (ImagePositionPatient).
        array: the label map, (i, j, k).
        segments: two or more, each with voxels, numbered from 1.
        bodies: lesions by label.
    Raises:
        DatasetError: there are more frames than an object can describe.
    """
    encoded = {planes[_name_position(group)]: _encode(group) for group in content.PerFrameFunctionalGroupsSequence}
    order = list(encoded)
    rows, columns = int(content.Rows), int(content.Columns)
    groups: list[bytes] = []
    parts: list[tuple[int, NDArray[np.uint8]]] = []
    united, covered = _count_bits(content.PixelData), 0
    for segment, box, mask in _cut_out(array, segments, bodies):
        covered += segment.voxels
        reached = dict(zip(range(box[2].start, box[2].stop), np.any(mask, axis=(0, 1)).tolist(), strict=True))
        for k in order:
            if reached.get(k):
                first = len(groups) * rows * columns + box[1].start * columns
                band = np.zeros((box[1].stop - box[1].start, columns), bool)
                band[:, box[0]] = mask[..., k - box[2].start].T
                parts.append(_pack(first, band))
                groups.append(_number(encoded[k], segment.number))
    described = b"".join(groups)
    if len(described) > _LONGEST_VALUE:
        raise DatasetError(
            f"{len(groups)} frames, more than an object can describe", code="too_many_segments",
            remedy="Write a label map, or remove small components first",
        )  # fmt: skip
    content.NumberOfFrames = len(groups)
    content.PixelData = _join(parts, len(groups) * rows * columns)
    content["PixelData"].VR = "OB"
    content.SegmentsOverlap = "YES" if covered > united else "NO"
    content[_GROUPS] = RawDataElement(_GROUPS, "SQ", len(described), described, 0, False, True)
    # Else pydicom would parse what is encoded already, to encode it again.
    content.set_original_encoding(False, True, convert_encodings(content.SpecificCharacterSet))


def _cut_out(
    array: NDArray[Any], segments: Sequence[Segment], bodies: Mapping[str, Bodies]
) -> Iterator[tuple[Segment, Box, NDArray[np.bool_]]]:
    """Each segment with its box and its mask within."""
    for segment in segments:
        if segment.instance:
            yield segment, *bodies[segment.label].parts[segment.instance - 1]
            continue
        mask = mask_of(segment, array, bodies)
        found = bound_mask(mask)
        assert found is not None  # it has voxels
        yield segment, found, mask[found]


def _name_position(group: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in group.PlanePositionSequence[0].ImagePositionPatient)


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


def _count_bits(stored: bytes) -> int:
    return int(np.bitwise_count(np.frombuffer(stored, np.uint8)).sum(dtype=np.int64))
