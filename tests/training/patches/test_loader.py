"""Batches: the same whatever the threads, the processes and where reading begins."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.training.patches.loader import Batch, Recipe, count_threads, iterate_batches
from medseg.training.patches.reading import read_batch, read_padded
from medseg.training.patches.sampling import pick_case
from tests.training.examples import ArraySource

SOURCES = [
    ArraySource((9, 14, 12), {0: [(2, 3, 4), (2, 4, 4)], 1: [(8, 13, 11)]}, seed=0, name="a"),
    ArraySource((5, 9, 20), {0: [(0, 0, 0)]}, seed=1, name="b"),
    ArraySource((12, 6, 7), {}, seed=2, name="c"),
]
RECIPE = Recipe((8, 8, 8), (10, 10, 10), 4, 0.5, 11)


def same(first: Batch, second: Batch) -> bool:
    return (
        first.cases == second.cases
        and torch.equal(first.images, second.images)
        and torch.equal(first.labels, second.labels)
        and all(a.random() == b.random() for a, b in zip(first.generators, second.generators, strict=True))
    )


@pytest.mark.parametrize("threads", [None, 1, 2, 5])
def test_batches_are_the_same_whatever_the_threads(threads: int | None) -> None:
    for number, batch in enumerate(iterate_batches(SOURCES, RECIPE, 2, 7, threads=threads), start=2):
        expected = read_batch(SOURCES, RECIPE, number)
        assert batch.cases == [pick_case(11, number * 4 + slot, 3) for slot in range(4)]
        assert same(batch, expected)
    assert number == 6


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_processes_share_the_batch_of_one(ranks: int) -> None:
    whole = read_batch(SOURCES, RECIPE, 5)
    for rank in range(ranks):
        own = Recipe((8, 8, 8), (10, 10, 10), 4, 0.5, 11, rank=rank, ranks=ranks)
        share = read_batch(SOURCES, own, 5)
        assert share.cases == whole.cases[rank::ranks]
        assert torch.equal(share.images, whole.images[rank::ranks])
        assert torch.equal(share.labels, whole.labels[rank::ranks])


def test_batches_without_an_end_can_be_left() -> None:
    batches = iterate_batches(SOURCES, RECIPE, 0, None, threads=2)
    assert [tuple(next(batches).images.shape) for _ in range(3)] == [(4, 1, 10, 10, 10)] * 3
    batches.close()  # type: ignore[attr-defined]


def test_a_set_smaller_than_a_batch_repeats_its_cases() -> None:
    for batch in iterate_batches(SOURCES[:2], Recipe((4, 4, 4), (4, 4, 4), 5, 0.4, 0), 0, 6):
        assert len(batch.cases) == 5
        assert set(batch.cases) == {0, 1}
    alone = next(iterate_batches(SOURCES[:1], RECIPE, 0, None))
    assert alone.cases == [0, 0, 0, 0]
    assert not torch.equal(alone.images[0], alone.images[1])


def test_foreground_places_hold_foreground() -> None:
    recipe = Recipe((4, 4, 4), (4, 4, 4), 4, 0.5, 0)
    for batch in iterate_batches(SOURCES[:2], recipe, 0, 8):
        assert (batch.labels[2:].flatten(1) > 0).any(1).all()


@given(st.tuples(*[st.integers(-9, 15)] * 3), st.integers(0, 2))
def test_what_lies_beyond_a_case_is_zero(start: tuple[int, int, int], index: int) -> None:
    source = SOURCES[index]
    first = tuple(min(max(s, -7), n - 1) for s, n in zip(start, source.shape, strict=True))
    image, labels = read_padded(source, first, RECIPE)
    # The same cut out of a case with a wide rim of zeros.
    rim = 20
    whole, whole_labels = np.pad(source.image, [(0, 0)] + [(rim, rim)] * 3), np.pad(source.labels, rim)
    box = tuple(slice(s - 1 + rim, s - 1 + rim + 10) for s in first)
    assert np.array_equal(image, whole[:, *box])
    assert np.array_equal(labels, whole_labels[box])


def test_a_network_on_the_cpu_keeps_its_cores() -> None:
    assert count_threads(torch.device("cpu")) == 1
    assert 1 <= count_threads(torch.device("cuda")) <= 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gets_the_same_batches() -> None:
    device = torch.device("cuda")
    for number, batch in enumerate(iterate_batches(SOURCES, RECIPE, 0, 8, device=device)):
        expected = read_batch(SOURCES, RECIPE, number)
        assert batch.images.device.type == batch.labels.device.type == "cuda"
        assert torch.equal(batch.images.cpu(), expected.images)
        assert torch.equal(batch.labels.cpu(), expected.labels)
    assert number == 7
