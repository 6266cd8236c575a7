"""How far a training is: what moves while it runs, and what of it a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from medseg.training.monitor import EpochRecord, read_record


@dataclass
class Progress:
    """What moves while training runs; all of it stands in the checkpoint.

    Args:
        step: optimiser steps so far, those that were skipped included.
        total: all steps; None while a budget is not yet counted in steps.
        anchor_step, anchor_share: since that step, the schedule goes evenly from that share to 1.
        budget_s: wall-clock for the whole training; None where epochs are counted.
        used_s: wall-clock used so far, by all processes together.
        seconds_per_step: 0 while it is not known.
        bad_steps: steps in a row whose loss or gradient was not finite.
        skipped: all of them.
        rollbacks: how often the last good state was gone back to; each halves the learning rate.
        losses: of this epoch.
        alarms: what the next epoch's record has to say besides its own.
        history: the epochs before.
    """

    step: int = 0
    total: int | None = None
    anchor_step: int = 0
    anchor_share: float = 0.0
    budget_s: float | None = None
    used_s: float = 0.0
    seconds_per_step: float = 0.0
    bad_steps: int = 0
    skipped: int = 0
    rollbacks: int = 0
    losses: list[float] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    history: list[EpochRecord] = field(default_factory=list)

    @property
    def share_done(self) -> float:
        """How much of the learning rate's schedule is over, 0 to 1; 0 while the number of steps is not known."""
        if self.total is None:
            return 0.0
        left = self.total - self.anchor_step
        gone = 1.0 if left <= 0 else min(1.0, (self.step - self.anchor_step) / left)
        return self.anchor_share + (1 - self.anchor_share) * gone

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.total is not None and self.step >= self.total

    def change_total(self, total: int) -> None:
        """Go on with another number of steps, the schedule from where it stands to its end."""
        self.anchor_share, self.anchor_step = self.share_done, self.step
        self.total = total

    def say(self, alarm: str) -> bool:
        """Keep an alarm for the next record; False where it was said before."""
        if alarm in self.alarms or any(alarm in record.alarms for record in self.history):
            return False
        self.alarms.append(alarm)
        return True


def pack_progress(progress: Progress) -> dict[str, Any]:
    """The progress as JSON holds it."""
    return asdict(progress)


def unpack_progress(content: Mapping[str, Any]) -> Progress:
    """The progress that ``pack_progress`` gave."""
    return Progress(**{**content, "history": [read_record(record) for record in content["history"]]})
