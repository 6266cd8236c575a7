"""Key slices as Secondary Capture, for viewers that know no segmentations: the plane of each lesion's largest area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import atomic_path
from medseg.core.errors import FormatError, GeometryError
from medseg.core.volume import Volume
from medseg.io.dicom.identity import copy_identity, quiet, read_identity
from medseg.io.dicom.key_drawing import draw_key_slice, settle_window
from medseg.io.dicom.maker import MANUFACTURER, Maker, describe_software
from medseg.io.dicom.seg_frames import decode_frames
from medseg.io.dicom.seg_place import place_frames
from medseg.io.dicom.seg_read import read_seg
from medseg.io.dicom.seg_write import WrittenSeg
from medseg.io.dicom.segments import Segment, clean_text
from medseg.io.dicom.source import DicomSource
from medseg.io.dicom.uids import make_uid

MOST_PICTURES = 20
_EXPLICIT = "1.2.840.10008.1.2.1"
# Letters of an axis' direction as DICOM has them (PS3.3, C.7.6.1.1.1): head and feet for superior and inferior.
_SIDES = {"L": "L", "R": "R", "A": "A", "P": "P", "S": "H", "I": "F"}


@dataclass(frozen=True)
class KeyPicture:
    """A picture that was written.

    Args:
        path: the file.
        sop_instance_uid: what identifies it.
        plane: which plane of the volume, along k, from 0 on.
        segments: the numbers of the segments that have their largest area there.
    """

    path: Path
    sop_instance_uid: str
    plane: int
    segments: tuple[int, ...]


def write_key_pictures(
    folder: str | Path,
    volume: Volume,
    seg: WrittenSeg,
    source: DicomSource,
    *,
    window: tuple[float, float] | None = None,
    maker: Maker | None = None,
) -> tuple[KeyPicture, ...]:
    """Write the plane of each segment's largest area as a colour picture, outlined, in a series of its own.

    Args:
        folder: where ``key_01.dcm``, ... shall stand.
        volume: the series that was segmented; its first channel is shown.
        seg: the segmentation, as it was written.
        source: the series.
        window: intensities shown as black and as white; soft tissue for CT, else the plane's 1st to 99th percentile.
        maker: who or what drew the mask; medseg where None.
    Returns:
        the pictures, one a plane, those of the largest segments, ``MOST_PICTURES`` at most; none for an empty mask.
    Raises:
        GeometryError: the volume is not the series'.
        FormatError: the series cannot be referred to, or what was written is not what was meant.
        OSError: the disk is full or the folder cannot be written.
    """
    folder, maker = Path(folder), maker or Maker()
    if not volume.geometry.same_grid(source.geometry):
        raise GeometryError(
            f"the volume's grid is {volume.geometry.describe()}, the series' one {source.geometry.describe()}",
            code="other_grid", file=seg.path, remedy="Give the volume that was read from the series",
        )  # fmt: skip
    header = read_identity(source)
    masks = _find_key_planes(seg, source)
    shown = {segment.number: segment for segment in seg.segments}
    series_uid = maker.series_uid or make_uid()
    written = []
    for number, (plane, (chosen, outlined)) in enumerate(sorted(masks.items()), start=1):
        grey = volume.array[0, :, :, plane].T
        picture = draw_key_slice(
            grey, (source.geometry.spacing_mm[1], source.geometry.spacing_mm[0]),
            settle_window(grey, source.modality, window),
            [(mask, shown[segment].colour, shown[segment].name) for segment, mask in outlined.items()],
        )  # fmt: skip
        names = ", ".join(shown[segment].name for segment in chosen)
        with quiet():
            content = _make_picture(picture, source, plane, names, maker, series_uid, number)
            copy_identity(header, content)
        path = folder / f"key_{number:02}.dcm"
        with atomic_path(path, partial(_check, meant=picture)) as temporary, quiet():
            content.save_as(temporary)
        written.append(KeyPicture(path, str(content.SOPInstanceUID), plane, chosen))
    return tuple(written)


def _find_key_planes(
    seg: WrittenSeg, source: DicomSource
) -> dict[int, tuple[tuple[int, ...], dict[int, NDArray[np.bool_]]]]:
    """By plane the segments whose largest area lies there, and the mask of every segment there, (row, column)."""
    content = read_seg(seg.path)
    planes = place_frames(content, source.geometry).first[:, 2].tolist()
    largest: dict[int, tuple[int, int]] = {}
    for number, plane, mask in _list_masks(decode_frames(content), content.owners.tolist(), planes):
        area = int(np.count_nonzero(mask))
        if area > largest.get(number, (0, 0))[0]:
            largest[number] = (area, plane)
    wanted: dict[int, list[int]] = {}
    for segment in _rank(seg.segments):
        if segment.number in largest:
            plane = largest[segment.number][1]
            if plane in wanted or len(wanted) < MOST_PICTURES:
                wanted.setdefault(plane, []).append(segment.number)
    masks: dict[int, dict[int, NDArray[np.bool_]]] = {plane: {} for plane in wanted}
    for number, plane, mask in _list_masks(decode_frames(content), content.owners.tolist(), planes):
        if plane in masks and mask.any():
            masks[plane][number] = mask
    return {plane: (tuple(numbers), masks[plane]) for plane, numbers in wanted.items()}


def _rank(segments: Sequence[Segment]) -> list[Segment]:
    """Lesions first, then whole labels, each from the largest."""
    return sorted(segments, key=lambda segment: (segment.instance == 0, -segment.voxels))


def _list_masks(frames: Any, owners: Sequence[int], planes: Sequence[int]) -> Any:
    """Each frame's segment, plane and mask; a label map's frames give a mask per segment in them."""
    for frame, owner, plane in zip(frames, owners, planes, strict=True):
        if owner:
            yield owner, plane, frame != 0
        else:
            for number in np.unique(frame[frame != 0]).tolist():
                yield number, plane, frame == number


def _make_picture(
    picture: NDArray[np.uint8], source: DicomSource, plane: int, names: str, maker: Maker, series_uid: str, number: int
) -> Any:
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset

    software = describe_software()
    letters = source.geometry.orientation
    content = SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=source.study_uid,
        series_instance_uid=series_uid,
        series_number=maker.series_number,
        sop_instance_uid=make_uid(),
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=software["manufacturer_model_name"],
        software_versions=software["software_versions"],
        patient_orientation=(_SIDES[letters[0]], _SIDES[letters[1]]),
        transfer_syntax_uid=_EXPLICIT,
        series_description=maker.series_description or "medseg key slices",
        specific_character_set="ISO_IR 192",
    )
    content.BurnedInAnnotation = "NO"  # names of structures, none of a patient
    content.ImageComments = clean_text(f"Outlined: {names}", 1000)
    content.ConversionType = "WSD"
    content.add_new("Laterality", "CS", None)  # unknown, and it must be there (PS3.3, C.7.3.1)
    frame = source.frames[plane] if source.frames else None
    if frame:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
        if frame.number:
            item.ReferencedFrameNumber = frame.number
        content.SourceImageSequence = [item]
    return content


def _check(path: Path, meant: NDArray[np.uint8]) -> None:
    """Raise FormatError where a written picture is not the one that was drawn."""
    import pydicom

    with quiet():
        content = pydicom.dcmread(path)
        found = np.frombuffer(content.PixelData, np.uint8)[: meant.size]
        same = (content.Rows, content.Columns, 3) == meant.shape and np.array_equal(found, meant.ravel())
    if not same:
        raise FormatError(
            "the written picture was read back and differs", code="not_read_back", file=path,
            remedy="Nothing was left behind; report this",
        )  # fmt: skip
