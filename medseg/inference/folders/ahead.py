"""Reading the next case and writing the last one beside the network, in threads of one process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

Group = TypeVar("Group")
Answer = TypeVar("Answer")
Result = TypeVar("Result")

# How long a stopped run waits for what its threads have begun: a mask half written, a scan half read.
STOP_SECONDS = 5.0


def start_thread(name: str, function: Callable[..., Result], *arguments: object) -> Future[Result]:
    """Run a function in a thread of its own.

    Args:
        name: the thread's.
        function: what to do; whatever it raises, its future tells, so that nobody waits for a dead thread.
        arguments: the function's.
    Returns:
        its future. The thread does not keep the program from ending.
    """
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future


def go_through(
    count: int,
    read: Callable[[int], tuple[Group, int]],
    compute: Callable[[Group], Answer],
    write: Callable[[Answer], None],
    *,
    may_read_ahead: Callable[[Group, int], bool],
    stopped: threading.Event,
) -> None:
    """Read, compute and write one group of cases after another, so that neighbouring groups overlap.

    While a group is computed here, in the calling thread, the next one is read and the last one is written, each in a
    thread: at most one group lies ahead and one behind, so memory stays bounded.

    Args:
        count: how many cases there are.
        read: the group that begins with a case, by its number, and the number of the case after it; in a thread.
        compute: what becomes of a group; in the calling thread, which alone hears Ctrl-C.
        write: what to do with that; in a thread, one group after another, in order.
        may_read_ahead: whether, while a group is computed, the one that begins with a case may be read; else it is read
            after that.
        stopped: set where the run ends early, so that ``read`` and ``write`` may leave off.
    Raises:
        BaseException: what a stage raises; the others are given a few seconds to finish what they have begun.
    """
    ahead: Future[tuple[Group, int]] | None = start_thread("read", read, 0) if count else None
    behind: Future[None] | None = None
    try:
        while ahead is not None:
            group, position = ahead.result()
            begun = position < count and may_read_ahead(group, position)
            ahead = start_thread("read", read, position) if begun else None
            answer = compute(group)
            del group  # its memory, before the next one is held
            if behind is not None:
                behind.result()
            behind = start_thread("write", write, answer)
            del answer
            if position < count and ahead is None:
                ahead = start_thread("read", read, position)
        if behind is not None:
            behind.result()
    except BaseException:
        stopped.set()
        unfinished: list[Future[Any]] = [future for future in (ahead, behind) if future is not None]
        if wait(unfinished, timeout=STOP_SECONDS).not_done:
            logger.warning("stopped while a file was being read or written")
        raise
