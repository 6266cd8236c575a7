"""The n-th step of writing fails for every n, and disks are full at many sizes: nothing old is lost or short."""

from pathlib import Path

import pytest

from tests.faults.writes import STEPS, WRITTEN, Trial, try_every_step, try_full_disks

SIZES = 8  # scripts/soak writes tries 40


@pytest.mark.parametrize("name", WRITTEN)
def test_whichever_step_fails(name: str, tmp_path: Path) -> None:
    assert try_every_step(Trial(WRITTEN[name], tmp_path)) >= len(STEPS) - 1


@pytest.mark.parametrize("name", WRITTEN)
def test_a_full_disk(name: str, tmp_path: Path) -> None:
    assert try_full_disks(Trial(WRITTEN[name], tmp_path), SIZES) >= SIZES // 2
