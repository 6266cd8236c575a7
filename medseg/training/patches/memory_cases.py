"""Prepared cases held in memory, where the whole set fits: reading a patch is then a copy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError
from medseg.preprocessing import PreparedCase
from medseg.training.patches.loader import Source

# Of the memory that is free when training starts; the rest is the network's and the system's.
SHARE_OF_FREE_MEMORY = 0.3


@dataclass(frozen=True, eq=False)
class MemoryCase:
    """A prepared case as arrays."""

    shape: tuple[int, int, int]
    locations: dict[int, NDArray[np.int32]]
    image: NDArray[np.float32]
    reference: NDArray[Any]

    def read_patch(self, start: Sequence[int], stop: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Image (channel, a, b, c) and label map (a, b, c) of a box inside the case."""
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        return self.image[(slice(None), *box)], self.reference[box]


def hold_in_memory(cases: Sequence[PreparedCase], channels: int) -> Sequence[Source]:
    """The same cases as arrays where all of them fit into a third of the free memory, else as they are.

    Args:
        cases: prepared cases with references.
        channels: of their images.
    Returns:
        sources of patches, in the same order.
    Raises:
        DatasetError: a case has no reference.
    """
    for case in cases:
        if not case.has_reference:
            raise DatasetError("it has no reference mask to train on", code="missing_mask", case=case.name)
    needed = sum(int(np.prod(case.shape)) for case in cases) * (4 * channels + 2)
    if needed > SHARE_OF_FREE_MEMORY * _free_bytes():
        return cases  # type: ignore[return-value]  # with a reference, read_patch gives one
    return [_load(case) for case in cases]


def _load(case: PreparedCase) -> MemoryCase:
    image, reference = case.read_all()
    assert reference is not None  # checked above
    return MemoryCase(case.shape, case.locations, image, reference)


def _free_bytes() -> float:
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return 4e9  # a system that does not tell: what any machine of the field has
