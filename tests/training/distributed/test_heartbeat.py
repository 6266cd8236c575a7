"""A process that is stopped is noticed by the others; one that ends, sleeps with its machine or works is not."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from medseg.training.distributed.heartbeat import Listener, leave
from tests.training.distributed.parallel_process import launch

SILENCE_S = 60.0


@dataclass
class Numbers:
    """A store in this process's memory."""

    numbers: Counter[str] = field(default_factory=Counter)

    def add(self, key: str, amount: int, /) -> int:
        self.numbers[key] += amount
        return self.numbers[key]

    def clone(self) -> "Numbers":
        return self

    def set_timeout(self, timeout: timedelta, /) -> None:
        pass


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def make_listeners(count: int) -> tuple[Numbers, Clock, list[Listener]]:
    clock = Clock()
    return Numbers(), clock, [Listener(rank, count, SILENCE_S, clock) for rank in range(count)]


def test_one_that_is_silent_is_named_after_a_minute() -> None:
    store, clock, listeners = make_listeners(3)
    for _ in range(4):
        clock.now += 5
        assert [listener.listen(store) for listener in listeners] == [None] * 3
    silent_since, lost = clock.now, None
    while lost is None:
        clock.now += 5
        lost = listeners[0].listen(store)
        assert listeners[2].listen(store) in (None, 1)
    assert lost == 1
    assert SILENCE_S < clock.now - silent_since <= SILENCE_S + 10  # it may be heard a beat late


def test_one_that_never_began_is_named_too() -> None:
    store, clock, listeners = make_listeners(2)
    lost = None
    while lost is None and clock.now < 2 * SILENCE_S:
        clock.now += 5
        lost = listeners[0].listen(store)
    assert lost == 1


def test_one_that_ended_as_it_should_is_not_missed() -> None:
    store, clock, listeners = make_listeners(2)
    for listener in listeners:
        listener.listen(store)
    leave(store, 1)
    for _ in range(100):
        clock.now += 5
        assert listeners[0].listen(store) is None


def test_whoever_was_stopped_itself_accuses_nobody() -> None:
    store, clock, listeners = make_listeners(2)
    for listener in listeners:
        listener.listen(store)
    clock.now += 3600  # both were stopped, or the machine slept; the other one wakes up a little later
    assert listeners[0].listen(store) is None
    clock.now += 5
    assert listeners[0].listen(store) is None
    assert listeners[1].listen(store) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 10)), max_size=60))
def test_slow_ones_are_never_lost(turns: list[tuple[int, float]]) -> None:
    """In any order, where none pauses for longer than a third of what counts as silence."""
    store, clock, listeners = make_listeners(3)
    last = [0.0] * 3
    for chosen, pause_s in turns:
        clock.now += pause_s
        for rank in {chosen, *(rank for rank in range(3) if clock.now - last[rank] > SILENCE_S / 3)}:
            assert listeners[rank].listen(store) is None
            last[rank] = clock.now


def test_a_stopped_process_ends_the_others(tmp_path: Path) -> None:
    processes = launch(tmp_path, "listen_briefly")
    try:
        pids = [wait_for(tmp_path / f"pid.{rank}", processes) for rank in range(2)]
        os.kill(pids[1], signal.SIGSTOP)
        began = time.monotonic()
        while is_alive(pids[0]) and time.monotonic() - began < 60:
            time.sleep(0.05)
        assert not is_alive(pids[0])
        os.kill(pids[1], signal.SIGKILL)  # torchrun does it too, half a minute later
        _, errors = processes.communicate(timeout=60)
        assert "process 1 of this training (ranks count from 0) has not been heard of for 2 s" in errors
        assert processes.returncode != 0
    finally:
        processes.kill()


def wait_for(file: Path, processes: subprocess.Popen[str]) -> int:
    while not file.is_file():
        assert processes.poll() is None, processes.communicate()[1]
        time.sleep(0.05)
    return int(json.loads(file.read_text("utf-8")))


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
