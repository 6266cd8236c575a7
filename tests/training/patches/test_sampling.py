"""Which patch comes next: a pure function of seed and position."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.training.patches.loader import Recipe, iterate_batches, read_batch, read_padded
from medseg.training.patches.sampling import foreground_slots, generator_of, pick_case, place_patch
from tests.training.examples import ArraySource


@given(st.integers(0, 2**63), st.integers(1, 30), st.integers(0, 50))
def test_each_case_comes_once_per_pass(seed: int, count: int, turn: int) -> None:
    first = turn * count
    assert sorted(pick_case(seed, first + place, count) for place in range(count)) == list(range(count))


def test_passes_differ_in_their_order() -> None:
    orders = {tuple(pick_case(0, turn * 8 + place, 8) for place in range(8)) for turn in range(10)}
    assert len(orders) == 10


def test_generators_are_pure_functions_that_no_two_positions_share() -> None:
    drawn = {(seed, position): generator_of(seed, position).random() for seed in range(5) for position in range(50)}
    assert len(set(drawn.values())) == len(drawn)
    assert all(generator_of(*key).random() == value for key, value in drawn.items())


AXES = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=3, max_size=3)


@given(AXES, st.integers(0, 1000), st.data())
def test_a_patch_holds_the_voxel_it_was_put_on(axes: list[tuple[int, int]], seed: int, data: st.DataObject) -> None:
    shape, patch = zip(*axes, strict=True)
    voxel = tuple(data.draw(st.integers(0, length - 1)) for length in shape)
    start = place_patch(generator_of(seed, 0), shape, patch, {0: np.zeros((0, 3), np.int32), 1: np.array([voxel])})
    for first, at, length, size in zip(start, voxel, shape, patch, strict=True):
        assert first <= at < first + size
        if size <= length:
            assert 0 <= first <= length - size
        else:
            assert first == -((size - length) // 2)


@given(AXES, st.integers(0, 1000))
def test_a_random_patch_stays_inside(axes: list[tuple[int, int]], seed: int) -> None:
    shape, patch = zip(*axes, strict=True)
    for first, length, size in zip(place_patch(generator_of(seed, 0), shape, patch, None), shape, patch, strict=True):
        assert 0 <= first <= length - size if size <= length else first == -((size - length) // 2)


def test_random_patches_reach_every_place_and_labels_come_equally_often() -> None:
    starts = Counter(place_patch(generator_of(0, n), (5, 4, 4), (3, 4, 4), None)[0] for n in range(600))
    assert set(starts) == {0, 1, 2}
    assert all(count == pytest.approx(200, abs=60) for count in starts.values())
    rare = {0: np.array([[0, 0, 0]]), 1: np.array([[9, 9, 9]] * 500)}
    chosen = Counter(place_patch(generator_of(1, n), (10, 10, 10), (2, 2, 2), rare)[0] for n in range(600))
    assert chosen[0] == pytest.approx(300, abs=70)


@pytest.mark.parametrize(
    ("batch", "share", "slots"),
    # nnU-Net: sample n is put on a label unless n < round(batch (1 - share)).
    [
        (2, 0.33, {1}),
        (3, 0.33, {2}),
        (4, 0.5, {2, 3}),
        (12, 0.33, {8, 9, 10, 11}),
        (1, 0.33, {0}),
        (2, 1.0, {0, 1}),
        (4, 0.0, set()),
    ],
)
def test_share_of_a_batch_on_labels(batch: int, share: float, slots: set[int]) -> None:
    assert foreground_slots(batch, share) == slots


SOURCES = [
    ArraySource((9, 14, 12), {0: [(2, 3, 4), (2, 4, 4)], 1: [(8, 13, 11)]}, seed=0),
    ArraySource((5, 9, 20), {0: [(0, 0, 0)]}, seed=1),
    ArraySource((12, 6, 7), {}, seed=2),
]
RECIPE = Recipe((8, 8, 8), (10, 10, 10), 4, 0.5, 11)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_batches_are_the_same_whatever_the_threads(threads: int) -> None:
    for number, batch in enumerate(iterate_batches(SOURCES, RECIPE, 2, 7, threads=threads), start=2):
        expected = read_batch(SOURCES, RECIPE, number)
        assert batch.cases == expected.cases == [pick_case(11, number * 4 + slot, 3) for slot in range(4)]
        assert np.array_equal(batch.images.numpy(), expected.images.numpy())
        assert np.array_equal(batch.labels.numpy(), expected.labels.numpy())
        for a, b in zip(batch.generators, expected.generators, strict=True):
            assert a.random() == b.random()
    assert number == 6


def test_batches_without_an_end_can_be_left() -> None:
    batches = iterate_batches(SOURCES, RECIPE, 0, None, threads=2)
    assert [tuple(next(batches).images.shape) for _ in range(3)] == [(4, 1, 10, 10, 10)] * 3
    batches.close()  # type: ignore[attr-defined]


def test_a_damaged_case_is_heard_of() -> None:
    class Damaged(ArraySource):
        def read_patch(self, start: object, stop: object) -> None:  # type: ignore[override]
            raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        list(iterate_batches([Damaged((9, 9, 9))], RECIPE, 0, 2))


def test_foreground_places_hold_foreground() -> None:
    recipe = Recipe((4, 4, 4), (4, 4, 4), 4, 0.5, 0)
    for batch in iterate_batches(SOURCES[:2], recipe, 0, 8):
        assert (batch.labels[2:].flatten(1) > 0).any(1).all()


@given(st.tuples(*[st.integers(-9, 15)] * 3), st.integers(0, 2))
def test_what_lies_beyond_a_case_is_zero(start: tuple[int, int, int], index: int) -> None:
    source = SOURCES[index]
    start = tuple(min(max(s, -7), n - 1) for s, n in zip(start, source.shape, strict=True))
    image, labels = read_padded(source, start, RECIPE)
    # The same cut out of a case with a wide rim of zeros.
    rim = 20
    whole, whole_labels = np.pad(source.image, [(0, 0)] + [(rim, rim)] * 3), np.pad(source.labels, rim)
    box = tuple(slice(s - 1 + rim, s - 1 + rim + 10) for s in start)
    assert np.array_equal(image, whole[:, *box])
    assert np.array_equal(labels, whole_labels[box])
