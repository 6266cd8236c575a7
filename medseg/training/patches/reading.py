"""Reading one batch: the patches of its positions, with other cases in the place of damaged ones."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, FormatError
from medseg.core.manifest import CaseOutcome, outcome_of_error
from medseg.training.patches.places import list_places
from medseg.training.patches.recipe import Batch, Recipe, Source
from medseg.training.patches.sampling import generator_of, is_on_label, place_patch, rank_cases

logger = logging.getLogger(__name__)

Patch = tuple[NDArray[np.float32], NDArray[Any]]


def read_batch(
    sources: Sequence[Source], recipe: Recipe, number: int, left_out: Collection[str] = (), *, pinned: bool = False
) -> Batch:
    """The batch of a number.

    Args:
        sources: the training cases.
        recipe: patch, batch and seed.
        number: counted from 0 over the whole training.
        left_out: names of cases known to be damaged.
        pinned: in memory that a GPU copies from while it computes.
    Returns:
        this process's samples; ``failures`` are the cases that turned out to be damaged. An empty batch where no case
        is left.
    """
    known, failures = set(left_out), dict[str, CaseOutcome]()
    patches, generators, cases = list[Patch](), [], []
    for slot in recipe.slots:
        position = number * recipe.batch_size + slot
        sample = _read_sample(sources, recipe, position, slot, known, failures)
        if sample is None:
            return Batch(torch.empty(0), torch.empty(0), [], [], tuple(failures.values()))
        case, patch, rng = sample
        patches.append(patch)
        generators.append(rng)
        cases.append(case)
    images = _stack([image for image, _ in patches], torch.float32, pinned)
    narrow = all(label.dtype == np.uint8 for _, label in patches)
    labels = _stack([label for _, label in patches], torch.uint8 if narrow else torch.int32, pinned)
    return Batch(images, labels, generators, cases, tuple(failures.values()))


def _read_sample(
    sources: Sequence[Source],
    recipe: Recipe,
    position: int,
    slot: int,
    known: set[str],
    failures: dict[str, CaseOutcome],
) -> tuple[int, Patch, np.random.Generator] | None:
    """The sample of a position from the first sound case; the damaged ones on the way go among ``failures``."""
    for case in rank_cases(recipe.seed, position, len(sources)):
        source = sources[case]
        if source.name in known:
            continue
        rng = generator_of(recipe.seed, position)  # anew for each case, so that failed attempts draw nothing from it
        try:
            return case, _cut_patch(source, recipe, slot, rng), rng
        except MemoryError:
            raise
        except Exception as error:  # one case's fault, whatever it is, never stops the others
            known.add(source.name)
            failures[source.name] = outcome_of_error(error, source.name)
            logger.debug("details", exc_info=error)
    return None


def _cut_patch(source: Source, recipe: Recipe, slot: int, rng: np.random.Generator) -> Patch:
    places = list_places(source, recipe)
    on_label = is_on_label(rng, slot, recipe.batch_size, recipe.foreground_share)
    wanted = (places.labels if on_label else ()) or places.anywhere
    image, label = read_padded(source, place_patch(rng, source.shape, recipe.patch_size, wanted), recipe)
    # Damage that decompression does not notice; such values would stop the whole training.
    highest = max(recipe.labels.values) if recipe.labels is not None else None
    if not np.isfinite(image).all() or (highest is not None and int(label.max()) > highest):
        raise FormatError(
            "holds values that were never written", code="damaged", case=source.name,
            remedy="Delete its prepared files and run medseg preprocess again",
        )  # fmt: skip
    return image, label


def read_padded(source: Source, start: Sequence[int], recipe: Recipe) -> Patch:
    """The patch to read around ``start``, filled with 0 where it sticks out of the case.

    Args:
        source: the case.
        start: first voxel of the patch that the network sees; may lie outside.
        recipe: how large that patch is, and the one to read.
    Returns:
        image (channel, a, b, c) and label values (a, b, c) of ``recipe.read_size``.
    Raises:
        DatasetError: the case has no reference.
        FormatError: it is damaged.
    """
    begin = [s - (big - small) // 2 for s, big, small in zip(start, recipe.read_size, recipe.patch_size, strict=True)]
    inner_start = [max(0, b) for b in begin]
    inner_stop = [min(n, b + big) for n, b, big in zip(source.shape, begin, recipe.read_size, strict=True)]
    image, label = source.read_patch(inner_start, inner_stop)
    if label is None:
        raise DatasetError("it has no reference mask to train on", code="missing_mask", case=source.name)
    if image.shape[1:] == tuple(recipe.read_size):
        return image, label
    place = tuple(slice(a - b, z - b) for a, z, b in zip(inner_start, inner_stop, begin, strict=True))
    padded = np.zeros((image.shape[0], *recipe.read_size), np.float32)
    padded[(slice(None), *place)] = image
    padded_label = np.zeros(recipe.read_size, label.dtype)
    padded_label[place] = label
    return padded, padded_label


def _stack(arrays: Sequence[NDArray[Any]], dtype: torch.dtype, pinned: bool) -> torch.Tensor:
    stacked = torch.empty((len(arrays), *arrays[0].shape), dtype=dtype, pin_memory=pinned)
    view = stacked.numpy()
    for index, array in enumerate(arrays):
        view[index] = array
    return stacked
