"""Work shared among threads: all of it, in order, one of PyTorch's threads in each."""

from __future__ import annotations

import threading

import pytest
import torch

from medseg.inference.engines.threads import (
    APART_VOXELS,
    choose_apart,
    compute_apart,
    compute_each,
    is_one_of_many,
    share_out,
)
from tests.inference.engines.examples import with_threads


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("count", "multiple"), [(0, 1), (1, 1), (7, 1), (64, 8), (9, 8), (3, 8)])
def test_all_of_it_is_done_once(threads: int, count: int, multiple: int) -> None:
    done: list[tuple[int, int]] = []
    with with_threads(threads):
        share_out(lambda first, last: done.append((first, last)), count, multiple)
    assert sorted(step for first, last in done for step in range(first, last)) == list(range(count))
    assert all(first % multiple == 0 for first, _ in done)
    assert len(done) <= threads


def test_each_thread_is_alone_and_begins_no_others() -> None:
    def look(item: int) -> tuple[int, bool, int, str]:
        inner: list[tuple[int, int]] = []
        share_out(lambda first, last: inner.append((first, last)), 100)  # must not wait for threads that wait for it
        assert inner == [(0, 100)]
        return item, is_one_of_many(), torch.get_num_threads(), threading.current_thread().name

    with with_threads(2):
        found = compute_each(look, range(8))
        assert not is_one_of_many()
        assert torch.get_num_threads() == 2
        assert compute_apart(look, 3)[:3] == (3, True, 1)
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert [item for item, *_ in found] == list(range(8))
    assert {(alone, threads) for _, alone, threads, _ in found} == {(True, 1)}
    assert later == [2]  # other threads have what they would have had


def test_what_is_raised_in_a_thread_is_raised_here() -> None:
    def fail(item: int) -> int:
        raise ValueError(f"item {item}")

    with with_threads(2), pytest.raises(ValueError, match="item 0"):
        compute_each(fail, [0, 1])


def test_windows_are_computed_apart_unless_they_are_large() -> None:
    with with_threads(2):
        assert choose_apart([(40, 56, 40)]) == 2
        assert choose_apart([(40, 56, 40), (1, 1, APART_VOXELS // 2 + 1)]) == 1
    with with_threads(1):
        assert choose_apart([(40, 56, 40)]) == 1
