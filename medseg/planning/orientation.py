"""Which way the network sees patients, and along which axes it may see them mirrored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medseg.core.fingerprint import Fingerprint
from medseg.core.geometry import match_axes
from medseg.core.labels import LabelScheme

SIDES = "LR"


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


def choose_mirror_axes(
    orientation: str | None, labels: LabelScheme, *, flat: bool, sides_only: bool
) -> tuple[tuple[int, ...], str]:
    """The patch's axes that training flips and prediction averages over.

    Args:
        orientation: of the network's axes, three letters; None where it is not known.
        labels: left and right labels forbid to swap the sides.
        flat: pictures, which have no sides.
        sides_only: whether to flip left and right alone.
    Returns:
        the axes (0 = the patch's first) and the reason.
    """
    side = next((axis for axis, letter in enumerate(orientation or "") if letter in SIDES), None)
    pairs = labels.side_pairs()
    every = (1, 2) if flat else (0, 1, 2)
    if flat and not pairs:
        return every, "Both axes: a picture has no side that comes first."
    if pairs and (side is None or sides_only):
        return (), f"None: {pairs[0][0]!r} and {pairs[0][1]!r} differ in their side alone."
    if pairs:
        axes = tuple(axis for axis in every if axis != side)
        return axes, f"All but left and right: {pairs[0][0]!r} and {pairs[0][1]!r} differ in their side alone."
    if sides_only and side is not None:
        return (side,), (
            "Left and right alone: bodies are nearly symmetric that way and no other, and a short training has no "
            "time to learn what never occurs."
        )
    return every, "All axes, as nnU-Net does."
