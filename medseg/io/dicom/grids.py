"""Planes of one series that cannot be one volume, told apart by orientation, size, spacing and world."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from medseg.core.errors import GeometryError, MedsegError
from medseg.io.dicom.headers import FrameHeader
from medseg.io.dicom.stacking import FEWEST_PLANES, place_of, read_axes

# Cosines that differ by less are rounded ones: over 512 voxels of 0.7 mm they move a corner by 0.07 mm.
SAME_DIRECTION = 2e-4
# Localizers' and reformatted orientations are far apart; planes that turn by less belong to one odd acquisition.
SMALLEST_TURN_DEGREES = 20.0
# Pixel spacings that differ by less, relatively, are one.
SAME_PIXEL = 1e-3
_REMEDY = "Move what does not belong to the scan elsewhere, or export the series again"
_NAMES = ("sagittal", "coronal", "axial")

_Groups = list[tuple[str, tuple[FrameHeader, ...]]]
_Key = TypeVar("_Key")


def split_grids(planes: Sequence[FrameHeader]) -> list[tuple[str, tuple[FrameHeader, ...], MedsegError | None]]:
    """Planes of one series by what no volume can mix.

    Args:
        planes: with a place.
    Returns:
        for each grid what sets it apart, in words (empty where there is one grid), its planes, and why it cannot be
        used. A property of one or two planes, or orientations that differ by little, are a fault of the series, which
        then stays in one piece.
    """
    parts: list[tuple[str, tuple[FrameHeader, ...]]] = [("", tuple(planes))]
    try:
        for divide, code, name in _DIVISIONS:
            divided: list[tuple[str, tuple[FrameHeader, ...]]] = []
            for label, part in parts:
                groups = divide(part)
                _refuse_strays(groups, code, name)
                divided += [(_add(label, words, len(groups) > 1), group) for words, group in groups]
            parts = divided
    except MedsegError as error:
        return [("", tuple(planes), error)]
    return [(label, part, None) for label, part in parts]


def _add(label: str, words: str, several: bool) -> str:
    return ", ".join(filter(None, (label, words if several else "")))


def _refuse_strays(groups: _Groups, code: str, name: str) -> None:
    sizes = [len(group) for _, group in groups]
    if len(groups) < 2 or min(sizes) >= FEWEST_PLANES:
        return
    by_size = sorted(groups, key=lambda item: len(item[1]))
    (words, stray), (others, most) = by_size[0], by_size[-1]
    raise GeometryError(
        f"the series mixes {name}: {stray[0].label} is {words}, {len(most)} slices are {others}"
        + (f", {len(groups)} kinds in all" if len(groups) > 2 else ""),
        code=code,
        file=stray[0].path,
        remedy=_REMEDY,
    )


def _divide_orientations(planes: Sequence[FrameHeader]) -> _Groups:
    clusters: list[tuple[tuple[float, ...], list[FrameHeader]]] = []
    for plane in planes:
        cosines = place_of(plane).orientation
        for stated, members in clusters:
            if all(abs(a - b) <= SAME_DIRECTION for a, b in zip(cosines, stated, strict=True)):
                members.append(plane)
                break
        else:
            clusters.append((cosines, [plane]))
            if len(clusters) > 1:
                _refuse_small_turn(clusters[0][1][0], plane)
    groups = [(_name_orientation(members[0]), tuple(members)) for _, members in clusters]
    return _number_equal(groups)


def _refuse_small_turn(first: FrameHeader, other: FrameHeader) -> None:
    a, b = read_axes(first), read_axes(other)
    angle = math.degrees(math.acos(min(1.0, max(-1.0, (float(np.trace(a @ b.T)) - 1) / 2))))
    if angle < SMALLEST_TURN_DEGREES:
        raise GeometryError(
            f"the series mixes orientations: {other.label} is turned by {angle:.2g} degrees against {first.label},"
            " expected none",
            code="mixed_orientation",
            file=other.path,
            remedy=_REMEDY,
        )


def _name_orientation(plane: FrameHeader) -> str:
    normal = np.abs(read_axes(plane)[2])
    name = _NAMES[int(normal.argmax())]
    return name if normal.max() > math.cos(math.radians(1)) else f"oblique {name}"


def _number_equal(groups: _Groups) -> _Groups:
    """Words that name several groups get a number."""
    names = [words for words, _ in groups]
    numbered: _Groups = []
    for index, (words, group) in enumerate(groups):
        rank, total = names[: index + 1].count(words), names.count(words)
        numbered.append((f"{words} {rank} of {total}" if total > 1 else words, group))
    return numbered


def _divide_by(
    key: Callable[[FrameHeader], _Key],
    name: Callable[[FrameHeader], str],
    same: Callable[[_Key, _Key], bool] = lambda one, other: one == other,
) -> Callable[[Sequence[FrameHeader]], _Groups]:
    def divide(planes: Sequence[FrameHeader]) -> _Groups:
        groups: list[tuple[_Key, list[FrameHeader]]] = []
        for plane in planes:
            value = key(plane)
            members = next((members for known, members in groups if same(known, value)), None)
            if members is None:
                groups.append((value, members := []))
            members.append(plane)
        return _number_equal([(name(members[0]), tuple(members)) for _, members in groups])

    return divide


def _size(plane: FrameHeader) -> tuple[int, int]:
    assert plane.pixels is not None  # only images come here
    return plane.pixels.columns, plane.pixels.rows


def _same_spacing(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(abs(a - b) <= SAME_PIXEL * a for a, b in zip(one, other, strict=True))


def _name_spacing(plane: FrameHeader) -> str:
    rows_mm, columns_mm = place_of(plane).spacing_mm
    return f"{columns_mm:.4g}x{rows_mm:.4g} mm"


def _meaning(plane: FrameHeader) -> tuple[str, str]:
    assert plane.pixels is not None
    return plane.pixels.photometric, plane.scale.unit


_DIVISIONS: tuple[tuple[Callable[[Sequence[FrameHeader]], _Groups], str, str], ...] = (
    (_divide_by(lambda plane: plane.modality, lambda plane: plane.modality[:16]), "mixed_modality", "modalities"),
    (
        _divide_by(lambda plane: plane.frame_of_reference_uid, lambda plane: f"of {plane.frame_of_reference_uid[:64]}"),
        "mixed_frame_of_reference",
        "frames of reference",
    ),
    (_divide_orientations, "mixed_orientation", "orientations"),
    (_divide_by(_size, lambda plane: "{}x{}".format(*_size(plane))), "mixed_size", "sizes"),
    (
        _divide_by(lambda plane: place_of(plane).spacing_mm, _name_spacing, _same_spacing),
        "mixed_spacing",
        "pixel spacings",
    ),
    (
        _divide_by(_meaning, lambda plane: " ".join(filter(None, _meaning(plane)))),
        "mixed_values",
        "kinds of values",
    ),
)
