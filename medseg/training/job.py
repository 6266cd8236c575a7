"""What a training is given and what it gives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from medseg.augmentation import DEFAULT_AUGMENTATIONS, Augmentation
from medseg.core.manifest import CaseOutcome
from medseg.core.plan import Configuration, Plan
from medseg.networks import BuildNetwork
from medseg.training.distributed.parallel import ALONE, Ranks
from medseg.training.fine_tuning.starts import Start
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
        start_from: weights to begin with; freshly drawn ones where None.
        ranks: the processes that train it together.
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
    start_from: Start | None = None
    ranks: Ranks = ALONE
    alarms: tuple[str, ...] = ()
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class TrainedFold:
    """What training gives.

    Args:
        weights: the averaged ones, by name.
        history: the epochs.
        seconds_per_step: what one took.
        outcomes: cases that were left out because they are damaged.
    """

    weights: dict[str, Tensor]
    history: list[EpochRecord]
    seconds_per_step: float
    outcomes: list[CaseOutcome] = field(default_factory=list)
