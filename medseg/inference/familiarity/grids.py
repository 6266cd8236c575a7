"""What is unusual about a scan's grid: spacing, size, the order and direction of its axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations

from medseg.core.geometry import DIRECTIONS, Geometry, match_axes
from medseg.core.model import Familiar, Span

# Training scans never span all that a model can do: augmentation alone scales them by 0.7 to 1.4. Twice as coarse or
# as large as any of them is beyond that; a number of voxels follows from both.
FACTOR_MM = 2.0
FACTOR_VOXELS = 4.0

AXES = "ijk"
WAYS = ("left-right", "back-front", "foot-head")  # along the world's x, y, z
PICTURE_WAYS = ("rows", "columns")


@dataclass(frozen=True)
class _Axis:
    """An axis of the scan beside the one of the training scans that it is read as."""

    number: int
    way: str
    spacing_mm: float
    voxels: int
    usual_spacing_mm: Span | None
    usual_voxels: Span
    usual_size_mm: Span | None

    @property
    def size_mm(self) -> float:
        return self.voxels * self.spacing_mm

    @property
    def has_far_spacing(self) -> bool:
        return lies_far(self.spacing_mm, self.usual_spacing_mm, FACTOR_MM)

    @property
    def has_far_size(self) -> bool:
        return lies_far(self.size_mm, self.usual_size_mm, FACTOR_MM) or lies_far(
            self.voxels, self.usual_voxels, FACTOR_VOXELS
        )


def find_unusual_grid(geometry: Geometry, size_voxels: Sequence[int], familiar: Familiar) -> list[str]:
    """Sentences about a grid that lies far from those of the training scans.

    Args:
        geometry: the scan's grid.
        size_voxels: the extent of what is not zero, along i, j, k.
        familiar: what the training scans looked like.
    Returns:
        a sentence each for spacing and size, or for the order of the axes, and one for their directions; empty where
        nothing is unusual.
    """
    order = (0, 1, 2)
    if familiar.orientation is not None:
        order = match_axes(geometry.orientation, familiar.orientation)[0]
    axes = _pair_axes(geometry, size_voxels, familiar, order)
    directions = _check_directions(geometry.orientation, familiar)
    if any(axis.has_far_spacing for axis in axes):
        for turn in permutations(order):
            turned = _pair_axes(geometry, size_voxels, familiar, turn)
            if not any(axis.has_far_spacing or axis.has_far_size for axis in turned):
                return [_describe_turn(axes, turned), *directions]
    return [*_list_spacings(axes), *_list_sizes(axes), *directions]


def lies_far(value: float, span: Span | None, factor: float) -> bool:
    """Whether a value, not negative, lies outside a span by more than a factor; no where there is no span."""
    return span is not None and (value > span.high * factor or value < span.low / factor)


def name_span(span: Span, unit: str = "") -> str:
    """A span in words: ``0.977 to 1.17 mm``, or one number where both ends read alike."""
    low, high = f"{span.low:.4g}", f"{span.high:.4g}"
    return (low if low == high else f"{low} to {high}") + unit


def _pair_axes(geometry: Geometry, size_voxels: Sequence[int], familiar: Familiar, order: Sequence[int]) -> list[_Axis]:
    return [
        _Axis(
            number=number,
            way=_name_way(geometry, number),
            spacing_mm=geometry.spacing_mm[number],
            voxels=size_voxels[number],
            usual_spacing_mm=familiar.spacing_mm[place],
            usual_voxels=familiar.size_voxels[place],
            usual_size_mm=familiar.size_mm[place],
        )
        for place, number in enumerate(order)
    ]


def _name_way(geometry: Geometry, axis: int) -> str:
    if geometry.shape[2] == 1 and axis < 2:
        return PICTURE_WAYS[axis]
    return WAYS[_world_axis(geometry.orientation[axis])]


def _world_axis(letter: str) -> int:
    return next(axis for axis, pair in enumerate(DIRECTIONS) if letter in pair)


def _list_spacings(axes: Iterable[_Axis]) -> list[str]:
    parts = [
        f"{axis.spacing_mm:.4g} mm along {AXES[axis.number]} ({axis.way}), in training "
        f"{name_span(axis.usual_spacing_mm, ' mm')}"
        for axis in axes
        if axis.usual_spacing_mm is not None and axis.has_far_spacing
    ]
    return [f"Unusual spacing: {'; '.join(parts)}."] if parts else []


def _list_sizes(axes: Iterable[_Axis]) -> list[str]:
    parts = []
    for axis in axes:
        if axis.has_far_size:
            found, usual = f"{axis.voxels} voxels", name_span(axis.usual_voxels, " voxels")
            if axis.usual_size_mm is not None:
                found = f"{axis.size_mm:.4g} mm in {found}"
                usual = f"{name_span(axis.usual_size_mm, ' mm')} in {usual}"
            parts.append(f"{found} along {AXES[axis.number]} ({axis.way}), in training {usual}")
    return [f"Unusual size: {'; '.join(parts)}."] if parts else []


def _describe_turn(axes: Sequence[_Axis], turned: Sequence[_Axis]) -> str:
    """The scan would fit if its axes stood in another order: slices of another direction, or a transposed array."""
    found = " x ".join(f"{axis.spacing_mm:.4g}" for axis in axes)
    usual = " x ".join("any" if span is None else name_span(span) for span in (a.usual_spacing_mm for a in axes))
    read, fitting = (", ".join(AXES[axis.number] for axis in listed) for listed in (axes, turned))
    return (
        f"Unusual order of axes: spacing {found} mm along {read}, in training {usual} mm; "
        f"in the order {fitting} the scan would be like those of the training."
    )


def _check_directions(orientation: str, familiar: Familiar) -> list[str]:
    known = familiar.orientations
    if not known or any(_is_mirror(orientation, other, familiar.mirrored_axes) for other in known):
        return []
    return [
        f"Unusual directions of axes: i, j, k run to {orientation}, in training to {' or '.join(known)}; this model "
        "takes them as they come."
    ]


def _is_mirror(orientation: str, other: str, mirrored_axes: Iterable[int]) -> bool:
    """Whether both orientations are the same but for axes that training flipped."""
    flipped = set(mirrored_axes)
    return all(
        a == b or (axis in flipped and _world_axis(a) == _world_axis(b))
        for axis, (a, b) in enumerate(zip(orientation, other, strict=True))
    )
