"""What an augmentation is: parameters drawn for one sample, then applied to the whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Draw = Callable[[np.random.Generator, "Scene"], Any]
Apply = Callable[[Tensor, Tensor, Sequence[Any]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Scene:
    """What drawing parameters depends on.

    Args:
        patch_size: the patch that the network sees; 2 or 3 axes.
        channels: image channels.
        flat_rotation: rotate within the plane of the last two axes alone (a coarse first axis).
        mirror_axes: the patch's axes that may be flipped.
    """

    patch_size: tuple[int, ...]
    channels: int
    flat_rotation: bool
    mirror_axes: tuple[int, ...]


@dataclass(frozen=True)
class Augmentation:
    """A random change of image and labels.

    Args:
        name: its entry in the table.
        draw: ``(generator, scene) -> parameters`` of one sample, or None where the sample stays as it is.
        apply: ``(images (batch, channel, ...), labels (batch, ...), parameters of each sample)`` to both; may
            write into its inputs.
    """

    name: str
    draw: Draw
    apply: Apply


def chosen(parameters: Sequence[Any]) -> list[int]:
    """Which samples have parameters."""
    return [index for index, value in enumerate(parameters) if value is not None]


def column(values: Any, like: Tensor) -> Tensor:
    """Numbers with the leading axes of ``like`` (sample, channel, ...), shaped so that they broadcast over it."""
    tensor = torch.as_tensor(np.asarray(values, np.float32), device=like.device)
    return tensor.reshape(tensor.shape + (1,) * (like.ndim - tensor.ndim))
