"""Work on a processor shared among threads of one process, each of which computes alone."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# Windows that are computed at the same time on a processor hold so many voxels at most: about 1 GB in a usual U-Net.
# Larger windows have layers so large that all threads work on one about as well.
APART_VOXELS = 2**21

_own = threading.local()


def choose_apart(patch_sizes: Iterable[Sequence[int]]) -> int:
    """How many windows are computed at the same time on a processor, a thread for each.

    Args:
        patch_sizes: the windows of all networks that will run.
    Returns:
        PyTorch's number of threads; 1, all threads for one window, where so many windows would take much memory.
    """
    threads = torch.get_num_threads()
    largest = max(math.prod(size) for size in patch_sizes)
    return threads if threads * largest <= APART_VOXELS else 1


def is_one_of_many() -> bool:
    """Whether this thread computes for one in which PyTorch may use several."""
    return hasattr(_own, "threads")


def count_threads() -> int:
    """How many threads PyTorch may use: in one of many, those of the thread for which it computes."""
    threads: int = _own.threads if is_one_of_many() else torch.get_num_threads()
    return threads


def share_out(work: Callable[[int, int], None], count: int, multiple: int = 1) -> None:
    """Do work in parts, as many at a time as this thread may use PyTorch's threads.

    Args:
        work: called with ``first, last`` for parts of ``range(count)``, in several threads; in each PyTorch uses one.
        count: how much there is.
        multiple: parts begin at its multiples.
    """
    threads = 1 if is_one_of_many() else torch.get_num_threads()
    step = max(1, -(-count // (threads * multiple))) * multiple
    if threads == 1 or step >= count:
        work(0, count)
        return
    parts = [_pool(threads).submit(_compute, work, start, min(start + step, count)) for start in range(0, count, step)]
    for part in parts:
        part.result()


def compute_each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """A function's answers to some items, as many at a time as this thread may use PyTorch's threads.

    Args:
        function: called in several threads, in each of which PyTorch uses one.
        items: what it is called with.
    Returns:
        the answers in order of the items.
    """
    pool = _pool(torch.get_num_threads())
    waiting = [pool.submit(_compute, function, item) for item in items]
    return [each.result() for each in waiting]


def compute_apart(function: Callable[[Item], Result], item: Item) -> Result:
    """A function's answer in one of the threads that ``compute_each`` uses."""
    return _pool(torch.get_num_threads()).submit(_compute, function, item).result()


def _compute(function: Callable[..., Result], *arguments: object) -> Result:
    with torch.inference_mode():  # holds for one thread
        return function(*arguments)


def _begin(threads: int) -> None:
    torch.get_num_threads()  # a thread's first look at it sets it to what was set last in any thread
    torch.set_num_threads(1)
    _own.threads = threads


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads in which PyTorch uses no others."""
    pool = ThreadPoolExecutor(threads, "engine", initializer=_begin, initargs=(threads,))
    # All begin now: what they set is also what PyTorch would give to threads that begin later, until it is set back.
    together = threading.Barrier(threads)
    for started in [pool.submit(together.wait) for _ in range(threads)]:
        started.result()
    torch.set_num_threads(torch.get_num_threads())
    return pool
