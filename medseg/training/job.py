"""What a training is given and what it gives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from medseg.augmentation import DEFAULT_AUGMENTATIONS, Augmentation
from medseg.core.plan import Configuration, Plan
from medseg.networks import BuildNetwork
from medseg.training.losses import Loss
from medseg.training.monitor import Callback, EpochRecord
from medseg.training.patches.loader import Source


@dataclass(frozen=True)
class Job:
    """What is trained, and for how long.

    Args:
        plan, configuration: what to train.
        training, validation: prepared cases.
        folder: the run's folder.
        title: for messages, such as ``3d_fullres fold 0``.
        seconds: wall-clock for the whole training; None for ``epochs``.
        epochs: used where ``seconds`` is None.
        identity: what must be equal for a checkpoint to be continued.
        loss, network, augmentations, callbacks: objects in place of the plan's names.
        alarms: what the first epoch's record has to say besides its own.
        began: when the time in ``seconds`` began to count, by ``time.monotonic``.
    """

    plan: Plan
    configuration: Configuration
    training: Sequence[Source]
    validation: Sequence[Source]
    folder: Path
    title: str
    seconds: float | None = None
    epochs: int | None = None
    device: str = "auto"
    identity: dict[str, str] = field(default_factory=dict)
    loss: str | Loss | None = None
    network: str | BuildNetwork | None = None
    augmentations: Sequence[Augmentation] = DEFAULT_AUGMENTATIONS
    callbacks: Sequence[Callback] = ()
    alarms: tuple[str, ...] = ()
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class TrainedFold:
    """What training gives: the averaged weights, the epochs, and seconds a step took."""

    weights: dict[str, Tensor]
    history: list[EpochRecord]
    seconds_per_step: float
