"""No damaged weights, checkpoint or model record is taken for a sound one; the checkpoint before is used, and said."""

import logging
from pathlib import Path

import pytest

from medseg.training import load_checkpoint
from tests.faults.hashed_files import judge_damage, make_folders

COUNT = 60


@pytest.mark.parametrize("name", ["weights", "model_record", "plan", "checkpoint", "checkpoint_record"])
def test_damage_is_found(name: str, tmp_path: Path) -> None:
    folder, kind = make_folders(tmp_path)[name]
    counts, changed = judge_damage(folder, kind, COUNT, seed=0)
    assert changed == []
    assert counts["refused"] > COUNT


def test_the_checkpoint_before_is_used_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, kind = make_folders(tmp_path)["checkpoint"]
    path = folder / kind.file
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert checkpoint.facts["epoch"] == 1
    (message,) = caplog.messages
    for part in (str(folder / "00002"), "does not match its hash", "the one before is used"):
        assert part in message
