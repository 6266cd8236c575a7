"""The parts of a reference, structures or segments, put together as one label map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, show_name
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.roi_names import RoiChoice, RoiRules, choose_rois
from medseg.io.structures import decode_regions

DrawPart = Callable[[], tuple[NDArray[np.bool_], tuple[str, ...]]]


@dataclass(frozen=True, eq=False)
class LabelPart:
    """One structure or segment of a file.

    Args:
        name: as it stands in the file.
        codes: what else says what it is: ``SCT:10200004``, the code's meaning.
        contours: closed ones of a structure; 0 of a segment.
        is_drawn: whether it can be drawn at all.
        draw: gives its mask, (i, j, k), and notes.
        file: that holds it.
        open_contours: of a structure, those that enclose nothing: points, open lines; they are not drawn.
    """

    name: str
    codes: tuple[str, ...]
    contours: int
    is_drawn: bool
    draw: DrawPart
    file: Path
    open_contours: int = 0


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
        file: that holds it, as it may be shown.
    """

    name: str
    label: str
    contours: int
    voxels: int | None
    volume_ml: float | None
    reason: str
    file: str


def paint_labels(
    parts: Sequence[LabelPart], rules: RoiRules, geometry: Geometry, *, scheme: LabelScheme | None = None
) -> tuple[Segmentation, tuple[PartUse, ...], tuple[str, ...]]:
    """The label map that the parts of a reference stand for.

    Args:
        parts: in the file's order; of several files, one file's after the other's.
        rules: which part is which label.
        geometry: the grid.
        scheme: the labels' values; the rules' own where None.
    Returns:
        the label map, uint8 or uint16; what became of each part; the notes of those that were drawn.
    Raises:
        DatasetError: parts match labels ambiguously, none matches any, two labels share voxels, or all that a label
            has are open contours.
    """
    file, scheme = ", ".join(dict.fromkeys(str(part.file) for part in parts)), scheme or rules.scheme
    drawn = [part.is_drawn for part in parts]
    choice = choose_rois([part.name for part in parts], rules, drawn, file, codes=[part.codes for part in parts])
    _refuse_open(parts, choice, rules, file)
    if not any(choice.labels.values()):
        raise DatasetError(
            f"no structure matches a label ({', '.join(map(repr, scheme.names))}); the file's are"
            f" {', '.join(repr(show_name(part.name)) for part in parts) or 'none'}",
            code="no_structure", file=file, remedy="Add a pattern for one of them to rois.json",
        )  # fmt: skip
    uses = {place: _note_use(parts[place], reason=reason) for place, reason in choice.left}
    notes: list[str] = []

    def draw(label: str) -> NDArray[np.bool_]:
        united = np.zeros(geometry.shape, bool, order="F")
        for place in choice.labels[label]:
            mask, said = parts[place].draw()
            united |= mask
            notes.extend(said)
            voxels = int(np.count_nonzero(mask))
            uses[place] = _note_use(parts[place], label, voxels, voxels * geometry.voxel_volume_ml)
            if not voxels:
                notes.append(f"{show_name(parts[place].name)!r} holds the middle of no voxel")
        return united

    array = (_paint_regions if scheme.has_regions else _paint_classes)(choice, scheme, rules, geometry, file, draw)
    several = [(label, len(places)) for label, places in choice.labels.items() if len(places) > 1]
    notes += [f"{label!r} is {count} structures, united" for label, count in several]
    notes += [f"no structure is of {label!r}" for label, places in choice.labels.items() if not places]
    return Segmentation(array, geometry), tuple(uses[place] for place in sorted(uses)), tuple(notes)


def _refuse_open(parts: Sequence[LabelPart], choice: RoiChoice, rules: RoiRules, file: str) -> None:
    """Refuse a label that has open contours alone: somebody drew it, and the mask would say that it is not there."""
    names, codes = [part.name for part in parts], [part.codes for part in parts]
    for place, part in enumerate(parts):
        if part.is_drawn or not part.open_contours or all(choice.labels.values()):
            continue
        alone = choose_rois(names, rules, [other == place for other in range(len(parts))], file, codes=codes)
        label = next((label for label, places in alone.labels.items() if places), "")
        if label and not choice.labels[label]:
            raise DatasetError(
                f"{show_name(part.name)!r}, of the label {label!r}, has {part.open_contours} contours, none of them"
                " closed: they enclose nothing", code="open_contours", file=part.file,
                remedy="Close them where they were drawn, or narrow the label's patterns in rois.json",
            )  # fmt: skip


def _note_use(
    part: LabelPart, label: str = "", voxels: int | None = None, volume_ml: float | None = None, reason: str = ""
) -> PartUse:
    return PartUse(show_name(part.name), label, part.contours, voxels, volume_ml, reason, show_name(str(part.file)))


def _paint_classes(
    choice: RoiChoice, scheme: LabelScheme, rules: RoiRules, geometry: Geometry, file: str,
    draw: Callable[[str], NDArray[np.bool_]],
) -> NDArray[Any]:  # fmt: skip
    array: NDArray[Any] = np.zeros(geometry.shape, scheme.value_type(), order="F")
    for label in choice.labels:
        united = draw(label)
        if rules.overlap == "refuse":
            _refuse_overlap(array[united], label, scheme, file, geometry)
        array[united] = scheme.labels[label][0]
    return array


def _paint_regions(
    choice: RoiChoice, scheme: LabelScheme, rules: RoiRules, geometry: Geometry, file: str,
    draw: Callable[[str], NDArray[np.bool_]],
) -> NDArray[Any]:  # fmt: skip
    membership = np.zeros(geometry.shape, np.uint64, order="F")
    for label in choice.labels:
        membership[draw(label)] |= np.uint64(1 << scheme.names.index(label))
    return decode_regions(membership, scheme, Path(file))


def _refuse_overlap(below: NDArray[Any], label: str, scheme: LabelScheme, file: str, geometry: Geometry) -> None:
    shared = below[below != 0]
    if not shared.size:
        return
    first = next(name for name, values in scheme.labels.items() if values[0] == shared[0])
    volume_ml = shared.size * geometry.voxel_volume_ml
    raise DatasetError(
        f"the labels {first!r} and {label!r} share {shared.size} voxels ({volume_ml:.3g} ml)",
        code="overlapping_structures", file=file,
        remedy='Leave one out, or write "overlap": "last" in rois.json for the later label to win',
    )  # fmt: skip
