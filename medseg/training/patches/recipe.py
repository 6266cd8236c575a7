"""What batches are made of, what they are, and what they are read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome


class Source(Protocol):
    """A prepared case to cut patches from. Its methods may be called from several threads at once."""

    @property
    def name(self) -> str:
        """The case's."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels (a, b, c)."""

    @property
    def locations(self) -> dict[int, NDArray[np.int32]]:
        """By index of the label scheme's names, some or all of the voxels it holds, (n, 3)."""

    def read_patch(self, start: Sequence[int], stop: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
        """Image (channel, a, b, c) and label map (a, b, c) of a box inside the case."""


@dataclass(frozen=True)
class Recipe:
    """What batches are made of.

    Args:
        patch_size: what the network sees, (a, b, c).
        read_size: what is read around it, for rotation; at least the patch.
        batch_size: samples a batch, those of all processes together.
        foreground_share: share of samples put on a label.
        seed: of the whole training.
        sampling: ``foreground`` (a label of the case, then one of its voxels) or ``lesion`` (a label, one of its
            components whatever its size, then one of its voxels).
        labels: what the label maps hold; needed for lesions and for an ignore label.
        rank: of the processes that train together, the one whose samples these are.
        ranks: how many such processes there are; sample n of a batch is the n-modulo-ranks-th one's.
    """

    patch_size: tuple[int, ...]
    read_size: tuple[int, ...]
    batch_size: int
    foreground_share: float
    seed: int
    sampling: Literal["foreground", "lesion"] = "foreground"
    labels: LabelScheme | None = None
    rank: int = 0
    ranks: int = 1

    @property
    def slots(self) -> range:
        """Which samples of each batch are this process's."""
        return range(self.rank, self.batch_size, self.ranks)


@dataclass(frozen=True)
class Batch:
    """Patches as read, before augmentation.

    Args:
        images: (batch, channel, a, b, c), float32.
        labels: (batch, a, b, c), label values, uint8 or int32.
        generators: one per sample, to draw its augmentation from.
        cases: the case of each sample, its place among the sources.
        failures: cases that could not be read for it, in whose place others came; the batch is empty where none could.
    """

    images: Tensor
    labels: Tensor
    generators: list[np.random.Generator]
    cases: list[int]
    failures: tuple[CaseOutcome, ...] = ()
