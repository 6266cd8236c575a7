"""Planes at one place told apart: echoes, times, acquisitions and the like become volumes of their own."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.io.dicom.headers import FrameHeader, Moment
from medseg.io.dicom.stacking import FEWEST_PLANES, find_fault, find_same_place_mm, lay_out, measure_distances

# Volumes of one series cover the same ground: at least this share of their places is common to them.
SHARED_PLACES = 0.5
# Two acquisitions of one series may overlap where they meet by this share of the shorter one.
LARGEST_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class _Trait:
    """Something that tells volumes apart.

    Args:
        name: in words.
        value: of a plane; None where it has none.
        unit: of the value where it is worth telling; None where its rank says enough.
        ordered: whether planes at one place may be told apart by its order alone (a time differs from plane to plane).
    """

    name: str
    value: Callable[[Moment], Hashable]
    unit: str | None = None
    ordered: bool = False


_TRAITS = (
    _Trait("stack", lambda moment: moment.stack or None, ""),
    _Trait("image type", lambda moment: "\\".join(moment.image_type) or None, ""),
    _Trait("echo", lambda moment: _round(moment.echo_time_ms), "ms"),
    _Trait("echo", lambda moment: moment.echo_number),
    _Trait("inversion", lambda moment: _round(moment.inversion_time_ms), "ms"),
    _Trait("b value", lambda moment: _round(moment.b_value), "s/mm2"),
    _Trait("time", lambda moment: moment.temporal_position, None, True),
    _Trait("phase", lambda moment: _round(moment.trigger_time_ms), "ms", True),
    _Trait("acquisition", lambda moment: moment.acquisition_number, None, True),
    _Trait("time", lambda moment: moment.time_s, None, True),
)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def split_moments(planes: Sequence[FrameHeader]) -> list[tuple[str, tuple[FrameHeader, ...]]]:
    """The volumes among planes of one grid.

    A property divides planes only where it has to: where several lie at one place, or where together they are no even
    stack and apart they are. What nothing divides stays together, to be refused as two slices at one position.

    Args:
        planes: with a place, of one orientation, size and spacing.
    Returns:
        for each volume what sets it apart, in words, and its planes; the words are empty where there is only one.
    Raises:
        GeometryError: a plane has no orientation.
    """
    return _split(tuple(planes), _TRAITS, "")


def _split(
    planes: tuple[FrameHeader, ...], traits: Sequence[_Trait], label: str
) -> list[tuple[str, tuple[FrameHeader, ...]]]:
    places = _number_places(measure_distances(planes))
    repeats = int(np.bincount(places).max())
    if repeats == 1 and _is_even(planes):
        return [(label, planes)]
    for index, trait in enumerate(traits):
        groups = _group(planes, trait)
        if len(groups) < 2:
            continue
        if _explains(groups, places, repeats) or _are_apart(planes, groups):
            return _divide(planes, groups, trait, traits[index + 1 :], label)
    for index, trait in enumerate(traits):
        ranks = _rank(planes, places, repeats, trait) if trait.ordered and repeats > 1 else None
        if ranks:
            return _divide(planes, ranks, trait, traits[index + 1 :], label)
    return [(label, planes)]


def _divide(
    planes: tuple[FrameHeader, ...],
    groups: dict[Hashable, list[int]],
    trait: _Trait,
    left: Sequence[_Trait],
    label: str,
) -> list[tuple[str, tuple[FrameHeader, ...]]]:
    parts: list[tuple[str, tuple[FrameHeader, ...]]] = []
    for rank, (value, members) in enumerate(groups.items(), 1):
        words = f"{trait.name} {rank} of {len(groups)}"
        if trait.unit is not None and value is not None:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            words += f" ({shown} {trait.unit})" if trait.unit else f" ({shown})"
        part = tuple(planes[member] for member in members)
        parts += _split(part, left, f"{label}, {words}" if label else words)
    return parts


def _number_places(distances_mm: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each plane the number of its place, counted along the normal."""
    order = np.argsort(distances_mm, kind="stable")
    steps = np.diff(distances_mm[order])
    numbers = np.zeros(len(order), np.int64)
    numbers[order[1:]] = np.cumsum(steps > find_same_place_mm(distances_mm))
    return numbers


def _is_even(planes: Sequence[FrameHeader]) -> bool:
    try:
        return find_fault(lay_out(planes)) is None
    except GeometryError:
        return False


def _group(planes: Sequence[FrameHeader], trait: _Trait) -> dict[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for index, plane in enumerate(planes):
        groups.setdefault(trait.value(plane.moment), []).append(index)
    return dict(sorted(groups.items(), key=lambda item: (item[0] is not None, _order(item[0]))))


def _order(value: Hashable) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (0.0, str(value))


def _explains(groups: dict[Hashable, list[int]], places: NDArray[np.int64], repeats: int) -> bool:
    """Whether groups are volumes of the same ground, each with fewer planes at one place than all together."""
    if repeats == 1 or len(groups) > repeats:
        return False
    sets = [set(places[members].tolist()) for members in groups.values()]
    largest = max(sets, key=len)
    shared = all(len(part & largest) >= SHARED_PLACES * len(largest) for part in sets)
    return shared and all(np.bincount(places[members]).max() < repeats for members in groups.values())


def _are_apart(planes: Sequence[FrameHeader], groups: dict[Hashable, list[int]]) -> bool:
    """Whether groups are even stacks that lie behind one another, or overlap where they meet."""
    if any(len(members) < FEWEST_PLANES for members in groups.values()):
        return False
    distances = measure_distances(planes)
    ranges = sorted((float(distances[part].min()), float(distances[part].max())) for part in groups.values())
    for (low, high), (begin, end) in pairwise(ranges):
        if min(high, end) - begin > LARGEST_OVERLAP * min(high - low, end - begin):
            return False
    return all(_is_even([planes[member] for member in members]) for members in groups.values())


def _rank(
    planes: Sequence[FrameHeader], places: NDArray[np.int64], repeats: int, trait: _Trait
) -> dict[Hashable, list[int]] | None:
    """Planes by the order of their values at each place; None unless every place has as many, all different."""
    if not np.all(np.bincount(places) == repeats):
        return None
    ranks: dict[Hashable, list[int]] = {rank: [] for rank in range(repeats)}
    for place in range(int(places.max()) + 1):
        members = np.flatnonzero(places == place).tolist()
        values = [trait.value(planes[member].moment) for member in members]
        if None in values or len(set(values)) < repeats:
            return None
        for rank, (_, member) in enumerate(sorted(zip(map(_order, values), members, strict=True))):
            ranks[rank].append(member)
    return ranks
