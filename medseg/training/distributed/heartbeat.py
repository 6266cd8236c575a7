"""Processes that train together hear one another, so that one that is stopped is noticed within a minute.

A process that ends closes its connections, which the others notice at once. One that is stopped (SIGSTOP, a frozen
container, a machine that has lost its network) keeps them open: the others would wait in the middle of a sum for as
long as the slowest compilation or disk may take. A thread of each therefore counts up a number of its own in the store
that the processes met in, whatever its process is busy with, and looks whether the others' numbers still grow.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

logger = logging.getLogger(__name__)

INTERVAL_S = 5.0
# torchrun gives processes that it ends 30 s, so that a stopped one holds a training up for 90 s in all.
SILENCE_S = 60.0
_LEFT = 1 << 40  # what a process adds to its number when it ends as it should: more than it ever counts


class Store(Protocol):
    """The part that is used of the store in which PyTorch's processes meet."""

    def add(self, key: str, amount: int, /) -> int:
        """Add to a number, 0 at first, and give the sum."""

    def clone(self) -> Store:
        """Another connection to the same store."""

    def set_timeout(self, timeout: timedelta, /) -> None:
        """How long to wait for an answer."""


@dataclass
class Listener:
    """What one process knows of the others' numbers.

    Args:
        rank: this one, from 0.
        count: how many there are.
        silence_s: after how long one counts as lost.
        clock: the time in seconds, which stands still or not while the machine sleeps.
    """

    rank: int
    count: int
    silence_s: float = SILENCE_S
    clock: Callable[[], float] = time.monotonic
    _heard: dict[int, tuple[int, float]] = field(default_factory=dict)
    _last: float | None = None

    def listen(self, store: Store) -> int | None:
        """Beat once and look for the others.

        Args:
            store: where the numbers stand.
        Returns:
            the rank of one that has been silent for too long; None where there is none.
        Raises:
            RuntimeError: the store does not answer.
        """
        now = self.clock()
        if self._last is not None and now - self._last > self.silence_s / 2:
            self._heard.clear()  # this process itself was stopped, or its machine slept: the others are heard anew
        self._last = now
        store.add(_key(self.rank), 1)
        for other in range(self.count):
            if other == self.rank:
                continue
            number = store.add(_key(other), 0)
            known, since = self._heard.get(other, (-1, now))
            if number != known:
                self._heard[other] = (number, now)
            elif number < _LEFT and now - since > self.silence_s:
                return other
        return None


def leave(store: Store, rank: int) -> None:
    """Tell the others that this process ends as it should: its silence means nothing from now on."""
    store.add(_key(rank), _LEFT)


def watch_ranks(
    store: Store, rank: int, count: int, *, silence_s: float = SILENCE_S, interval_s: float = INTERVAL_S
) -> Callable[[], None]:
    """Beat and listen in a thread; end this process with 1 where another is silent for too long.

    The process ends as if it were killed, since its other threads may wait for the silent one where nothing can wake
    them; what it wrote is whole (every file is renamed into place), and the same command goes on from the last
    checkpoint.

    Args:
        store: that the processes met in; a connection of its own is opened to it.
        rank, count: this process, and how many there are.
        silence_s: after how long one counts as lost.
        interval_s: between beats.
    Returns:
        a function that ends the watch, for a process that ends as it should.
    """
    own = store.clone()
    own.set_timeout(timedelta(seconds=silence_s / 2))
    ended = threading.Event()
    listener = Listener(rank, count, silence_s)

    def watch() -> None:
        unanswered_s = 0.0
        while not ended.wait(interval_s):
            began = time.monotonic()
            try:
                lost = listener.listen(own)
                unanswered_s = 0.0
            except RuntimeError:
                lost, unanswered_s = None, unanswered_s + interval_s + time.monotonic() - began
            if ended.is_set():
                return
            if lost is not None:
                _end(f"process {lost} of this training (ranks count from 0) has not been heard of for {silence_s:g} s")
            if unanswered_s > silence_s:
                _end(f"the processes' meeting point has not answered for {unanswered_s:.0f} s")

    def end() -> None:
        if not ended.is_set():
            ended.set()
            try:
                leave(own, rank)
            except RuntimeError:  # the store has ended first: nobody listens any more
                logger.debug("the store of the processes has ended")

    threading.Thread(target=watch, name="heartbeat", daemon=True).start()
    return end


def _end(reason: str) -> None:
    logger.error("medseg: %s: it is stopped or cut off. The same command goes on from the last checkpoint", reason)
    os._exit(1)


def _key(rank: int) -> str:
    return f"medseg/beat/{rank}"
