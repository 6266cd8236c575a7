"""Writing DICOM segmentations, each read back and compared with the mask before it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import atomic_path
from medseg.core.errors import DatasetError, GeometryError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.check_back import check_probabilities, check_segments
from medseg.io.dicom.codes import Meaning
from medseg.io.dicom.identity import copy_identity, name_patient, quiet, read_identity
from medseg.io.dicom.maker import Maker, describe_software, identify_algorithm, to_concept
from medseg.io.dicom.rle import encode_frame
from medseg.io.dicom.seg_binary import pack_frames, put_frames, show_planes
from medseg.io.dicom.seg_planes import make_stand_ins, refer_to_source
from medseg.io.dicom.segments import Bodies, Segment, TrackedLesion, plan_segments
from medseg.io.dicom.source import DicomSource
from medseg.io.dicom.uids import make_uid
from medseg.io.guard import check_room
from medseg.io.label_map import turn_to

Kind = Literal["binary", "labelmap"]

_EXPLICIT = "1.2.840.10008.1.2.1"
_RLE = "1.2.840.10008.1.2.5"
_LARGEST_FRACTION = 255


@dataclass(frozen=True)
class WrittenSeg:
    """A segmentation that was written, for reports that refer to it.

    Args:
        path: the file.
        sop_class_uid, sop_instance_uid, series_uid: what identifies it.
        segments: what it holds.
        notes: what was decided, a line each.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    segments: tuple[Segment, ...]
    notes: tuple[str, ...] = ()


def write_seg(
    path: str | Path,
    segmentation: Segmentation,
    labels: LabelScheme,
    source: DicomSource,
    *,
    kind: Kind = "binary",
    lesions: Sequence[TrackedLesion] = (),
    lesion_labels: Sequence[str] = (),
    meanings: Mapping[str, Meaning] | None = None,
    maker: Maker | None = None,
) -> WrittenSeg:
    """Write a label map as a DICOM segmentation of the series that it was drawn on.

    Args:
        path: where the object shall stand.
        segmentation: the label map, on the series' grid, its axes in any order and direction.
        labels: what its values mean; labels without voxels are left out, unless there are no others.
        source: the series, as ``read_series`` gives it.
        kind: ``binary``: a bit per voxel and segment, which every viewer knows; ``labelmap``: numbers, far smaller
            where there are many labels, which may not overlap.
        lesions: names of lesions that the caller follows over time; their labels have a segment per lesion.
        lesion_labels: further labels to write with a segment per lesion.
        meanings: codes that the data set gives, by label.
        maker: who or what drew the mask; medseg where None.
    Returns:
        what was written.
    Raises:
        GeometryError: the label map lies on another grid.
        DatasetError: a lesion is not there, or labels overlap and ``kind`` does not allow that.
        FormatError: the series cannot be referred to, or what was written is not what was meant.
        ResourceError: the memory cannot hold it.
        OSError: the disk is full or the folder cannot be written.
    """
    path, maker = Path(path), maker or Maker()
    header = read_identity(source)
    array = _bring_to_source(segmentation, source, path)
    segments, bodies = plan_segments(
        array, labels, lesions=lesions, lesion_labels=lesion_labels, meanings=meanings, patient=name_patient(header),
        scan=source.series_uid,
    )  # fmt: skip
    exclusive = not _can_overlap(segments)
    if kind == "labelmap" and not exclusive:
        raise DatasetError(
            "labels share voxels, which a label map cannot hold", code="overlapping_structures", file=path,
            remedy="Write the kind binary",
        )  # fmt: skip
    filled = any(segment.voxels for segment in segments)
    several = kind == "binary" and filled and len(segments) > 1
    frames = pack_frames(array, segments, bodies, source.geometry) if several else None
    stand_ins = make_stand_ins(source)
    planes = _number_segments(array, segments, bodies) if frames is None else show_planes(frames, stand_ins)
    if not filled:
        planes, stand_ins = planes[:1], stand_ins[:1]  # an empty object is one empty frame a segment, not all of them
    with quiet():
        content = _make_object(stand_ins, planes, kind.upper(), segments, maker, apart=frames is not None)
        if kind == "labelmap":
            _compress(content)
        refer_to_source(content, source)
        if frames is not None:
            put_frames(content, frames, stand_ins, array.shape)
            content.SegmentsOverlap = "NO" if exclusive else _find_overlap(array, segments)
        copy_identity(header, content)
    return _save(
        path, content, segments, lambda written: check_segments(written, array, segments, bodies, source.geometry)
    )


