"""The masks of a cascade's first stage, made worse, so that the second does not take them as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medseg.augmentation.base import Augmentation, Scene
from medseg.shapes.components import find_components

# nnU-Net's defaults.
CHANGE_CHANCE = 0.4
REMOVAL_CHANCE = 0.2
CHANNEL_CHANCE = 0.5
RADIUS_VOXELS = (1.0, 8.0)
LARGEST_REMOVED_SHARE = 0.15  # of the patch's voxels
FAR = 10000  # further than any radius, squared, in int16


@dataclass(frozen=True)
class Change:
    """A mask's channel, what happens to it, and the radius in voxels."""

    channel: int
    operation: str
    radius: float


@dataclass(frozen=True)
class Changes:
    """What happens to the masks, one after the other; ``channels`` are the first of them and the one after the last."""

    changes: tuple[Change, ...]
    channels: tuple[int, int]


@dataclass(frozen=True)
class Removal:
    """A mask's channel and which of its components goes, from 0 (the first) to 1 (the last)."""

    channel: int
    place: float


def draw_changes(rng: np.random.Generator, scene: Scene) -> Changes | None:
    """Operation and radius for some of the masks, in random order; None without a stage before."""
    channels = _draw_channels(rng, scene, CHANGE_CHANCE)
    names = list(OPERATIONS)
    changes = [Change(c, names[int(rng.integers(len(names)))], float(rng.uniform(*RADIUS_VOXELS))) for c in channels]
    last = scene.channels + len(scene.previous_values)
    return Changes(tuple(changes), (scene.channels, last)) if changes else None


def apply_changes(images: Tensor, labels: Tensor, parameters: Sequence[Changes | None]) -> tuple[Tensor, Tensor]:
    """Grow, shrink, close or open masks; what a mask gains, the others lose."""
    for image, drawn in zip(images, parameters, strict=True):
        for change in drawn.changes if drawn is not None else ():
            before = image[change.channel] != 0
            after = OPERATIONS[change.operation](before, change.radius)
            image[slice(*drawn.channels)].masked_fill_(after & ~before, 0)  # type: ignore[union-attr]
            image[change.channel] = after
    return images, labels


def draw_removals(rng: np.random.Generator, scene: Scene) -> tuple[Removal, ...] | None:
    """A component for some of the masks, in random order; None without a stage before."""
    channels = _draw_channels(rng, scene, REMOVAL_CHANCE)
    return tuple(Removal(channel, float(rng.random())) for channel in channels) or None


def apply_removals(
    images: Tensor, labels: Tensor, parameters: Sequence[tuple[Removal, ...] | None]
) -> tuple[Tensor, Tensor]:
    """Take one component away from each chosen mask, among those that are no larger than a share of the patch."""
    for image, removals in zip(images, parameters, strict=True):
        for removal in removals or ():
            mask = image[removal.channel]
            array = (mask != 0).cpu().numpy()
            components, count = find_components(array.reshape(-1, *array.shape[-2:]))
            sizes = np.bincount(components.reshape(-1), minlength=count + 1)[1:]
            small = np.flatnonzero(sizes < LARGEST_REMOVED_SHARE * array.size) + 1
            if len(small):
                gone = components.reshape(array.shape) == small[int(removal.place * len(small))]
                mask.masked_fill_(torch.from_numpy(gone).to(mask.device), 0)
    return images, labels


def dilate(mask: Tensor, radius: float) -> Tensor:
    """Every voxel at most ``radius`` voxels away from the mask.

    Args:
        mask: true inside, 2 or 3 axes.
        radius: in voxels, below 100.
    Returns:
        the larger mask.
    """
    # The squared distance to the nearest voxel of the mask, axis after axis: what lies further than the radius along
    # one axis does not matter.
    squared = torch.full(mask.shape, FAR, dtype=torch.int16, device=mask.device).masked_fill_(mask, 0)
    for axis, length in enumerate(mask.shape):
        nearer = squared.clone()
        for step in range(1, min(int(radius), length - 1) + 1):
            moved = squared + step**2
            for target, source in ((step, 0), (0, step)):
                view = nearer.narrow(axis, target, length - step)
                torch.minimum(view, moved.narrow(axis, source, length - step), out=view)
        squared = nearer
    return squared <= radius**2


def erode(mask: Tensor, radius: float) -> Tensor:
    """Every voxel further than ``radius`` voxels away from the rest; beyond the patch there is no rest.

    Args:
        mask: true inside, 2 or 3 axes.
        radius: in voxels, below 100.
    Returns:
        the smaller mask.
    """
    return ~dilate(~mask, radius)


OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "dilate": dilate,
    "erode": erode,
    "close": lambda mask, radius: erode(dilate(mask, radius), radius),
    "open": lambda mask, radius: dilate(erode(mask, radius), radius),
}


def _draw_channels(rng: np.random.Generator, scene: Scene, chance: float) -> list[int]:
    """Some of the masks' channels in random order; none without a stage before."""
    count = len(scene.previous_values)
    if not count or rng.random() >= chance:
        return []
    order = rng.permutation(count)
    return [scene.channels + int(place) for place in order if rng.random() < CHANNEL_CHANCE]


PREVIOUS_SHAPE = Augmentation("previous_shape", draw_changes, apply_changes)
PREVIOUS_REMOVAL = Augmentation("previous_removal", draw_removals, apply_removals)
