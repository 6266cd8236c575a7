"""Which channel of one model stands for which of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import ModelError
from medseg.core.labels import LabelScheme


@dataclass(frozen=True)
class Channels:
    """How a model's probabilities are read as another's.

    Args:
        order: for each channel of the other model, the channel of this one.
        add_background: whether this one, of a single label, has no channel for what is not that label.
    """

    order: tuple[int, ...]
    add_background: bool = False

    def take(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """A new array of probabilities (channel, ...) in the other model's channels."""
        if self.add_background:
            probabilities = np.concatenate([1 - probabilities, probabilities])
        return probabilities[list(self.order)]


def match_channels(labels: LabelScheme, other: LabelScheme) -> Channels:
    """How one model's probabilities are read in the channels of another, by the names of the labels.

    Args:
        labels: of the model whose channels are wanted.
        other: of the model whose probabilities are given.
    Returns:
        the reading; a single label means the same with a softmax and with a sigmoid.
    Raises:
        ModelError: a label is missing in one of them, or one has exclusive labels and the other has not.
    """
    missing = [name for name in labels.names if name not in other.names]
    extra = [name for name in other.names if name not in labels.names]
    if missing or extra:
        said = [
            f"{', '.join(names)} {where}" for names, where in ((missing, "is missing"), (extra, "is too many")) if names
        ]
        raise ModelError(
            f"models of different labels cannot be averaged: beside {', '.join(labels.names)}, {' and '.join(said)}",
            code="labels", remedy="Average models of the same labels alone",
        )  # fmt: skip
    if labels.output == other.output:
        offset = int(labels.output == "softmax")
        named = tuple(offset + other.names.index(name) for name in labels.names)
        return Channels((*range(offset), *named))
    if len(labels.names) > 1:
        kinds = {"softmax": "exclude one another", "sigmoid": "may overlap"}
        raise ModelError(
            f"models cannot be averaged where the labels of one {kinds[labels.output]} and those of the other "
            f"{kinds[other.output]}", code="labels", remedy="Average models of the same kind alone",
        )  # fmt: skip
    return Channels((0, 1), add_background=True) if labels.output == "softmax" else Channels((1,))
