"""The parts of a reference, structures or segments, put together as one label map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, show_name
from medseg.core.geometry import Geometry
from medseg.core.volume import Segmentation
from medseg.io.dicom.roi_names import RoiRules, choose_rois

DrawPart = Callable[[int], tuple[NDArray[np.bool_], tuple[str, ...]]]


@dataclass(frozen=True)
class PartUse:
    """What became of one structure or segment.

    Args:
        name: as it may be shown.
        label: that it is part of; empty where it was left out.
        contours: closed ones of a structure; 0 of a segment.
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


def paint_labels(
    names: Sequence[str],
    contours: Sequence[int],
    drawn: Sequence[bool],
    draw: DrawPart,
    rules: RoiRules,
    geometry: Geometry,
    file: str,
) -> tuple[Segmentation, tuple[PartUse, ...], tuple[str, ...]]:
    """The label map that the parts of a reference stand for.

    Args:
        names: of the parts, in the file's order.
        contours: how many each has.
        drawn: which of them can be drawn at all.
        draw: gives a part's mask, (i, j, k), and notes, by its place in ``names``.
        rules: which part is which label.
        geometry: the grid.
        file: for messages.
    Returns:
        the label map, uint8 or uint16; what became of each part; the notes of those that were drawn.
    Raises:
        DatasetError: parts match labels ambiguously, none matches any, or two labels share voxels.
    """
    choice = choose_rois(names, rules, drawn, file)
    if not any(choice.labels.values()):
        raise DatasetError(
            f"no structure matches a label; the file's are {', '.join(map(repr, names)) or 'none'}",
            code="no_structure", file=file, remedy="Add a pattern for one of them to rois.json",
        )  # fmt: skip
    scheme = rules.scheme
    array: NDArray[Any] = np.zeros(geometry.shape, scheme.value_type(), order="F")
    uses = {
        place: PartUse(show_name(names[place]), "", contours[place], None, None, reason)
        for place, reason in choice.left
    }
    notes: list[str] = []
    for label, places in choice.labels.items():
        united = np.zeros(geometry.shape, bool, order="F")
        for place in places:
            mask, said = draw(place)
            united |= mask
            notes += said
            voxels = int(np.count_nonzero(mask))
            volume_ml = voxels * geometry.voxel_volume_ml
            uses[place] = PartUse(show_name(names[place]), label, contours[place], voxels, volume_ml, "")
            if not voxels:
                notes.append(f"{names[place]!r} holds the middle of no voxel")
        _refuse_overlap(array[united], label, rules, file, geometry)
        array[united] = scheme.labels[label][0]
    return Segmentation(array, geometry), tuple(uses[place] for place in sorted(uses)), tuple(notes)


def _refuse_overlap(below: NDArray[Any], label: str, rules: RoiRules, file: str, geometry: Geometry) -> None:
    shared = below[below != 0]
    if not shared.size or rules.overlap == "last":
        return
    first = next(name for name, values in rules.scheme.labels.items() if values[0] == shared[0])
    volume_ml = shared.size * geometry.voxel_volume_ml
    raise DatasetError(
        f"the labels {first!r} and {label!r} share {shared.size} voxels ({volume_ml:.3g} ml)",
        code="overlapping_structures", file=file,
        remedy='Leave one out, or write "overlap": "last" in rois.json for the later label to win',
    )  # fmt: skip
