"""How channels of other frames of reference were brought to the first one's: as JSON beside masks and in data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from medseg.core.records import Record
from medseg.grids.registration.trust import SureRegistration

_DIRECTION = "a point of the moving channels, as a column (x, y, z, 1), times the matrix is its place in the fixed one"
_Row = Annotated[tuple[float, ...], Field(min_length=4, max_length=4)]


class ChannelTransform(Record):
    """How series of one frame of reference were brought to another one's.

    Args:
        fixed: the channel that was left where it is.
        moving: the channels that were moved.
        matrix: 4x4, row by row, from the moving world's millimetres (RAS+) to the fixed one's.
        kind: how it may move points.
        metric: what was made as good as it gets; lower is better.
        before: the metric with the two worlds taken for one; None where the scans would not have overlapped.
        after: the metric at ``matrix``.
        shift_mm, turn_degrees: how far the middle of the moving field of view was moved, and how far it was turned.
        shared: the part of the smaller field of view that lies within the other, 0 to 1.
        disagreement_mm: between this and the registration the other way round, at most, in the moving field of view.
    """

    fixed: str
    moving: tuple[str, ...]
    matrix: Annotated[tuple[_Row, ...], Field(min_length=4, max_length=4)]
    kind: Literal["rigid"] = "rigid"
    metric: Literal["mutual_information"] = "mutual_information"
    before: float | None
    after: float
    shift_mm: float
    turn_degrees: float
    shared: float
    disagreement_mm: float


class TransformList(Record):
    """The file of a case's transforms."""

    format: Literal["medseg-transforms-1"] = "medseg-transforms-1"
    space: Literal["RAS+, millimetres"] = "RAS+, millimetres"
    direction: str = _DIRECTION
    transforms: tuple[ChannelTransform, ...]


def describe_transform(found: SureRegistration, fixed: str, moving: Sequence[str]) -> ChannelTransform:
    """The record of a registration.

    Args:
        found: what was found.
        fixed, moving: the channels' names.
    Returns:
        the record.
    """
    result = found.registration
    return ChannelTransform(
        fixed=fixed, moving=tuple(moving), matrix=tuple(tuple(map(float, row)) for row in result.matrix),
        before=result.before if np.isfinite(result.before) else None, after=result.after, shift_mm=result.shift_mm,
        turn_degrees=result.turn_degrees, shared=result.shared, disagreement_mm=found.disagreement_mm,
    )  # fmt: skip


def tell_transform(transform: ChannelTransform) -> str:
    """A transform in one line, for the notes of a run."""
    before = "no overlap" if transform.before is None else f"{transform.before:.3f}"
    return (
        f"{' and '.join(transform.moving)} registered to {transform.fixed}: moved by {transform.shift_mm:.1f} mm and"
        f" turned by {transform.turn_degrees:.1f} degrees; mutual information {before} before, {transform.after:.3f}"
        f" after (lower is better); registered the other way round it differs by at most"
        f" {transform.disagreement_mm:.1f} mm"
    )


def write_transforms(path: str | Path, transforms: Sequence[ChannelTransform]) -> None:
    """Write a case's transforms as JSON, which says the direction and the space in words."""
    TransformList(transforms=tuple(transforms)).write(path)


def read_transforms(path: str | Path) -> tuple[ChannelTransform, ...]:
    """The transforms that ``write_transforms`` wrote; raises FormatError where the file is missing or damaged."""
    return TransformList.read(path).transforms
