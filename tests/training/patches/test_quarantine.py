"""One damaged case never stops a training, and what takes its place is always the same."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.training.patches.loader import Batch, Recipe, Source, iterate_batches
from medseg.training.patches.memory_cases import hold_in_memory
from medseg.training.patches.quarantine import Quarantine
from medseg.training.patches.reading import read_batch
from tests.preprocessing.examples import CLASSES
from tests.training.examples import ArraySource, Setting, make_setting

RECIPE = Recipe((6, 6, 6), (8, 8, 8), 3, 0.5, 11, labels=CLASSES)


@dataclass(frozen=True)
class Damaged(ArraySource):
    """Patches that reach into the second half of the first axis cannot be read."""

    def read_patch(self, start: Sequence[int], stop: Sequence[int]) -> object:  # type: ignore[override]
        if stop[0] > self.shape[0] // 2:
            raise ValueError("broken block")
        return super().read_patch(start, stop)


def make_sources(damaged: Sequence[int] = (2,)) -> list[Source]:
    kinds = [Damaged if index in damaged else ArraySource for index in range(5)]
    return [kind((20, 9, 9), {0: [(3, 4, 4)]}, index, f"case{index}") for index, kind in enumerate(kinds)]


def digest(batches: Sequence[Batch]) -> list[tuple[list[int], float, float]]:
    """What a training would see of them."""
    return [(b.cases, b.images.double().sum().item(), [g.random() for g in b.generators][-1]) for b in batches]


def test_the_case_is_named_once_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    quarantine = Quarantine()
    batches = list(iterate_batches(make_sources(), RECIPE, 0, 40, quarantine=quarantine))
    assert [record.getMessage() for record in caplog.records] == ["case2, unexpected, ValueError: broken block"]
    named = [outcome for batch in batches for outcome in batch.failures]
    assert named == quarantine.outcomes
    assert [outcome.line() for outcome in named] == ["case2, unexpected, ValueError: broken block"]
    found = next(number for number, batch in enumerate(batches) if batch.failures)
    assert all(2 not in batch.cases for batch in batches[found + 1 :])
    assert len(batches) == 40
    assert all(len(batch.cases) == 3 for batch in batches)


@pytest.mark.parametrize("threads", [2, 7])
def test_the_sequence_is_the_same_with_any_number_of_threads(threads: int) -> None:
    expected = digest(list(iterate_batches(make_sources(), RECIPE, 0, 40, threads=1)))
    assert digest(list(iterate_batches(make_sources(), RECIPE, 0, 40, threads=threads))) == expected


@pytest.mark.parametrize("stopped_at", [1, 3, 10, 25])
def test_going_on_is_exact_where_the_quarantine_is_kept(stopped_at: int) -> None:
    expected = digest(list(iterate_batches(make_sources((1, 2)), RECIPE, 0, 40)))
    first = Quarantine()
    before = list(
        itertools.islice(iterate_batches(make_sources((1, 2)), RECIPE, 0, None, quarantine=first), stopped_at)
    )
    again = Quarantine()
    again.load(json.loads(json.dumps(first.facts)))
    after = list(iterate_batches(make_sources((1, 2)), RECIPE, stopped_at, 40, quarantine=again))
    assert digest([*before, *after]) == expected
    assert set(first) <= set(again)


def test_samples_of_sound_cases_do_not_change() -> None:
    sound = list(iterate_batches(make_sources(()), RECIPE, 0, 40))
    for before, after in zip(sound, iterate_batches(make_sources((2,)), RECIPE, 0, 40), strict=True):
        for slot, case in enumerate(before.cases):
            if case != 2:
                assert after.cases[slot] == case
                assert torch.equal(after.images[slot], before.images[slot])


def test_what_takes_its_place_does_not_depend_on_when_the_damage_is_known() -> None:
    broken = [ArraySource((20, 9, 9), {}, index, f"case{index}") for index in range(5)]
    broken[3] = Damaged((1, 9, 9), {}, 3, "case3")  # no patch of it can be read
    known = [read_batch(broken, RECIPE, number, {"case3"}) for number in range(20)]
    found = list(iterate_batches(broken, RECIPE, 0, 20))
    assert digest(found) == digest(known)
    assert any(3 in batch.cases for batch in iterate_batches(make_sources(()), RECIPE, 0, 20))


def test_when_every_case_is_damaged_it_stops_and_says_so() -> None:
    quarantine = Quarantine()
    with pytest.raises(DatasetError, match="none of its 5 cases can be read; the first: case") as caught:
        list(iterate_batches(make_sources(range(5)), RECIPE, 0, 200, quarantine=quarantine))
    assert caught.value.code == "no_cases"
    assert caught.value.remedy
    assert sorted(quarantine) == [f"case{index}" for index in range(5)]


def test_running_out_of_memory_is_nobodys_damage() -> None:
    class Greedy(ArraySource):
        def read_patch(self, start: Sequence[int], stop: Sequence[int]) -> object:  # type: ignore[override]
            raise MemoryError

    sources: list[Source] = [Greedy((9, 9, 9)), *make_sources(())]  # type: ignore[list-item]
    with pytest.raises(MemoryError):
        list(iterate_batches(sources, RECIPE, 0, 10))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_damage(value: float) -> None:
    class Bad(ArraySource):
        @property
        def image(self) -> np.ndarray:
            return np.full((1, *self.shape), value, np.float32)

    batches = list(iterate_batches([Bad((9, 9, 9), name="bad"), *make_sources(())], RECIPE, 0, 10))
    assert [outcome.code for batch in batches for outcome in batch.failures] == ["damaged"]


def test_a_label_that_nobody_wrote_is_damage() -> None:
    bad = ArraySource((9, 9, 9), {250: [(4, 4, 4)]}, 0, "bad")
    recipe = replace(RECIPE, labels=LabelScheme.make({"organ": 1, "tumour": 3}))
    batches = list(iterate_batches([bad, *make_sources(())], recipe, 0, 10))
    assert [outcome.case for batch in batches for outcome in batch.failures] == ["bad"]


DAMAGE = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeros": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "other": lambda path: path.write_bytes(path.with_name("small.b2nd").read_bytes()),
}


def damage(setting: Setting, how: str, file: str) -> Path:
    """Break a file of the second case; ``other`` puts an array of another shape there."""
    import blosc2

    folder = setting.folder / "prepared"
    blosc2.asarray(np.zeros((1, 3, 3, 3), np.float16), urlpath=str(folder / "small.b2nd"), mode="w")
    DAMAGE[how](folder / file)
    return folder / file


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("file", ["case1.b2nd", "case1.reference.b2nd"])
@pytest.mark.parametrize("held", [False, True])
def test_a_damaged_file_is_named_with_its_remedy(tmp_path: Path, how: str, file: str, held: bool) -> None:
    setting = make_setting(tmp_path)
    path = damage(setting, how, file)
    quarantine = Quarantine()
    sources = hold_in_memory(setting.cases) if held else setting.cases
    batches = list(iterate_batches(sources, RECIPE, 0, 6, quarantine=quarantine))
    assert len(batches) == 6
    (outcome,) = quarantine.outcomes
    assert (outcome.case, outcome.status, outcome.code) == ("case1", "refused", "damaged")
    assert outcome.inputs == (str(path),)
    assert outcome.remedy == "Delete it and run medseg preprocess again"


def test_held_and_stored_cases_give_one_sequence_with_a_damaged_one(tmp_path: Path) -> None:
    setting = make_setting(tmp_path)
    damage(setting, "cut", "case1.b2nd")
    first, second = (
        list(iterate_batches(sources, RECIPE, 0, 10)) for sources in (hold_in_memory(setting.cases), setting.cases)
    )
    assert digest(first) == digest(second)
