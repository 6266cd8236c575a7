"""Cases in memory equal cases on disk."""

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import DatasetError
from medseg.preprocessing import open_prepared, prepare_case, write_prepared
from medseg.training.patches import memory_cases
from medseg.training.patches.loader import Recipe, read_batch
from medseg.training.patches.memory_cases import MemoryCase, hold_in_memory
from tests.preprocessing.examples import make_scan
from tests.training.examples import make_setting


@pytest.mark.parametrize("dimensions", [2, 3])
def test_held_cases_give_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dimensions: int) -> None:
    setting = make_setting(tmp_path, dimensions=dimensions, channels=2)
    held = hold_in_memory(setting.cases, 2)
    assert all(isinstance(case, MemoryCase) for case in held)
    monkeypatch.setattr(memory_cases, "_free_bytes", lambda: 1000.0)
    stored = hold_in_memory(setting.cases, 2)
    assert list(stored) == setting.cases
    patch = setting.configuration.patch_size
    recipe = Recipe(patch, tuple(size + 4 if size > 1 else 1 for size in patch), 3, 0.5, 7)
    for number in range(4):
        first, second = read_batch(held, recipe, number), read_batch(stored, recipe, number)
        assert np.array_equal(first.images.numpy(), second.images.numpy())
        assert np.array_equal(first.labels.numpy(), second.labels.numpy())
        assert first.cases == second.cases


def test_batches_do_not_share_memory_with_the_cases(tmp_path: Path) -> None:
    setting = make_setting(tmp_path, count=1)
    held = hold_in_memory(setting.cases, 1)
    shape = held[0].shape
    before = held[0].read_patch((0, 0, 0), shape)[0].copy()
    read_batch(held, Recipe(tuple(shape), tuple(shape), 1, 0.0, 0), 0).images.zero_()
    assert np.array_equal(held[0].read_patch((0, 0, 0), shape)[0], before)


def test_a_case_without_a_reference_is_named(tmp_path: Path) -> None:
    setting = make_setting(tmp_path, count=1)
    volume, _ = make_scan()
    write_prepared(tmp_path, "bare", prepare_case(volume, None, setting.plan, setting.configuration))
    with pytest.raises(DatasetError, match="no reference mask") as caught:
        hold_in_memory([open_prepared(tmp_path, "bare")], 1)
    assert caught.value.case == "bare"
