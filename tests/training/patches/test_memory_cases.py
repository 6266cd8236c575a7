"""Cases in memory equal cases on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medseg.preprocessing import PreparedCase, open_prepared, prepare_case, write_prepared
from medseg.training.patches import memory_cases
from medseg.training.patches.loader import Recipe
from medseg.training.patches.memory_cases import MemoryCase, hold_in_memory
from medseg.training.patches.reading import read_batch
from tests.preprocessing.examples import make_scan
from tests.training.examples import make_setting


@pytest.mark.parametrize("dimensions", [2, 3])
def test_held_cases_give_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dimensions: int) -> None:
    setting = make_setting(tmp_path, dimensions=dimensions, channels=2)
    held = hold_in_memory(setting.cases)
    assert all(isinstance(case, MemoryCase) for case in held)
    monkeypatch.setattr(memory_cases, "read_free_bytes", lambda: 1000)
    stored = hold_in_memory(setting.cases)
    assert list(stored) == setting.cases
    patch = setting.configuration.patch_size
    recipe = Recipe(patch, tuple(size + 4 if size > 1 else 1 for size in patch), 3, 0.5, 7)
    for number in range(4):
        first, second = read_batch(held, recipe, number), read_batch(stored, recipe, number)
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)
        assert first.cases == second.cases


def test_what_is_held_is_as_narrow_as_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = make_setting(tmp_path, count=2).cases
    held = hold_in_memory(cases)
    arrays = [array for case in held if isinstance(case, MemoryCase) for array in (case.stored, case.reference)]
    assert {array.dtype.itemsize for array in arrays} <= {1, 2}
    needed = sum(case.count_bytes() for case in cases)
    assert sum(array.nbytes for array in arrays) == needed
    # The set fits exactly, or not by a byte.
    for free, processes, fits in [(needed, 1, True), (needed - 1, 1, False), (needed, 2, False), (2 * needed, 2, True)]:
        monkeypatch.setattr(memory_cases, "SHARE_OF_FREE_MEMORY", 1.0)
        monkeypatch.setattr(memory_cases, "read_free_bytes", lambda free=free: free)
        assert isinstance(hold_in_memory(cases, processes=processes)[0], MemoryCase) == fits


def test_batches_do_not_share_memory_with_the_cases(tmp_path: Path) -> None:
    held = hold_in_memory(make_setting(tmp_path, count=1).cases)
    shape = held[0].shape
    before, labels = (array.copy() for array in held[0].read_patch((0, 0, 0), shape) if array is not None)
    batch = read_batch(held, Recipe(tuple(shape), tuple(shape), 1, 0.0, 0), 0)
    batch.images.zero_()
    batch.labels.zero_()
    image, reference = held[0].read_patch((0, 0, 0), shape)
    assert np.array_equal(image, before)
    assert np.array_equal(reference, labels)  # type: ignore[arg-type]


def test_a_case_that_cannot_be_held_stays_as_it_is(tmp_path: Path) -> None:
    setting = make_setting(tmp_path, count=2)
    volume, _ = make_scan()
    write_prepared(tmp_path, "bare", prepare_case(volume, None, setting.plan, setting.configuration))
    (setting.folder / "prepared" / "case1.b2nd").write_bytes(b"damaged")
    cases = [*setting.cases, open_prepared(tmp_path, "bare")]
    kinds = [type(case) for case in hold_in_memory(cases)]
    assert kinds == [MemoryCase, PreparedCase, PreparedCase]
