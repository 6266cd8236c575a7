"""Prepared cases held in memory, where the whole set fits: reading a patch is then a copy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute import count_cores
from medseg.compute.memory import read_free_bytes
from medseg.core.errors import MedsegError
from medseg.preprocessing import PreparedCase, Scaling, apply_scalings
from medseg.training.patches.recipe import Source

logger = logging.getLogger(__name__)

# Of the memory that is free when training starts; the rest is the network's and the system's.
SHARE_OF_FREE_MEMORY = 0.3


@dataclass(frozen=True, eq=False)
class MemoryCase:
    """A prepared case as arrays; the image as it is stored, mostly in half the width that the network sees it in."""

    name: str
    shape: tuple[int, int, int]
    locations: dict[int, NDArray[np.int32]]
    stored: NDArray[Any]
    scalings: tuple[Scaling, ...]
    reference: NDArray[Any]

    def read_patch(self, start: Sequence[int], stop: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Image (channel, a, b, c) and label map (a, b, c) of a box inside the case."""
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        return apply_scalings(self.stored[(slice(None), *box)], self.scalings), self.reference[box]


def hold_in_memory(cases: Sequence[PreparedCase], *, processes: int = 1) -> Sequence[Source]:
    """The same cases as arrays where all of them fit into a third of the free memory, else as they are.

    Args:
        cases: prepared cases.
        processes: of this machine that train together, each with the cases of its own.
    Returns:
        sources of patches, in the same order. A damaged case stays as it is, so that the loader meets its damage where
        it would have met it without this.
    """
    needed = sum(map(_count_bytes, cases))
    if processes * needed > SHARE_OF_FREE_MEMORY * read_free_bytes():
        return list(cases)
    with ThreadPoolExecutor(max_workers=count_cores()) as pool:
        return list(pool.map(_load, cases))


def _count_bytes(case: PreparedCase) -> int:
    try:
        return case.count_bytes()
    except MedsegError:
        return 0


def _load(case: PreparedCase) -> Source:
    try:
        stored, reference = case.read_stored()
    except MedsegError as error:
        logger.debug("not held in memory: %s", error)
        return case
    if reference is None:  # the loader says so
        return case
    return MemoryCase(case.name, case.shape, case.locations, stored, case.scalings, reference)
