"""SIGTERM and Ctrl-C end a program soon, in good order, with their exit code and one line on how to go on.

The handler ends the main thread; what the threads beside it have begun is waited for. Python runs handlers between two
of its own instructions, and a thread may have an hour's work in hand, so a watching thread ends the process where that
takes too long.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from medseg.core.atomic import remove_unfinished

# Clusters send SIGKILL 10 s (Docker) to 30 s (Slurm, Kubernetes) after SIGTERM.
PATIENCE_SECONDS = 8.0
WATCHED = (signal.SIGTERM, signal.SIGINT)


@dataclass
class _Ending:
    """A program that may be told to end.

    Args:
        advice: how to go on.
        number: of the signal that came.
        told: whether the user was.
    """

    advice: str
    number: int | None = None
    told: bool = False

    def tell(self) -> None:
        """Say once what ended the program and how to go on."""
        if self.number is not None and not self.told:
            self.told = True
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"medseg: stopped by {signal.Signals(self.number).name}; {self.advice}\n")
                sys.stderr.flush()

    def end_now(self, number: int) -> None:
        """End the process without waiting for anything."""
        self.number = number
        self.tell()
        remove_unfinished()
        os._exit(128 + number)


def run_stoppable(program: Callable[[], None], advice: str) -> None:
    """Run a program that SIGTERM and Ctrl-C end soon.

    Args:
        program: what to run; ended by a signal it sees SystemExit with 143 or 130. A second signal ends it at once.
        advice: how to go on after that, one line.
    """
    ending = _Ending(advice)
    with _watch_signals(ending):
        try:
            program()
        finally:
            ending.tell()
        if ending.number is not None:  # somebody caught what the handler raised
            raise SystemExit(128 + ending.number)


@contextlib.contextmanager
def _watch_signals(ending: _Ending) -> Iterator[None]:
    def note(number: int, frame: FrameType | None) -> None:
        if ending.number is not None:
            ending.end_now(number)
        ending.number = number
        raise SystemExit(128 + number)

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before: dict[int, Any] = {number: signal.signal(number, note) for number in WATCHED}
    earlier = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    # As a daemon it still watches while Python waits for the other threads at its end.
    threading.Thread(target=_watch, args=(reader, ending), name="interruption", daemon=True).start()
    try:
        yield
    finally:
        if ending.number is None:
            signal.set_wakeup_fd(earlier)
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)
            writer.close()


def _watch(reader: socket.socket, ending: _Ending) -> None:
    with reader:
        first = _wait(reader)
        if first is None:
            return
        reader.settimeout(PATIENCE_SECONDS)
        with contextlib.suppress(TimeoutError):
            _wait(reader)  # a second one is the end of patience
        ending.end_now(first)


def _wait(reader: socket.socket) -> int | None:
    """The next signal that ends programs; None where nobody listens any more."""
    while received := reader.recv(1):
        if received[0] in WATCHED:
            return received[0]
    return None
