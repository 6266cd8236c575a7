"""Writing an RTSTRUCT, read back and compared with the mask before it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import atomic_path
from medseg.core.errors import DatasetError, FormatError, GeometryError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.codes import Meaning
from medseg.io.dicom.contour_lines import Points, measure_area, trace_exact
from medseg.io.dicom.contour_masks import fill_roi
from medseg.io.dicom.contour_smoothing import trace_smooth
from medseg.io.dicom.identity import quiet, read_identity
from medseg.io.dicom.maker import Maker
from medseg.io.dicom.rtstruct_object import ContourPlane, DrawnRoi, make_structure_set
from medseg.io.dicom.rtstruct_read import read_structure_set
from medseg.io.dicom.segments import TrackedLesion, mask_of, plan_segments
from medseg.io.dicom.source import DicomSource
from medseg.io.label_map import turn_to

Style = Literal["exact", "smooth"]
# Smooth contours that change a structure's volume by more are refused.
LARGEST_VOLUME_CHANGE = 0.01
# Planes of a series are told apart by far more, and their stated positions are rounded to less.
SAME_PLANE_MM = 0.01

_TRACERS: dict[str, Callable[[NDArray[Any]], list[Points]]] = {"exact": trace_exact, "smooth": trace_smooth}


@dataclass(frozen=True)
class WrittenRoi:
    """A structure as it was written.

    Args:
        name: in the file.
        label: of the mask.
        voxels: of the mask.
        voxels_drawn: when its contours are drawn again on the series' grid.
        area_change: of the volume that its contours enclose, relative to the mask's.
    """

    name: str
    label: str
    voxels: int
    voxels_drawn: int
    area_change: float

    @property
    def volume_change(self) -> float:
        """The larger of the two changes, relative to the mask's volume."""
        drawn = self.voxels_drawn / self.voxels - 1 if self.voxels else 0.0
        return max(drawn, self.area_change, key=abs)


@dataclass(frozen=True)
class WrittenRtstruct:
    """An RTSTRUCT that was written.

    Args:
        path: the file.
        sop_instance_uid, series_uid: what identifies it.
        rois: what it holds.
        notes: what it is worth to know, a line each; of smooth contours, by how much they change each volume.
    """

    path: Path
    sop_instance_uid: str
    series_uid: str
    rois: tuple[WrittenRoi, ...]
    notes: tuple[str, ...]


def write_rtstruct(
    path: str | Path,
    segmentation: Segmentation,
    labels: LabelScheme,
    source: DicomSource,
    *,
    contours: Style = "exact",
    lesions: Sequence[TrackedLesion] = (),
    lesion_labels: Sequence[str] = (),
    meanings: Mapping[str, Meaning] | None = None,
    maker: Maker | None = None,
) -> WrittenRtstruct:
    """Write a label map as an RTSTRUCT, unapproved, of the series that it was drawn on.

    Args:
        path: where the object shall stand.
        segmentation: the label map, on the series' grid, its axes in any order and direction.
        labels: what its values mean; a structure per label that has voxels, or per label where none has.
        source: the series, as ``read_series`` gives it.
        contours: ``exact``: along voxel edges, which give the mask again, voxel for voxel; ``smooth``: across the steps
            between voxels, refused where that changes a structure's volume by more than 1 %.
        lesions: names of lesions that the caller follows over time; their labels have a structure per lesion.
        lesion_labels: further labels to write with a structure per lesion.
        meanings: codes that the data set gives, by label; they tell targets from organs.
        maker: who or what drew the mask; medseg where None.
    Returns:
        what was written.
    Raises:
        GeometryError: the label map lies on another grid, or between the planes of a series that was resampled.
        DatasetError: a lesion is not there, or smooth contours change a volume too much.
        FormatError: the series cannot be referred to, or what was written is not what was meant.
        OSError: the disk is full or the folder cannot be written.
    """
    path, maker = Path(path), maker or Maker()
    if contours not in _TRACERS:
        raise DatasetError(
            f"--contours {contours!r}, expected exact or smooth", code="bad_option", remedy="Write --contours exact"
        )
    planes = _find_planes(source, path)
    header = read_identity(source)
    array = turn_to(segmentation.array, segmentation.geometry, source.geometry, path, grid_of="series").array
    segments, bodies = plan_segments(array, labels, lesions=lesions, lesion_labels=lesion_labels, meanings=meanings)
    names = name_rois([segment.name for segment in segments])
    masks = {name: mask_of(segment, array, bodies) for name, segment in zip(names, segments, strict=True)}
    drawn = [
        DrawnRoi(name, segment, tuple(_trace(masks[name], _TRACERS[contours])))
        for name, segment in zip(names, segments, strict=True)
    ]
    written: list[WrittenRoi] = []
    with quiet():
        content = make_structure_set(header, source, planes, drawn, maker)
    with (
        atomic_path(
            path, lambda temporary: written.extend(_check(temporary, masks, drawn, source, contours))
        ) as temporary,
        quiet(),
    ):
        content.save_as(temporary, enforce_file_format=True)
    notes = [
        f"the smooth contours of {roi.name!r} change its volume by {_show_percent(roi.volume_change)}: {roi.voxels}"
        f" voxels of the mask, {roi.voxels_drawn} when they are drawn again"
        for roi in written
        if contours == "smooth"
    ]
    return WrittenRtstruct(
        path, str(content.SOPInstanceUID), str(content.SeriesInstanceUID), tuple(written), tuple(notes)
    )


