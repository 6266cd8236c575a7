"""References, RTSTRUCT and SEG: what they hold, on which series they were drawn, and their masks on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, show_name
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.contour_planes import ON_PLANE_SLICES
from medseg.io.dicom.headers import FrameHeader
from medseg.io.dicom.kinds import CONTOURS
from medseg.io.dicom.label_parts import LabelPart, PartUse, paint_labels
from medseg.io.dicom.roi_names import RoiChoice, RoiRules, choose_rois
from medseg.io.dicom.rtstruct_masks import list_rois
from medseg.io.dicom.rtstruct_read import read_structure_set
from medseg.io.dicom.seg_read import list_codes, paint_segments, read_seg
from medseg.io.dicom.series import DicomSeries
from medseg.io.dicom.source import DicomSource
from medseg.io.dicom.stacking import measure_distances, read_axes

_SHOWN_SERIES = 4


@dataclass(frozen=True, eq=False)
class Reference:
    """A file with structures or segments; its contours and pixels are not kept.

    Args:
        header: of the file.
        kind: ``contours`` or ``segmentation``.
        names: of its parts, as they stand in the file.
        codes: of each part, what else says what it is; none of a structure.
        contours: closed ones of each structure; 0 of a segment.
        drawn: which parts can be drawn.
        image_uids, series_uids, frame_of_reference_uids: what it says it was drawn on; it need not be there.
        positions_mm: of a point of each contour or frame, (place, 3), LPS.
    """

    header: FrameHeader
    kind: str
    names: tuple[str, ...]
    codes: tuple[tuple[str, ...], ...]
    contours: tuple[int, ...]
    drawn: tuple[bool, ...]
    image_uids: frozenset[str]
    series_uids: frozenset[str]
    frame_of_reference_uids: frozenset[str]
    positions_mm: NDArray[np.float64]

    @property
    def path(self) -> Path:
        """The file."""
        return self.header.path


def read_reference(header: FrameHeader, kind: str) -> Reference:
    """What a reference holds and was drawn on; raises FormatError or GeometryError where it is damaged.

    Args:
        header: of the file.
        kind: ``contours`` or ``segmentation``.
    Returns:
        the reference.
    """
    if kind == CONTOURS:
        structures = read_structure_set(header.path)
        counts = tuple(len(roi.contours) for roi in structures.rois)
        return Reference(
            header, kind, tuple(roi.name for roi in structures.rois), ((),) * len(counts), counts,
            tuple(count > 0 for count in counts),
            frozenset(uid for roi in structures.rois for contour in roi.contours for uid in contour.image_uids),
            structures.series_uids,
            frozenset(roi.frame_of_reference_uid for roi in structures.rois if roi.frame_of_reference_uid),
            np.array([c.points_mm[0] for roi in structures.rois for c in roi.contours]).reshape(-1, 3),
        )  # fmt: skip
    seg = read_seg(header.path)
    names = tuple(segment.name for segment in seg.segments.values())
    codes = tuple(list_codes(segment) for segment in seg.segments.values())
    return Reference(
        header, kind, names, codes, (0,) * len(names), (True,) * len(names), frozenset(),
        frozenset(seg.source_series_uids),
        frozenset([seg.frame_of_reference_uid] if seg.frame_of_reference_uid else []), seg.positions_mm,
    )  # fmt: skip


def find_drawn_on(reference: Reference, images: Sequence[DicomSeries]) -> DicomSeries:
    """The series that a reference was drawn on.

    By the images that it names, else by the series, else by the frame of reference: what it names need not be there.
    Where several fit, the one on whose slices it lies.

    Args:
        reference: the reference.
        images: the scans of the tree.
    Returns:
        the one series.
    Raises:
        DatasetError: there is none, or several and nothing tells which.
    """
    own = [series for series in images if _is_same_patient(reference.header, series.planes[0])]
    world = reference.frame_of_reference_uids
    ways: tuple[Callable[[DicomSeries], bool], ...] = (
        lambda series: any(plane.sop_instance_uid in reference.image_uids for plane in series.planes),
        lambda series: series.series_uid in reference.series_uids,
        lambda series: series.planes[0].frame_of_reference_uid in world,
    )
    for way in ways:
        found = [series for series in own if way(series)]
        lying = found if len(found) < 2 else [series for series in found if _lies_on(reference, series)]
        if len(lying) == 1:
            return lying[0]
        if found:
            shown = "; ".join(series.name for series in found[:_SHOWN_SERIES])
            raise DatasetError(
                f"it may have been drawn on any of {len(found)} series: {shown}", code="ambiguous_series",
                file=reference.path, remedy="Import a tree with the one that it was drawn on alone",
            )  # fmt: skip
    raise DatasetError(
        f"the series that it was drawn on is not there ({len(images)} others are)", code="no_series",
        file=reference.path, remedy="Add that series to the tree",
    )  # fmt: skip


def _lies_on(reference: Reference, series: DicomSeries) -> bool:
    """Whether each contour or frame lies on a slice of the series, or beyond them all."""
    planes = series.planes
    if any(plane.place is None for plane in planes):
        return True  # nothing speaks against it
    at = np.unique(measure_distances(planes))
    if len(at) < 2:
        return True
    wanted = reference.positions_mm @ read_axes(planes[0])[2]
    after = np.clip(np.searchsorted(at, wanted), 1, len(at) - 1)
    away = np.minimum(np.abs(wanted - at[after - 1]), np.abs(wanted - at[after]))
    near = ON_PLANE_SLICES * np.diff(at).min()
    inside = (wanted > at[0] - near) & (wanted < at[-1] + near)
    return bool(inside.any()) and bool(np.all(away[inside] <= near))


def _is_same_patient(reference: FrameHeader, plane: FrameHeader) -> bool:
    mine, its = reference.patient[0], plane.patient[0]
    return not mine or not its or mine == its


def draw_references(
    references: Sequence[Reference], rules: RoiRules, source: DicomSource, *, scheme: LabelScheme | None = None
) -> tuple[Segmentation, tuple[PartUse, ...], tuple[str, ...]]:
    """The label map of the references that were drawn on one series.

    Args:
        references: of the series; several are taken as if they were one file.
        rules: which structure or segment is which label.
        source: the series.
        scheme: the labels' values; the rules' own where None.
    Returns:
        the label map, what became of each part, and notes, a line each.
    Raises:
        FormatError: a file is damaged.
        GeometryError: one does not lie on the series' slices.
        DatasetError: the rules do not fit them, or two labels share voxels.
    """
    parts = [part for one in references for part in list_parts(one, source, skipped=rules.skipped_slices)]
    return paint_labels(parts, rules, source.geometry, scheme=scheme)


def list_parts(reference: Reference, source: DicomSource, *, skipped: str = "refuse") -> list[LabelPart]:
    """The structures or segments of a reference, each ready to be drawn.

    Args:
        reference: the reference.
        source: the series that it was drawn on.
        skipped: as ``fill_roi`` takes it.
    Returns:
        a part for each of ``reference.names``.
    Raises:
        FormatError: the file is damaged.
    """
    if reference.kind == CONTOURS:
        return list_rois(read_structure_set(reference.path), source, skipped=skipped)
    seg = read_seg(reference.path)

    @cache
    def paint_all() -> NDArray[Any] | None:
        """All segments in one pass over the frames; None where some overlap."""
        try:
            return paint_segments(seg, {number: number for number in seg.segments}, source.geometry).array
        except DatasetError:
            return None

    def draw(number: int) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
        painted = paint_all()
        if painted is not None:
            return painted == number, ()
        return paint_segments(seg, {number: 1}, source.geometry).array != 0, ()

    return [
        LabelPart(segment.name, codes, 0, True, partial(draw, number), reference.path)
        for (number, segment), codes in zip(seg.segments.items(), reference.codes, strict=True)
    ]


def choose_references(references: Sequence[Reference], rules: RoiRules) -> RoiChoice:
    """What becomes of the parts of references, from their names alone.

    Args:
        references: taken as if they were one file.
        rules: which part is which label.
    Returns:
        the choice, its places those of all parts, one file's after the other's.
    Raises:
        DatasetError: as ``choose_rois``.
    """
    return choose_rois(
        [name for one in references for name in one.names], rules, [drawn for one in references for drawn in one.drawn],
        ", ".join(str(one.path) for one in references), codes=[codes for one in references for codes in one.codes],
    )  # fmt: skip


def refuse_several(references: Sequence[Reference], rules: RoiRules | None) -> None:
    """Refuse a series with several references unless the rules unite them.

    Args:
        references: those with wanted structures.
        rules: what the user said; None where nothing.
    Raises:
        DatasetError: there are several, and no rule unites them.
    """
    if len(references) > 1 and (rules is None or rules.references == "refuse"):
        raise DatasetError(
            f"{len(references)} references of its series have wanted structures:"
            f" {', '.join(show_name(one.path.name) for one in references)}",
            code="several_references", file=references[0].path,
            remedy='Leave the right one in the tree, narrow the patterns in rois.json, or write "references": "unite"'
            " there",
        )  # fmt: skip
