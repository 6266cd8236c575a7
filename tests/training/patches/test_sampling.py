"""Which patch comes next: a pure function of seed and position."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.training.patches.sampling import generator_of, is_on_label, pick_case, place_patch, rank_cases


@given(st.integers(0, 2**63), st.integers(1, 30), st.integers(0, 50))
def test_each_case_comes_once_per_pass(seed: int, count: int, turn: int) -> None:
    first = turn * count
    assert sorted(pick_case(seed, first + place, count) for place in range(count)) == list(range(count))


def test_passes_differ_in_their_order() -> None:
    orders = {tuple(pick_case(0, turn * 8 + place, 8) for place in range(8)) for turn in range(10)}
    assert len(orders) == 10


@given(st.integers(0, 2**63), st.integers(0, 10**6), st.integers(1, 30))
def test_every_case_can_take_the_place_of_a_damaged_one(seed: int, position: int, count: int) -> None:
    ranked = list(rank_cases(seed, position, count))
    assert ranked[0] == pick_case(seed, position, count)
    assert sorted(ranked) == list(range(count))


def test_substitutes_are_spread_over_the_cases() -> None:
    second = Counter(list(rank_cases(3, position, 5))[1] for position in range(1000))
    assert all(second[case] == pytest.approx(200, abs=60) for case in range(5))


def test_generators_are_pure_functions_that_no_two_positions_share() -> None:
    drawn = {(seed, position): generator_of(seed, position).random() for seed in range(5) for position in range(50)}
    assert len(set(drawn.values())) == len(drawn)
    assert all(generator_of(*key).random() == value for key, value in drawn.items())


AXES = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=3, max_size=3)


@given(AXES, st.integers(0, 1000), st.data())
def test_a_patch_holds_the_voxel_it_was_put_on(axes: list[tuple[int, int]], seed: int, data: st.DataObject) -> None:
    shape, patch = zip(*axes, strict=True)
    voxel = tuple(data.draw(st.integers(0, length - 1)) for length in shape)
    start = place_patch(generator_of(seed, 0), shape, patch, [[np.array([voxel])]])
    for first, at, length, size in zip(start, voxel, shape, patch, strict=True):
        assert first <= at < first + size
        if size <= length:
            assert 0 <= first <= length - size
        else:
            assert first == -((size - length) // 2)


@given(AXES, st.integers(0, 1000))
def test_a_random_patch_stays_inside(axes: list[tuple[int, int]], seed: int) -> None:
    shape, patch = zip(*axes, strict=True)
    for first, length, size in zip(place_patch(generator_of(seed, 0), shape, patch, []), shape, patch, strict=True):
        assert 0 <= first <= length - size if size <= length else first == -((size - length) // 2)


def test_random_patches_reach_every_place() -> None:
    starts = Counter(place_patch(generator_of(0, n), (5, 4, 4), (3, 4, 4), [])[0] for n in range(600))
    assert set(starts) == {0, 1, 2}
    assert all(count == pytest.approx(200, abs=60) for count in starts.values())


def test_labels_come_equally_often_and_so_do_the_groups_of_each() -> None:
    def group(at: int, size: int) -> np.ndarray:
        return np.array([[at, at, at]] * size)

    rare, common = [group(0, 1)], [group(3, 500), group(6, 1), group(9, 20)]
    chosen = Counter(place_patch(generator_of(1, n), (11, 11, 11), (1, 1, 1), [rare, common])[0] for n in range(900))
    assert chosen[0] == pytest.approx(450, abs=70)
    assert all(chosen[at] == pytest.approx(150, abs=45) for at in (3, 6, 9))


@pytest.mark.parametrize(
    ("batch", "share", "slots"),
    # nnU-Net: sample n is put on a label unless n < round(batch (1 - share)).
    [
        (2, 0.33, {1}),
        (3, 0.33, {2}),
        (4, 0.5, {2, 3}),
        (12, 0.33, {8, 9, 10, 11}),
        (2, 0.1, {1}),
        (2, 1.0, {0, 1}),
        (4, 0.0, set()),
    ],
)
def test_share_of_a_batch_on_labels(batch: int, share: float, slots: set[int]) -> None:
    assert {slot for slot in range(batch) if is_on_label(generator_of(0, 0), slot, batch, share)} == slots


def test_a_batch_of_one_is_on_a_label_by_chance() -> None:
    drawn = [is_on_label(generator_of(5, position), 0, 1, 0.33) for position in range(2000)]
    assert np.mean(drawn) == pytest.approx(0.33, abs=0.04)
    assert not any(is_on_label(generator_of(5, position), 0, 1, 0.0) for position in range(50))
    assert all(is_on_label(generator_of(5, position), 0, 1, 1.0) for position in range(50))
