"""Which patch of which case comes next: a pure function of seed and position, so that resuming changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Streams of one seed that must not meet.
ORDER_STREAM, SAMPLE_STREAM = 1, 2


@dataclass(frozen=True)
class Place:
    """Where a sample comes from: a case and the first voxel of its patch (negative where it sticks out)."""

    case: int
    start: tuple[int, ...]


def generator_of(seed: int, position: int) -> np.random.Generator:
    """The generator of one sample.

    Args:
        seed: of the whole training.
        position: the sample's number, counted from 0 over the whole training.
    Returns:
        a counter-based generator (Philox, Salmon et al. 2011) that no other sample shares.
    """
    return np.random.Generator(np.random.Philox(key=[seed, (SAMPLE_STREAM << 56) + position]))


def pick_case(seed: int, position: int, count: int) -> int:
    """The case of a sample: every case once in random order, then again in another."""
    turn, place = divmod(position, count)
    order = np.random.Generator(np.random.Philox(key=[seed, (ORDER_STREAM << 56) + turn])).permutation(count)
    return int(order[place])


def place_patch(
    rng: np.random.Generator,
    shape: Sequence[int],
    patch_size: Sequence[int],
    locations: Mapping[int, NDArray[np.integer]] | None,
) -> tuple[int, ...]:
    """Where a patch begins.

    Args:
        rng: the sample's generator.
        shape: the prepared case, (a, b, c).
        patch_size: the patch, (a, b, c).
        locations: voxels of each label, to centre the patch on one; None for a random place.
    Returns:
        the first voxel; the patch stays inside the scan where it fits and is centred where it does not.
    Source: nnU-Net's placement: a label of the case with equal chance, then one of its voxels.
    """
    present = [label for label, voxels in (locations or {}).items() if len(voxels)]
    low = [
        min(0, -((size - length) // 2)) if size > length else 0 for length, size in zip(shape, patch_size, strict=True)
    ]
    high = [max(first, length - size) for first, length, size in zip(low, shape, patch_size, strict=True)]
    if not present or locations is None:
        return tuple(int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True))
    voxels = locations[present[int(rng.integers(len(present)))]]
    centre = voxels[int(rng.integers(len(voxels)))]
    wanted = [int(c) - size // 2 for c, size in zip(centre, patch_size, strict=True)]
    return tuple(min(max(w, a), b) for w, a, b in zip(wanted, low, high, strict=True))


def foreground_slots(batch_size: int, share: float) -> frozenset[int]:
    """Which places of a batch are put on a label: the last ``share`` of them, at least one."""
    first = min(batch_size - 1, round(batch_size * (1 - share)))
    return frozenset(range(first, batch_size)) if share > 0 else frozenset()
