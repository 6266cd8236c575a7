"""Killed at any step, a listener loses no instance that it promised to keep, and the next one goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"


def play(folder: Path, model: Path, *steps: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.tools.listen.killed", str(folder), str(model), *map(str, steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [json.loads(line) for line in ended.stdout.splitlines()]


def check(round_: dict[str, Any]) -> None:
    assert round_["code"] == -9, round_
    assert set(round_["promised"]) <= set(round_["kept"]), round_
    assert len(round_["in_the_end"]) == 5, round_
    assert (round_["done"], round_["failed"]) == ([5], []), round_
    assert round_["objects"] == [SEG, SR], round_
    assert round_["left"] == [], round_


@pytest.mark.slow
def test_a_death_at_any_step(tmp_path: Path, model: Path) -> None:
    (whole,) = play(tmp_path / "whole", model, 0)
    assert (whole["code"], whole["done"], whole["objects"]) == (0, [5], [SEG, SR])
    steps = range(1, whole["steps"] + 1)
    chosen = {12, *steps[:25:6], *steps[25::3]}
    for round_ in play(tmp_path / "killed", model, *sorted(chosen)):
        check(round_)
        assert round_["step"] != 12 or 0 < len(round_["promised"]) < 5  # in the middle of receiving