def write_seg_probabilities(
    path: str | Path,
    probabilities: Mapping[str, NDArray[Any]],
    geometry: Geometry,
    labels: LabelScheme,
    source: DicomSource,
    *,
    meanings: Mapping[str, Meaning] | None = None,
    maker: Maker | None = None,
) -> WrittenSeg:
    """Write a model's probabilities as a fractional DICOM segmentation, in steps of 1/255.

    Args:
        path: where the object shall stand.
        probabilities: by label, (i, j, k), 0 to 1.
        geometry: their grid, the series' one.
        labels: names the labels to write, in order.
        source: the series, as ``read_series`` gives it.
        meanings: codes that the data set gives, by label.
        maker: who or what made them; medseg where None.
    Returns:
        what was written.
    Raises:
        GeometryError: the probabilities lie on another grid.
        DatasetError: a label has none, or values beyond 0 to 1.
        FormatError: the series cannot be referred to, or what was written is not what was meant.
        ResourceError: the memory cannot hold it.
    """
    path, maker = Path(path), maker or Maker()
    header = read_identity(source)
    if not geometry.same_grid(source.geometry):
        raise _other_grid(geometry, source, path)
    check_room(4 * int(np.prod(geometry.shape, dtype=np.int64)) * len(labels.names), path)
    stored = np.empty((*geometry.shape[::-1], len(labels.names)), np.float32)
    for place, label in enumerate(labels.names):
        stored[..., place] = _check_range(probabilities, label, geometry, path).transpose(2, 1, 0)
    # What rounds to 0 is no frame.
    stored[stored < 0.5 / _LARGEST_FRACTION] = 0
    none = np.zeros((1, 1, 1), np.uint8)
    segments, _ = plan_segments(none, labels, meanings=meanings)
    stand_ins = make_stand_ins(source)
    with quiet():
        content = _make_object(stand_ins, stored, "FRACTIONAL", segments, maker)
        refer_to_source(content, source)
        copy_identity(header, content)
    return _save(
        path, content, segments, lambda written: check_probabilities(written, stored, segments, source.geometry)
    )


def _bring_to_source(segmentation: Segmentation, source: DicomSource, path: Path) -> NDArray[Any]:
    return turn_to(segmentation.array, segmentation.geometry, source.geometry, path, grid_of="series").array


def _other_grid(geometry: Geometry, source: DicomSource, path: Path) -> GeometryError:
    return GeometryError(
        f"the grid is {geometry.describe()}, the series' one {source.geometry.describe()}",
        code="other_grid", file=path, remedy="Give the series that was segmented",
    )  # fmt: skip


def _check_range(probabilities: Mapping[str, NDArray[Any]], label: str, geometry: Geometry, path: Path) -> NDArray[Any]:
    found = probabilities.get(label)
    if found is None or found.shape != geometry.shape or not (found.min() >= 0 and found.max() <= 1):
        what = "missing" if found is None else f"of shape {found.shape}, from {found.min():.3g} to {found.max():.3g}"
        raise DatasetError(
            f"the probabilities of {label!r} are {what}, expected {geometry.shape} and 0 to 1",
            code="bad_probabilities", file=path, remedy="Give those that were predicted on the series",
        )  # fmt: skip
    return found


def _can_overlap(segments: Sequence[Segment]) -> bool:
    by_label = {segment.label: segment.values for segment in segments}
    values = [value for own in by_label.values() for value in own]
    return len(set(values)) < len(values)


def _find_overlap(array: NDArray[Any], segments: Sequence[Segment]) -> str:
    """Whether labels that share values share voxels, as DICOM says it."""
    united = np.isin(array, [value for segment in segments for value in segment.values])
    return "YES" if sum(segment.voxels for segment in segments) > np.count_nonzero(united) else "NO"


