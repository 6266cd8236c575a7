"""Reading ahead and writing behind: in order, bounded, and never waiting for what will not come."""

import threading
from typing import Any

import pytest

from medseg.inference.folders import ahead
from medseg.inference.folders.ahead import go_through, start_thread

WAIT = 20.0  # seconds; reached only where something is broken


def go(count: int, read: Any, compute: Any, write: Any, stopped: threading.Event | None = None, **options: Any) -> None:
    options.setdefault("may_read_ahead", lambda group, position: True)
    go_through(count, read, compute, write, stopped=stopped or threading.Event(), **options)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("may", [True, False])
def test_everything_is_done_once_and_in_order(count: int, size: int, may: bool) -> None:
    written: list[int] = []
    go(
        count,
        lambda first: (list(range(first, min(first + size, count))), min(first + size, count)),
        lambda group: [number * 10 for number in group],
        written.extend,
        may_read_ahead=lambda group, position: may,
    )
    assert written == [number * 10 for number in range(count)]


def test_the_next_is_read_and_the_last_is_written_while_one_is_computed() -> None:
    begun = [threading.Event() for _ in range(4)]
    release = threading.Event()
    seen: list[list[bool]] = []

    def read(position: int) -> tuple[int, int]:
        begun[position].set()
        return position, position + 1

    def compute(number: int) -> int:
        if number < 3:
            assert begun[number + 1].wait(WAIT)
        seen.append([event.is_set() for event in begun])
        if number == 1:
            release.set()  # the first is written only while the second is computed
        return number

    def write(number: int) -> None:
        assert release.wait(WAIT)

    go(4, read, compute, write)
    # Never more than one ahead.
    assert seen == [[n <= number + 1 for n in range(4)] for number in range(4)]


def test_where_the_memory_forbids_it_nothing_is_read_ahead() -> None:
    steps: list[str] = []
    go(
        3,
        lambda position: (steps.append(f"read {position}"), (position, position + 1))[1],
        lambda number: (steps.append(f"compute {number}"), number)[1],
        lambda number: None,
        may_read_ahead=lambda group, position: False,
    )
    assert steps == [f"{what} {number}" for number in range(3) for what in ("read", "compute")]


@pytest.mark.parametrize("fault", [ValueError("bad"), SystemExit(3), MemoryError()])
@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_a_stage_that_dies_ends_the_run_with_its_error(stage: str, fault: BaseException) -> None:
    def fail_in(name: str, number: int) -> int:
        if name == stage and number == 1:
            raise fault
        return number

    stopped = threading.Event()
    with pytest.raises(type(fault)) as caught:
        go(
            5,
            lambda position: (fail_in("read", position), position + 1),
            lambda number: fail_in("compute", number),
            lambda number: print(fail_in("write", number)),
            stopped,
        )
    assert caught.value is fault
    assert stopped.is_set()


def test_a_stopped_run_lets_what_is_being_written_finish() -> None:
    stopped, written = threading.Event(), []

    def compute(number: int) -> int:
        if number == 1:
            raise KeyboardInterrupt
        return number

    def write(number: int) -> None:
        assert stopped.wait(WAIT)
        written.append(number)

    with pytest.raises(KeyboardInterrupt):
        go(3, lambda position: (position, position + 1), compute, write, stopped)
    assert written == [0]


def test_a_stopped_run_does_not_wait_for_a_thread_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "STOP_SECONDS", 0.05)
    never = threading.Event()

    def read(position: int) -> tuple[int, int]:
        if position == 1:
            never.wait(WAIT)
        return position, position + 1

    def compute(number: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(3, read, compute, lambda number: None)
    never.set()


def test_a_thread_s_fault_is_told_by_its_future() -> None:
    fault = GeneratorExit("odd")

    def fail() -> None:
        raise fault

    future = start_thread("test", fail)
    assert future.exception(WAIT) is fault
    assert start_thread("test", lambda a, b: a + b, 1, 2).result(WAIT) == 3
