"""What training says while it runs: a log for machines, event files for plots, one line for people."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medseg.core.atomic import write_text

logger = logging.getLogger(__name__)

# A class that is still never predicted after this share of the training will hardly come by itself.
ALARM_SHARE = 0.2


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of training.

    Args:
        epoch: counted from 1.
        steps: optimiser steps so far.
        loss: mean training loss of the epoch; None where no step of it had a finite one.
        validation_loss: on patches of the validation cases; None without any, or where it is not finite.
        patch_dice: per label on those patches, None where the label is absent from them. Not the Dice of whole scans.
        seconds_left: an estimate.
        alarms: what looks wrong, each with a remedy.
    """

    epoch: int
    steps: int
    total_steps: int
    learning_rate: float
    loss: float | None
    validation_loss: float | None
    patch_dice: dict[str, float | None]
    seconds_left: float
    alarms: tuple[str, ...] = ()
    skipped_steps: int = 0


Callback = Callable[[EpochRecord], None]


@dataclass
class Monitor:
    """Writes each epoch to ``log.jsonl``, to event files and to the screen.

    Args:
        folder: the run's folder.
        title: what the line on the screen begins with.
        callbacks: called with each record.
    """

    folder: Path
    title: str
    callbacks: Sequence[Callback] = ()
    _events: Any = field(default=None, repr=False)
    _last_line: float = 0.0

    def __enter__(self) -> Self:
        from tensorboard.summary.writer import event_file_writer

        self.folder.mkdir(parents=True, exist_ok=True)
        make_writer: Any = event_file_writer.EventFileWriter
        self._events = make_writer(str(self.folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()

    def report(self, record: EpochRecord) -> None:
        """Log one epoch; on the screen at most a line every few seconds, and the last epoch always."""
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(_format_line(record))
        self._add_events(record)
        now, last = time.monotonic(), record.steps >= record.total_steps
        if record.alarms or last or now - self._last_line > 5.0:
            self._last_line = now
            logger.info("%s", format_epoch(self.title, record))
        for alarm in record.alarms:
            logger.warning("%s: %s", self.title, alarm)
        for callback in self.callbacks:
            callback(record)

    def _add_events(self, record: EpochRecord) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        events: Any = event_pb2  # made at run time from a protocol file, so that no type is known
        summaries: Any = summary_pb2
        values: dict[str, float | None] = {
            "loss/training": record.loss,
            "loss/validation": record.validation_loss,
            "learning_rate": record.learning_rate,
            **{f"patch_dice/{label}": dice for label, dice in record.patch_dice.items()},
        }
        known = {tag: value for tag, value in values.items() if value is not None}
        points = [summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in known.items()]
        summary = summaries.Summary(value=points)
        self._events.add_event(events.Event(wall_time=time.time(), step=record.steps, summary=summary))


def rewind_log(folder: Path, steps: int) -> list[EpochRecord]:
    """Take the epochs after a checkpoint out of ``log.jsonl``; they are done again.

    Args:
        folder: the run's folder.
        steps: at which training goes on.
    Returns:
        the epochs before, in order; none where there is no log. A line cut off while it was written is no epoch.
    """
    path = folder / "log.jsonl"
    if not path.is_file():
        return []
    kept = []
    for line in path.read_text("utf-8").splitlines():
        with contextlib.suppress(ValueError, TypeError):
            content = json.loads(line)
            record = EpochRecord(**{**content, "alarms": tuple(content["alarms"])})
            if record.steps <= steps:
                kept.append(record)
    write_text(path, "".join(_format_line(record) for record in kept))
    return kept


def _format_line(record: EpochRecord) -> str:
    return json.dumps(asdict(record)) + "\n"


def format_epoch(title: str, record: EpochRecord) -> str:
    """One line: epoch, loss, patch Dice per label, time left."""
    dice = ", ".join(
        f"{label} {'-' if value is None else format(value, '.3f')}" for label, value in record.patch_dice.items()
    )
    minutes, seconds = divmod(round(record.seconds_left), 60)
    share = 100 * record.steps // max(1, record.total_steps)
    loss = "-" if record.loss is None else f"{record.loss:.3f}"
    return f"{title}: {share} %, loss {loss}, patch Dice {dice or '-'}, {minutes}:{seconds:02d} left"


def raise_alarms(
    history: Sequence[EpochRecord], patch_dice: Mapping[str, float | None], share_done: float
) -> tuple[str, ...]:
    """Lines about labels that are never predicted.

    Args:
        history: the epochs before this one.
        patch_dice: this epoch's.
        share_done: how much of the training is over, 0 to 1.
    Returns:
        one line per label, said once, as soon as a fifth of the training is over.
    """
    if share_done < ALARM_SHARE:
        return ()
    said = {alarm for record in history for alarm in record.alarms}
    never = [
        label for label, dice in patch_dice.items() if dice == 0 and not any(r.patch_dice.get(label) for r in history)
    ]
    lines = (
        f"{label!r} has not been predicted once so far; train longer, raise foreground_share, or check its masks"
        for label in never
    )
    return tuple(line for line in lines if line not in said)
