"""How well a mask fits its image as it lies, and how well it would fit mirrored, turned half round or transposed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import match_axes
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.fingerprint.equal_scans import PATIENT, turn_to_patient
from medseg.fingerprint.scan import thin_scan
from medseg.grids.crop import find_box

# A structure of fewer voxels has no shape to speak of; more points than these make the numbers no better.
FEWEST_VOXELS, POINTS, LINES, RANKS = 30, 1000, 1500, 1000
# Images of fewer voxels are ranked as a whole.
WHOLE_IMAGE = 1 << 18
# A voxel all of whose 26 neighbours belong to the structure is not of its border.
FULL = 0.99
# Labels and channels that are looked at: the first ones say enough of where a mask belongs.
MOST_LABELS, MOST_CHANNELS = 8, 4
# Where the image is seen across the border of a structure, from inside to outside, in steps of the finest spacing.
STEPS = np.array([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5])
# Ranks that differ by less are equal: keeps shares of nothing from counting.
SMALLEST = 1e-3
# What is measured of a structure in a channel, in the last axis of ``Placements.looks``.
LOOKS = ("mean", "spread", "contrast", "edge", "apart", "coherence")


@dataclass(frozen=True)
class Placement:
    """One way to lay a mask on its image: axes reordered, then flipped, in the patient's directions."""

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def describe(self) -> str:
        """In words: ``mirrored left-right and back-front``."""
        names = ("left-right", "back-front", "down-up")
        moved = [names[axis] for axis in range(3) if self.order[axis] != axis]
        swapped = f"with {' and '.join(moved)} exchanged" if moved else ""
        flipped = " and ".join(name for name, flip in zip(names, self.flips, strict=True) if flip)
        return " and ".join(filter(None, (swapped, f"mirrored {flipped}" if flipped else "")))


@dataclass(frozen=True, eq=False)
class Placements:
    """What a case's image shows under its mask, for each placement; the first one is the mask as it lies.

    Args:
        ways: the placements that keep the mask's shape.
        looks: (placement, label, channel, one of ``LOOKS``); NaN where the case has too little of a label.
        places: (placement, label, axis): the label's centre, as a share of the image's extent; NaN likewise.
        size: the cube root of the labelled voxels, to count distances between labels in; with each axis's length.
    """

    ways: tuple[Placement, ...]
    looks: NDArray[np.float64]
    places: NDArray[np.float64]
    size: NDArray[np.float64]


def measure_placements(volume: Volume, segmentation: Segmentation, labels: LabelScheme) -> Placements | None:
    """Look at an image through its mask, laid on it in every way that keeps the grid's shape.

    Args:
        volume: the image, (channel, i, j, k).
        segmentation: the mask on the same grid.
        labels: whose values are structures.
    Returns:
        what there is to see, from at most a few thousand voxels a structure; None where no label has enough voxels.
    """
    mask = turn_to_patient(segmentation.array[None], segmentation.geometry)[0]
    start, stop = find_box(mask)
    box = mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    image = turn_to_patient(volume.array[:MOST_CHANNELS], volume.geometry)
    ways = list_placements(mask.shape)
    values = labels.foreground[:MOST_LABELS]
    looks = np.full((len(ways), len(values), len(image), len(LOOKS)), np.nan)
    places = np.full((len(ways), len(values), 3), np.nan)
    scales = [np.quantile(channel, np.linspace(0, 1, RANKS)) for channel in thin_scan(image)[0]]
    if mask.size < WHOLE_IMAGE:  # then it is less work to rank every voxel once
        image, scales = np.stack([_rank(channel, scale) for channel, scale in zip(image, scales, strict=True)]), []
    shape = np.array(mask.shape)
    order = match_axes(volume.geometry.orientation, PATIENT)[0]
    spacing_mm = np.array(volume.geometry.spacing_mm)[list(order)]
    for number, value in enumerate(values):
        if np.count_nonzero(box == value) < FEWEST_VOXELS:
            continue
        inside, faces = _sample(box == value, spacing_mm)
        inside, faces = inside + start, np.clip(faces + start, 0, shape - 1)
        for row, way in enumerate(ways):
            moved = _move(inside, way, shape)
            places[row, number] = (moved.mean(axis=0) + 0.5) / shape
            profiles = _move(faces, way, shape)
            for channel, seen in enumerate(image):
                scale = scales[channel] if scales else None
                looks[row, number, channel] = _look(seen, moved, profiles, scale)
    if np.isnan(places).all():
        return None
    return Placements(ways, looks, places, shape / np.cbrt(np.count_nonzero(box)))


