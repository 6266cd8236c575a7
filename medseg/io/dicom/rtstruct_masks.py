"""An RTSTRUCT as a label map on the grid of a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, GeometryError, show_name
from medseg.core.volume import Segmentation
from medseg.io.dicom.contour_masks import fill_roi
from medseg.io.dicom.roi_names import RoiRules, choose_rois
from medseg.io.dicom.rtstruct_read import Roi, StructureSet
from medseg.io.dicom.source import DicomSource


@dataclass(frozen=True)
class RoiUse:
    """What became of one structure.

    Args:
        name: as it may be shown.
        label: that it is part of; empty where it was left out.
        contours: closed ones.
        voxels: that it holds on the series' grid; None where it was not drawn.
        volume_ml: of these voxels; None likewise.
        reason: why it was left out; empty where it was used.
    """

    name: str
    label: str
    contours: int
    voxels: int | None
    volume_ml: float | None
    reason: str


def draw_structures(
    structures: StructureSet, rules: RoiRules, source: DicomSource
) -> tuple[Segmentation, tuple[RoiUse, ...], tuple[str, ...]]:
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
    file = str(structures.path)
    rois = structures.rois
    choice = choose_rois([roi.name for roi in rois], rules, [bool(roi.contours) for roi in rois], file)
    if not any(choice.labels.values()):
        found = ", ".join(repr(roi.name) for roi in rois) or "none"
        raise DatasetError(
            f"no structure matches a label; the file's are {found}", code="no_structure", file=file,
            remedy="Add a pattern for one of them to rois.json",
        )  # fmt: skip
    scheme = rules.scheme
    array: NDArray[Any] = np.zeros(source.geometry.shape, scheme.value_type(), order="F")
    uses = {place: RoiUse(show_name(rois[place].name), "", len(rois[place].contours), None, None, reason)
            for place, reason in choice.left}  # fmt: skip
    notes: list[str] = []
    for label, places in choice.labels.items():
        united = np.zeros(source.geometry.shape, bool, order="F")
        for place in places:
            mask, said = draw_roi(rois[place], structures, source, skipped=rules.skipped_slices)
            united |= mask
            notes += said
            uses[place] = describe_use(rois[place], mask, source, label)
        _refuse_overlap(array[united], label, rules, file, source)
        array[united] = scheme.labels[label][0]
    ordered = tuple(uses[place] for place in sorted(uses))
    return Segmentation(array, source.geometry), ordered, tuple(notes)


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


def describe_use(roi: Roi, mask: NDArray[np.bool_], source: DicomSource, label: str = "", reason: str = "") -> RoiUse:
    """What became of a structure that was drawn.

    Args:
        roi: the structure.
        mask: its voxels, (i, j, k).
        source: the series.
        label, reason: as in ``RoiUse``.
    Returns:
        the record.
    """
    voxels = int(np.count_nonzero(mask))
    volume_ml = voxels * source.geometry.voxel_volume_ml
    return RoiUse(show_name(roi.name), label, len(roi.contours), voxels, volume_ml, reason)


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


def _refuse_overlap(below: NDArray[Any], label: str, rules: RoiRules, file: str, source: DicomSource) -> None:
    shared = below[below != 0]
    if not shared.size or rules.overlap == "last":
        return
    first = next(name for name, values in rules.scheme.labels.items() if values[0] == shared[0])
    volume_ml = shared.size * source.geometry.voxel_volume_ml
    raise DatasetError(
        f"the labels {first!r} and {label!r} share {shared.size} voxels ({volume_ml:.3g} ml)",
        code="overlapping_structures", file=file,
        remedy='Leave one out, or write "overlap": "last" in rois.json for the later label to win',
    )  # fmt: skip
