"""An RTSTRUCT as a label map on the grid of a series."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError, show_name
from medseg.core.volume import Segmentation
from medseg.io.dicom.contour_masks import fill_roi
from medseg.io.dicom.label_parts import LabelPart, PartUse, paint_labels
from medseg.io.dicom.roi_names import RoiRules
from medseg.io.dicom.rtstruct_read import Roi, StructureSet
from medseg.io.dicom.source import DicomSource


def draw_structures(
    structures: StructureSet, rules: RoiRules, source: DicomSource
) -> tuple[Segmentation, tuple[PartUse, ...], tuple[str, ...]]:
    """The label map that a structure set stands for.

    Args:
        structures: as read.
        rules: which structure is which label.
        source: the series that they were drawn on.
    Returns:
        the label map on the series' grid, uint8 or uint16; what became of each structure; notes, a line each, on
        contours that were left out or look doubtful.
    Raises:
        GeometryError: contours lie in another world than the series, or not on its slices.
        DatasetError: structures match labels ambiguously, no structure matches any, or two labels share voxels.
    """
    return paint_labels(list_rois(structures, source, skipped=rules.skipped_slices), rules, source.geometry)


def list_rois(structures: StructureSet, source: DicomSource, *, skipped: str = "refuse") -> list[LabelPart]:
    """The structures of a set, each ready to be drawn.

    Args:
        structures: as read.
        source: the series that they were drawn on.
        skipped: as ``fill_roi`` takes it.
    Returns:
        a part per structure, in the file's order.
    """
    return [
        LabelPart(
            roi.name, (), len(roi.contours), bool(roi.contours),
            partial(draw_roi, roi, structures, source, skipped=skipped), structures.path, sum(roi.unused.values()),
        )
        for roi in structures.rois
    ]  # fmt: skip


def draw_roi(
    roi: Roi, structures: StructureSet, source: DicomSource, *, skipped: str = "refuse"
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which voxels of a series one structure holds.

    Args:
        roi: the structure.
        structures: the set it belongs to.
        source: the series.
        skipped: as ``fill_roi`` takes it.
    Returns:
        the mask, (i, j, k), and notes, a line each.
    Raises:
        GeometryError: it lies in another world than the series, not on its slices, or beyond them.
    """
    _refuse_other_world(roi, structures, source)
    return fill_roi(roi, source.geometry, str(structures.path), skipped=skipped)


def _refuse_other_world(roi: Roi, structures: StructureSet, source: DicomSource) -> None:
    drawn_in, here = roi.frame_of_reference_uid, source.frame_of_reference_uid
    if not drawn_in or not here or drawn_in == here or source.series_uid in structures.series_uids:
        return
    images = {frame.sop_instance_uid for frame in source.frames}
    if any(uid in images for contour in roi.contours for uid in contour.image_uids):
        return
    raise GeometryError(
        f"{roi.name!r} was drawn in the frame of reference {show_name(drawn_in)[:64]}, the series "
        f"{source.modality} lies in {show_name(here)[:64]}",
        code="other_frame_of_reference", file=structures.path,
        remedy="Give the series that it was drawn on, or register the two",
    )  # fmt: skip
