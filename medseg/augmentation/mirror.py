"""Flips along the patch's axes; where left and right change places, so do the labels of the two sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medseg.augmentation.base import Augmentation, Scene

CHANCE = 0.5  # per axis, nnU-Net's default

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Flips:
    """The axes to flip, and the label values and channels that change places by it."""

    axes: tuple[int, ...]
    value_pairs: Pairs = ()
    channel_pairs: Pairs = ()


def draw_flips(rng: np.random.Generator, scene: Scene) -> Flips | None:
    """The axes to flip; None for none."""
    flips = rng.random(len(scene.patch_size)) < CHANCE
    axes = tuple(axis for axis in scene.mirror_axes if flips[axis])
    if not axes or scene.side_axis not in axes:
        return Flips(axes) if axes else None
    places = {value: scene.channels + place for place, value in enumerate(scene.previous_values)}
    channels = tuple((places[a], places[b]) for a, b in scene.side_pairs if a in places and b in places)
    return Flips(axes, scene.side_pairs, channels)


def apply_flips(images: Tensor, labels: Tensor, parameters: Sequence[Flips | None]) -> tuple[Tensor, Tensor]:
    """Flip image and labels of each sample along its axes; masks of the stage before are swapped as the labels are."""
    for image, label, flips in zip(images, labels, parameters, strict=True):
        if flips is None:
            continue
        image.copy_(image.flip([axis + 1 for axis in flips.axes]))
        label.copy_(_swap_values(label.flip(list(flips.axes)), flips.value_pairs))
        for first, second in flips.channel_pairs:
            image[[first, second]] = image[[second, first]]
    return images, labels


def _swap_values(label: Tensor, pairs: Pairs) -> Tensor:
    swapped = label.clone() if pairs else label
    for first, second in pairs:
        swapped[label == first] = second
        swapped[label == second] = first
    return swapped


MIRROR = Augmentation("mirror", draw_flips, apply_flips)
