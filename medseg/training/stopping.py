"""Stopping in good order: SIGTERM and Ctrl-C save the training, then do what they would have done.

The handler only notes the signal; training looks after each step. Where a step takes longer than a cluster waits before
it kills, a thread saves the state from before that step and ends the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from medseg.core.atomic import remove_unfinished

logger = logging.getLogger(__name__)

# Clusters send SIGKILL 10 s (Docker) to 30 s (Slurm, Kubernetes) after SIGTERM; saving takes its part of them. Who
# presses Ctrl-C waits no longer.
PATIENCE_SECONDS = 4.0
WATCHED = (signal.SIGTERM, signal.SIGINT)


class StopTraining(BaseException):
    """Raised where training can stop: nothing is half done."""


@dataclass
class StopRequest:
    """A signal that came, and the lock that is held while the state changes.

    Args:
        number: of the signal; None as long as none came.
    """

    number: int | None = None
    changing: threading.RLock = field(default_factory=threading.RLock)
    over: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise StopTraining where a signal came."""
        if self.number is not None:
            raise StopTraining

    def pass_on(self) -> None:
        """Do what the program does on the signal when it does not train; end the process where that is nothing."""
        if self.number is not None:
            signal.raise_signal(self.number)
            raise SystemExit(128 + self.number)


@contextlib.contextmanager
def watch_signals(request: StopRequest, save: Callable[[], None]) -> Iterator[None]:
    """Note SIGTERM and SIGINT in ``request`` while the block runs.

    Args:
        request: what training looks at.
        save: writes a checkpoint of the state as it stands while ``request.changing`` is not held.
    Returns:
        a context manager; outside of the main thread, where Python allows no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        if request.number is None and number in before:
            # Nothing else: what a handler interrupts, such as logging, may not be entered a second time.
            request.number = number
            return
        signal.signal(number, before[number] or signal.SIG_DFL)
        signal.raise_signal(number)

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    watcher = threading.Thread(target=_watch, args=(reader, request, save), name="signals", daemon=True)
    for watched in WATCHED:
        before[watched] = signal.signal(watched, note)
    earlier = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        request.over.set()
        signal.set_wakeup_fd(earlier)
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        writer.close()
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, request: StopRequest, save: Callable[[], None]) -> None:
    # Python runs handlers between two of its own instructions; a backward pass is one, and may take minutes on a CPU.
    while received := reader.recv(1):
        number = received[0]
        if number not in WATCHED or request.over.is_set():
            continue
        logger.info("%s: training is saved and stops; a second one stops it at once", signal.Signals(number).name)
        if request.over.wait(PATIENCE_SECONDS):
            continue
        with request.changing:
            if request.over.is_set():
                continue
            try:
                save()
            except Exception as error:  # whatever it is, the process was told to end
                logger.error("the training could not be saved: %s", error)
            logger.info("stopped in the middle of a step, which the same command takes again")
            remove_unfinished()
            os._exit(128 + number)
