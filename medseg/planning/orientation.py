"""Which way the network sees patients, and along which axes it may see them mirrored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medseg.core.fingerprint import Fingerprint
from medseg.core.geometry import match_axes
from medseg.core.labels import LabelScheme

SIDES = "LR"


@dataclass(frozen=True)
class Mirroring:
    """Which axes of the patch training flips.

    Args:
        axes: 0 = the patch's first.
        reason: why, in a sentence or two.
        side_axis: the one of them from left to right, where labels have sides.
        side_pairs: label values that change places with it.
    """

    axes: tuple[int, ...]
    reason: str
    side_axis: int | None = None
    side_pairs: tuple[tuple[int, int], ...] = ()


def choose_orientation(fingerprint: Fingerprint) -> str | None:
    """The commonest orientation of the cases, along the file's axes.

    Args:
        fingerprint: the data set's fingerprint.
    Returns:
        three letters, the world directions that the axes i, j, k run to; None where a case's is not known.
    """
    codes = [case.orientation for case in fingerprint.cases]
    if not all(codes):
        return None
    counts = Counter(codes)
    return min(counts, key=lambda code: (-counts[code], code))


def order_like(values: Sequence[float], orientation: str, like: str | None) -> tuple[float, ...]:
    """Values along i, j, k of a case, put into the order of the axes of another orientation; as they are for None."""
    if like is None:
        return tuple(values)
    order, _ = match_axes(orientation, like)
    return tuple(values[axis] for axis in order)


def choose_mirroring(
    orientation: str | None, labels: LabelScheme, *, dimensions: int, flat: bool, sides_only: bool
) -> Mirroring:
    """The patch's axes that training flips, and the labels that change places where left and right are swapped.

    Args:
        orientation: of the network's axes, three letters; None where it is not known.
        labels: their names tell which ones differ in their side alone.
        dimensions: 2 where the network sees slices across its first axis, which is then never flipped; else 3.
        flat: pictures, which have no sides.
        sides_only: whether to flip left and right alone.
    Returns:
        the axes (0 = the patch's first), the side axis with its pairs where labels have sides, and the reason.
    """
    every = (0, 1, 2) if dimensions == 3 and not flat else (1, 2)
    side = next((axis for axis, letter in enumerate(orientation or "") if letter in SIDES), None)
    if labels.side_pairs():
        return _mirror_sides(every, side, labels, sides_only=sides_only)
    return _mirror_bodies(every, side, flat=flat, sides_only=sides_only)


def _mirror_bodies(every: tuple[int, ...], side: int | None, *, flat: bool, sides_only: bool) -> Mirroring:
    """What is flipped where no label has a side."""
    if flat:
        return Mirroring(every, "Both axes: a picture has no side that comes first.")
    if sides_only and side is not None:
        if side not in every:
            return Mirroring((), "None: a slice lies on one side, and bodies have no other symmetry.")
        return Mirroring(
            (side,),
            "Left and right alone: bodies are nearly symmetric that way and no other, and a short training has no "
            "time to learn what never occurs.",
        )
    return Mirroring(every, "All axes, as nnU-Net does.")


def _mirror_sides(every: tuple[int, ...], side: int | None, labels: LabelScheme, *, sides_only: bool) -> Mirroring:
    """What is flipped where labels have sides."""
    names, pairs = labels.side_pairs(), _pair_values(labels)
    first = f"{names[0][0]!r} and {names[0][1]!r}"
    if side is None or (sides_only and not pairs):
        return Mirroring((), f"None: {first} differ in their side alone.")
    if side not in every:
        return Mirroring(() if sides_only else every, f"A slice lies on one side: {first} keep their places in it.")
    if not pairs:
        axes = tuple(axis for axis in every if axis != side)
        return Mirroring(axes, f"All but left and right: {first} differ in their side and are no classes of their own.")
    which = "Left and right alone" if sides_only else "All axes"
    swapped = ", ".join(f"{left!r} with {right!r}" for left, right in names)
    reason = f"{which}; where left and right are flipped, {swapped} change places, and prediction leaves that flip out."
    return Mirroring((side,) if sides_only else every, reason, side, pairs)


def _pair_values(labels: LabelScheme) -> tuple[tuple[int, int], ...]:
    """The values of labels that differ in their side; none where one has several, or a swap would tear a region."""
    names = labels.side_pairs()
    found = [(labels.labels[left], labels.labels[right]) for left, right in names]
    if any(len(left) != 1 or len(right) != 1 for left, right in found):
        return ()
    pairs = tuple((left[0], right[0]) for left, right in found)
    swapped = {**dict(pairs), **{right: left for left, right in pairs}}
    partners = {**dict(names), **{right: left for left, right in names}}
    for name, values in labels.labels.items():
        if {swapped.get(value, value) for value in values} != set(labels.labels[partners.get(name, name)]):
            return ()
    return pairs