def _number_segments(array: NDArray[Any], segments: Sequence[Segment], bodies: Mapping[str, Bodies]) -> NDArray[Any]:
    """Segment numbers, (k, j, i)."""
    turned, dtype = array.transpose(2, 1, 0), np.uint8 if len(segments) <= np.iinfo(np.uint8).max else np.uint16
    as_they_are = not bodies and all(segment.values == (segment.number,) for segment in segments)
    if as_they_are and array.dtype == dtype and sum(s.voxels for s in segments) == np.count_nonzero(array):
        return np.ascontiguousarray(turned)
    planes = np.zeros(turned.shape, dtype)
    table = np.zeros(int(array.max(initial=0)) + 1, dtype)
    for segment in segments:
        if not segment.instance:
            table[[value for value in segment.values if value < len(table)]] = segment.number
    for k, plane in enumerate(turned):
        np.take(table, plane, out=planes[k], mode="clip")
    for label, body in bodies.items():
        own = [segment.number for segment in segments if segment.label == label and segment.instance]
        numbers = np.array([0, *own], dtype)
        part = planes.transpose(2, 1, 0)[body.box]
        np.maximum(part, numbers[body.numbers], out=part)
    return planes


def _make_object(
    stand_ins: list[Any],
    planes: NDArray[Any],
    kind: str,
    segments: Sequence[Segment],
    maker: Maker,
    *,
    apart: bool = False,
) -> Any:
    """highdicom's object; one whose frames are put in apart has the planes with frames as its first segment."""
    from highdicom.seg import Segmentation as SegmentationObject

    described = [_describe(segment, maker) for segment in segments]
    what = "Segmentation drawn by hand" if maker.by_hand else "Automatic segmentation, not reviewed"
    content = SegmentationObject(
        source_images=stand_ins,
        pixel_array=planes,
        segmentation_type=kind,
        segment_descriptions=described[:2] if apart else described,
        series_instance_uid=maker.series_uid or make_uid(),
        series_number=maker.series_number,
        sop_instance_uid=make_uid(),
        instance_number=1,
        max_fractional_value=_LARGEST_FRACTION,
        content_label="SEGMENTATION",
        content_description=what,
        transfer_syntax_uid=_EXPLICIT,
        series_description=maker.series_description or f"medseg {kind.lower()} segmentation",
        specific_character_set="ISO_IR 192",
        **describe_software(),
    )
    content.SegmentSequence = described
    return content


def _compress(content: Any) -> None:
    """Compress the frames of a label map in place."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    kind = np.uint8 if content.BitsAllocated == 8 else "<u2"
    shape = (int(content.NumberOfFrames), content.Rows, content.Columns)
    frames = np.frombuffer(content.PixelData, kind, count=int(np.prod(shape))).reshape(shape)
    content.PixelData = encapsulate([encode_frame(frame) for frame in frames])
    content["PixelData"].VR = "OB"
    content["PixelData"].is_undefined_length = True
    content.file_meta.TransferSyntaxUID = UID(_RLE)


def _describe(segment: Segment, maker: Maker) -> Any:
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    meaning = segment.meaning
    description = SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.name,
        segmented_property_category=to_concept(meaning.category),
        segmented_property_type=to_concept(meaning.kind),
        algorithm_type="MANUAL" if maker.by_hand else "AUTOMATIC",
        algorithm_identification=identify_algorithm(maker),
        tracking_uid=segment.tracking_uid or None,
        tracking_id=segment.lesion_id or None,
        anatomic_regions=[to_concept(meaning.region)] if meaning.region else None,
        display_color=CIELabColor.from_rgb(*segment.colour),
    )
    description.SegmentDescription = segment.label
    if meaning.side:
        place = (description.get("AnatomicRegionSequence") or description.SegmentedPropertyTypeCodeSequence)[0]
        keyword = "AnatomicRegionModifierSequence" if meaning.region else "SegmentedPropertyTypeModifierCodeSequence"
        setattr(place, keyword, [to_concept(meaning.side)])
    return description


def _save(path: Path, content: Any, segments: tuple[Segment, ...], check: Callable[[Path], None]) -> WrittenSeg:
    with atomic_path(path, check) as temporary, quiet():
        content.save_as(temporary)
    unknown = dict.fromkeys(repr(segment.label) for segment in segments if not segment.meaning.known)
    notes = [f"no code is known for {', '.join(unknown)}: written as tissue"] if unknown else []
    return WrittenSeg(
        path, str(content.SOPClassUID), str(content.SOPInstanceUID), str(content.SeriesInstanceUID), segments,
        tuple(notes),
    )  # fmt: skip
