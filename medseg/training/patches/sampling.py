"""Which patch of which case comes next: a pure function of seed and position, so that resuming changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# Streams of one seed that must not meet.
ORDER_STREAM, SAMPLE_STREAM, SUBSTITUTE_STREAM = 1, 2, 3

# A label's voxels in groups that come equally often: one group of all (nnU-Net's rule), or one for each lesion.
Groups = Sequence[NDArray[np.integer]]


def generator_of(seed: int, position: int) -> np.random.Generator:
    """The generator of one sample.

    Args:
        seed: of the whole training.
        position: the sample's number, counted from 0 over the whole training.
    Returns:
        a counter-based generator (Philox, Salmon et al. 2011) that no other sample shares.
    """
    return _make_generator(seed, SAMPLE_STREAM, position)


def pick_case(seed: int, position: int, count: int) -> int:
    """The case of a sample: every case once in random order, then again in another."""
    turn, place = divmod(position, count)
    return int(_make_generator(seed, ORDER_STREAM, turn).permutation(count)[place])


def rank_cases(seed: int, position: int, count: int) -> Iterator[int]:
    """The case of a sample, then those to take in its place where it cannot be read, in an order of the sample's own.

    Args:
        seed: of the whole training.
        position: the sample's number.
        count: how many cases there are.
    Returns:
        every case, ``pick_case``'s first. Whichever cases are known to be damaged, the first sound one is the same:
        what a sample holds does not depend on when the damage was found.
    """
    first = pick_case(seed, position, count)
    yield first
    for case in _make_generator(seed, SUBSTITUTE_STREAM, position).permutation(count):
        if case != first:
            yield int(case)


def place_patch(
    rng: np.random.Generator, shape: Sequence[int], patch_size: Sequence[int], labels: Sequence[Groups]
) -> tuple[int, ...]:
    """Where a patch begins.

    Args:
        rng: the sample's generator.
        shape: the prepared case, (a, b, c).
        patch_size: the patch, (a, b, c).
        labels: of each label the case holds, its voxels in groups, to centre the patch on one; none for a random place.
    Returns:
        the first voxel; the patch stays inside the scan where it fits and is centred where it does not.
    Source: nnU-Net's placement: a label of the case with equal chance, then one of its voxels. It lets a patch on a
        voxel near the end of an axis stick out, but not at the beginning; here it stays inside at both.
    """
    low = [
        min(0, -((size - length) // 2)) if size > length else 0 for length, size in zip(shape, patch_size, strict=True)
    ]
    high = [max(first, length - size) for first, length, size in zip(low, shape, patch_size, strict=True)]
    if not labels:
        return tuple(int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True))
    groups = labels[int(rng.integers(len(labels)))]
    voxels = groups[int(rng.integers(len(groups)))]
    centre = voxels[int(rng.integers(len(voxels)))]
    wanted = [int(c) - size // 2 for c, size in zip(centre, patch_size, strict=True)]
    return tuple(min(max(w, a), b) for w, a, b in zip(wanted, low, high, strict=True))


def is_on_label(rng: np.random.Generator, slot: int, batch_size: int, share: float) -> bool:
    """Whether a sample is put on a label.

    Args:
        rng: the sample's generator.
        slot: the sample's place in the batch of all processes together.
        batch_size: of all processes together.
        share: of samples on a label, 0 to 1.
    Returns:
        true for the last samples of each batch, at least one of several; a batch of one is on a label by chance.
    Source: nnU-Net 2.8's ``round(batch (1 - share))`` first samples lie anywhere. That would put a batch of one, which
        it never plans, on no label at all, hence the chance, which is its ``probabilistic_oversampling``.
    """
    if share <= 0:
        return False
    if batch_size == 1:
        return bool(rng.random() < share)
    return slot >= min(batch_size - 1, round(batch_size * (1 - share)))


def _make_generator(seed: int, stream: int, position: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, (stream << 56) + position]))