def list_placements(shape: tuple[int, ...]) -> tuple[Placement, ...]:
    """The flips of each axis, with axes of equal length exchanged or not; the one that changes nothing first."""
    return tuple(
        Placement((order[0], order[1], order[2]), (flips[0], flips[1], flips[2]))
        for order in permutations(range(3))
        if tuple(shape[axis] for axis in order) == tuple(shape)
        for flips in product((False, True), repeat=3)
        if not any(flip and length == 1 for flip, length in zip(flips, shape, strict=True))
    )


def _sample(mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Voxels of a structure, (point, axis), and lines across its border, (line, step, axis); they may lead outside."""
    from scipy.ndimage import uniform_filter  # type: ignore[attr-defined]  # re-exported at run time

    inside = np.stack(np.unravel_index(_thin(np.flatnonzero(mask), POINTS), mask.shape), axis=-1)
    wide = np.pad(mask, 2)  # its border may be that of the box
    # How full the neighbourhood is falls from inside to outside, fastest at right angles to the border.
    soft = uniform_filter(wide.astype(np.float32), 3)
    border = _thin(np.flatnonzero(wide & (soft < FULL)), LINES)
    at = np.stack(np.unravel_index(border, wide.shape), axis=-1)
    ahead, behind = (np.repeat(at[:, None], 3, axis=1) + sign * np.eye(3, dtype=np.int64) for sign in (1, -1))
    slope = (soft[tuple(np.moveaxis(behind, -1, 0))] - soft[tuple(np.moveaxis(ahead, -1, 0))]) / spacing_mm
    normal = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    start = at + 0.5 * normal * spacing_mm.min() / spacing_mm  # from the last voxel inside to the border itself
    lines = start[:, None] + STEPS[:, None] * (normal * spacing_mm.min() / spacing_mm)[:, None]
    return inside, np.rint(lines).astype(np.int64) - 2


def _thin(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    if len(indices) <= most:
        return indices
    return indices[np.arange(most) * len(indices) // most]


def _move(points: NDArray[np.int64], way: Placement, shape: NDArray[np.int64]) -> NDArray[np.int64]:
    moved = points[..., list(way.order)]
    flips = np.array(way.flips)
    return np.where(flips, shape - 1 - moved, moved)


def _rank(values: NDArray[Any], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.searchsorted(scale, values) / len(scale))


def _look(
    channel: NDArray[Any], inside: NDArray[np.int64], profiles: NDArray[np.int64], scale: NDArray[np.float64] | None
) -> list[float]:
    """``LOOKS`` of one structure; intensities count by their rank in the image, which no scanner's unit changes."""
    seen, lines = (channel[tuple(np.moveaxis(points, -1, 0))] for points in (inside, profiles))
    if scale is not None:
        seen, lines = _rank(seen, scale), _rank(lines, scale)
    inner, outer = lines[:, : len(STEPS) // 2], lines[:, len(STEPS) // 2 :]
    step = outer[:, 0] - inner[:, -1]  # across the border
    beside = np.concatenate([inner[:, 2] - inner[:, 0], outer[:, -1] - outer[:, -3]])
    edge = np.log((np.abs(step).mean() + SMALLEST) / (np.abs(beside).mean() + SMALLEST))
    contrast = step.mean() / (np.sqrt((beside**2).mean()) + SMALLEST)
    apart = (outer[:, :4].mean() - inner[:, -4:].mean()) / (lines.std() + SMALLEST)
    coherence = step.mean() / (np.sqrt((step**2).mean()) + SMALLEST)
    return [float(value) for value in (seen.mean(), seen.std(), contrast, edge, apart, coherence)]
