"""What an augmentation is: parameters drawn for one sample, then applied to the whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

Draw = Callable[[np.random.Generator, "Scene"], Any]
Apply = Callable[[Tensor, Tensor, Sequence[Any]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Scene:
    """What drawing parameters depends on.

    Args:
        patch_size: the patch that the network sees; 2 or 3 axes.
        channels: image channels. Channels after them are the masks of a cascade's stage before, 0 or 1: they move with
            the image, and no change of intensities touches them.
        flat_rotation: rotate within the plane of the last two axes alone (a coarse first axis).
        mirror_axes: the patch's axes that may be flipped.
        masked_channels: image channels that are 0 outside the object by their normalisation, and stay so.
        side_axis: the patch's axis from left to right; None where labels have no sides or it is not in the patch.
        side_pairs: label values that change places where ``side_axis`` is flipped.
        previous_values: the label value that each channel after the image's stands for; empty without a cascade.
    """

    patch_size: tuple[int, ...]
    channels: int
    flat_rotation: bool
    mirror_axes: tuple[int, ...]
    masked_channels: tuple[int, ...] = ()
    side_axis: int | None = None
    side_pairs: tuple[tuple[int, int], ...] = ()
    previous_values: tuple[int, ...] = ()


@dataclass(frozen=True)
class Augmentation:
    """A random change of image and labels.

    Args:
        name: its entry in the table.
        draw: ``(generator, scene) -> parameters`` of one sample, or None where the sample stays as it is.
        apply: ``(images (batch, channel, ...), labels (batch, ...), parameters of each sample)`` to both; may
            write into its inputs. Labels are -1 outside the object where the scene has masked channels.
        cuts: whether it cuts the patch out of a larger one, of the size that ``enlarge_patch`` gives.
    """

    name: str
    draw: Draw
    apply: Apply
    cuts: bool = False


def chosen(parameters: Sequence[Any]) -> list[int]:
    """Which samples have parameters."""
    return [index for index, value in enumerate(parameters) if value is not None]


def draw_around_one(rng: np.random.Generator, limits: tuple[float, float], count: int) -> tuple[float, ...]:
    """Factors that are below 1 as often as above, whatever the limits.

    Args:
        rng: the sample's generator.
        limits: the lowest (below 1) and the highest factor (above 1).
        count: how many.
    Returns:
        the factors.
    Source: batchgeneratorsv2, ``BGContrast``.
    """
    below = rng.random(count) < 0.5
    factors = np.where(below, rng.uniform(limits[0], 1, count), rng.uniform(1, limits[1], count))
    return tuple(factors.tolist())