def _show_percent(change: float) -> str:
    return f"{round(100 * change, 2) + 0.0:+.2f} %"  # adding 0 makes a small negative number no -0.00


def name_rois(names: Sequence[str]) -> list[str]:
    """Names within DICOM's 64 letters, each once: repeated ones get a number at their end.

    Args:
        names: clean ones, at most 64 letters each.
    Returns:
        as many names, all different in more than case.
    """
    taken: set[str] = set()
    result = []
    for name in names:
        unique, number = name, 1
        while unique.casefold() in taken:
            number += 1
            ending = f" {number}"
            unique = name[: 64 - len(ending)] + ending
        taken.add(unique.casefold())
        result.append(unique)
    return result


def _find_planes(source: DicomSource, path: Path) -> list[ContourPlane]:
    """The series' planes, in which the volume's slices lie: a straightened pile moved within its planes."""
    if source.frames:
        # From the plane's own position: the grid's planes are even, the scanner's may be off by its rounding.
        return [ContourPlane(frame, frame.position_mm) for frame in source.frames]
    geometry, frames = source.geometry, source.resampled_frames
    if len(frames) == geometry.shape[2]:
        origins = geometry.to_world([(0, 0, k) for k in range(len(frames))]) * (-1, -1, 1)
        normal = np.cross(*(geometry.affine[:3, :2].T * (-1, -1, 1)))
        away = (np.array([frame.position_mm for frame in frames]) - origins) @ (normal / np.linalg.norm(normal))
        if np.abs(away).max() <= SAME_PLANE_MM:
            return [ContourPlane(frame, (x, y, z)) for frame, (x, y, z) in zip(frames, origins.tolist(), strict=True)]
    raise GeometryError(
        "the volume was resampled and lies between the series' planes, where contours cannot stand",
        code="resampled_source", file=path, remedy="Write a DICOM SEG, which has a grid of its own",
    )  # fmt: skip


def _trace(mask: NDArray[np.bool_], trace: Callable[[NDArray[Any]], list[Points]]) -> list[tuple[int, Points]]:
    """The contours of a mask with the index of their slice."""
    slices = np.flatnonzero(mask.any(axis=(0, 1)))
    return [(int(k), polygon) for k in slices for polygon in trace(mask[:, :, k])]


def _check(
    path: Path,
    masks: Mapping[str, NDArray[np.bool_]],
    drawn: Sequence[DrawnRoi],
    source: DicomSource,
    contours: str,
) -> list[WrittenRoi]:
    """What the file holds, read back and drawn again; raises FormatError where that is not what was meant."""
    try:
        structures = read_structure_set(path)
        found = {roi.name: roi for roi in structures.rois}
        if list(found) != list(masks):
            raise _differs(f"{len(found)} structures or their names are not the {len(masks)} that were meant", path)
        filled = {
            name: fill_roi(roi, source.geometry, str(path), skipped="keep")[0] for name, roi in found.items()
        }  # fmt: skip
    except MedsegError as error:
        raise error if error.code == "not_read_back" else _differs(error.reason, path) from None
    written = []
    for roi in drawn:
        mask, again = masks[roi.name], filled[roi.name]
        voxels, voxels_drawn = int(np.count_nonzero(mask)), int(np.count_nonzero(again))
        enclosed = sum(measure_area(polygon) for _, polygon in roi.contours)
        result = WrittenRoi(
            roi.name, roi.segment.label, voxels, voxels_drawn, enclosed / voxels - 1 if voxels else 0.0
        )  # fmt: skip
        if contours == "exact" and not np.array_equal(mask, again):
            raise _differs(f"{np.count_nonzero(mask != again)} voxels of {roi.name!r} are not the mask's", path)
        if abs(result.volume_change) > LARGEST_VOLUME_CHANGE:
            raise DatasetError(
                f"smooth contours change the volume of {roi.name!r} by {_show_percent(result.volume_change)} ({voxels}"
                f" voxels, {voxels_drawn} when drawn again), expected at most {100 * LARGEST_VOLUME_CHANGE:g} %",
                code="smooth_changes_volume", file=path, remedy="Write --contours exact",
            )  # fmt: skip
        written.append(result)
    return written


def _differs(reason: str, path: Path) -> FormatError:
    return FormatError(
        f"the written object was read back and differs: {reason}", code="not_read_back", file=path,
        remedy="Nothing was left behind; report this with the series' geometry",
    )  # fmt: skip
