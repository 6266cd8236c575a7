"""Batches of patches, read ahead in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.training.patches.sampling import foreground_slots, generator_of, pick_case, place_patch

READ_AHEAD = 3  # batches; enough to hide reading behind a step


class Source(Protocol):
    """A prepared case to cut patches from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels (a, b, c)."""

    @property
    def locations(self) -> dict[int, NDArray[np.int32]]:
        """Voxels of each label, (n, 3)."""

    def read_patch(
        self, start: Sequence[int], stop: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.unsignedinteger]]:
        """Image (channel, a, b, c) and label map (a, b, c) of a box inside the case."""


@dataclass(frozen=True)
class Batch:
    """Patches as read, before augmentation.

    Args:
        images: (batch, channel, a, b, c), float32.
        labels: (batch, a, b, c), label values, uint8 or int32.
        generators: one per sample, to draw its augmentation from.
        cases: the case of each sample.
    """

    images: Tensor
    labels: Tensor
    generators: list[np.random.Generator]
    cases: list[int]


@dataclass(frozen=True)
class Recipe:
    """What batches are made of.

    Args:
        patch_size: what the network sees, (a, b, c).
        read_size: what is read around it, for rotation; at least the patch.
        batch_size: samples a batch.
        foreground_share: share of samples put on a label.
        seed: of the whole training.
    """

    patch_size: tuple[int, ...]
    read_size: tuple[int, ...]
    batch_size: int
    foreground_share: float
    seed: int


def iterate_batches(
    sources: Sequence[Source], recipe: Recipe, first: int, last: int | None, *, threads: int = 1
) -> Iterator[Batch]:
    """Batches number ``first`` up to ``last``, read ahead in threads; which thread reads changes nothing.

    Args:
        sources: the training cases.
        recipe: patch, batch and seed.
        first: the number of the first batch.
        last: the number after the last batch; None for no end.
        threads: how many read.
    Returns:
        an iterator of batches.
    """
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="loader") as pool:
        ahead: deque[object] = deque()
        number = first
        try:
            while True:
                while len(ahead) < READ_AHEAD and (last is None or number < last):
                    ahead.append(pool.submit(read_batch, sources, recipe, number))
                    number += 1
                if not ahead:
                    return
                yield ahead.popleft().result()  # type: ignore[attr-defined]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def read_batch(sources: Sequence[Source], recipe: Recipe, number: int) -> Batch:
    """The batch of a number; raises what reading a case raises, with the case's place in ``sources``."""
    on_label = foreground_slots(recipe.batch_size, recipe.foreground_share)
    images, labels, generators, cases = [], [], [], []
    for slot in range(recipe.batch_size):
        position = number * recipe.batch_size + slot
        rng = generator_of(recipe.seed, position)
        case = pick_case(recipe.seed, position, len(sources))
        source = sources[case]
        locations = source.locations if slot in on_label else None
        start = place_patch(rng, source.shape, recipe.patch_size, locations)
        image, label = read_padded(source, start, recipe)
        images.append(torch.from_numpy(image))
        labels.append(torch.from_numpy(label if label.dtype == np.uint8 else label.astype(np.int32)))
        generators.append(rng)
        cases.append(case)
    return Batch(torch.stack(images), torch.stack(labels), generators, cases)


def read_padded(
    source: Source, start: Sequence[int], recipe: Recipe
) -> tuple[NDArray[np.float32], NDArray[np.unsignedinteger]]:
    """The patch to read around ``start``, filled with 0 where it sticks out of the case."""
    begin = [s - (big - small) // 2 for s, big, small in zip(start, recipe.read_size, recipe.patch_size, strict=True)]
    inner_start = [max(0, b) for b in begin]
    inner_stop = [min(n, b + big) for n, b, big in zip(source.shape, begin, recipe.read_size, strict=True)]
    image, label = source.read_patch(inner_start, inner_stop)
    if image.shape[1:] == recipe.read_size:
        return np.ascontiguousarray(image), np.ascontiguousarray(label)
    place = tuple(slice(a - b, z - b) for a, z, b in zip(inner_start, inner_stop, begin, strict=True))
    padded = np.zeros((image.shape[0], *recipe.read_size), np.float32)
    padded[(slice(None), *place)] = image
    padded_label = np.zeros(recipe.read_size, label.dtype)
    padded_label[place] = label
    return padded, padded_label
