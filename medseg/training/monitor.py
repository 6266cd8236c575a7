"""What training says while it runs: a log for machines, event files for plots, one line for people."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medseg.core.atomic import append_bytes, write_text
from medseg.training.faults import name_faults

logger = logging.getLogger(__name__)


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
        skipped_steps: so far, because the loss or the gradient was not finite.
        unpredicted: labels that the validation patches hold and the network predicts nowhere in them.
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
    unpredicted: tuple[str, ...] = ()


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
    _events: Path = field(default=Path(), repr=False)
    _last_line: float = 0.0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        self._events = self.folder / name
        self._add_event(file_version="brain.Event:2")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass  # each entry is whole as soon as it is written

    def report(self, record: EpochRecord) -> None:
        """Log one epoch; on the screen at most a line every few seconds, and the last epoch always."""
        append_bytes(self.folder / "log.jsonl", _format_line(record).encode("utf-8"))
        self._add_scalars(record)
        now, last = time.monotonic(), record.steps >= record.total_steps
        if record.alarms or last or now - self._last_line > 5.0:
            self._last_line = now
            logger.info("%s", format_epoch(self.title, record))
        for callback in self.callbacks:
            name_faults(callback, "callback", callback)(record)

    def _add_scalars(self, record: EpochRecord) -> None:
        from tensorboard.compat.proto import summary_pb2

        summaries: Any = summary_pb2  # made at run time from a protocol file, so that no type is known
        values: dict[str, float | None] = {
            "loss/training": record.loss,
            "loss/validation": record.validation_loss,
            "learning_rate": record.learning_rate,
            **{f"patch_dice/{label}": dice for label, dice in record.patch_dice.items()},
        }
        known = {tag: value for tag, value in values.items() if value is not None}
        points = [summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in known.items()]
        summary = summaries.Summary(value=points)
        self._add_event(step=record.steps, summary=summary)

    def _add_event(self, **content: Any) -> None:
        # TensorBoard's own writer has a thread, which a full disk ends without a word.
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        events: Any = event_pb2
        make_writer: Any = RecordWriter
        entry = io.BytesIO()
        make_writer(entry).write(events.Event(wall_time=time.time(), **content).SerializeToString())
        append_bytes(self._events, entry.getvalue())


def rewrite_log(folder: Path, history: Sequence[EpochRecord]) -> None:
    """Make ``log.jsonl`` what a run's checkpoint knows: what was logged after it is done and logged again."""
    if history or (folder / "log.jsonl").is_file():
        write_text(folder / "log.jsonl", "".join(_format_line(record) for record in history))


def read_record(content: Mapping[str, Any]) -> EpochRecord:
    """The record that a line of ``log.jsonl`` holds, parsed."""
    return EpochRecord(**{**content, "alarms": tuple(content["alarms"]), "unpredicted": tuple(content["unpredicted"])})


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
