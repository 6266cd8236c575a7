"""Listeners that are killed, and what must hold afterwards."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"


def play(folder: Path, model: Path, *steps: int) -> list[dict[str, Any]]:
    """A listener killed at each of some steps, and the next one that goes on; 0 lets it live."""
    command = [sys.executable, "-m", "tests.tools.listen.killed", str(folder), str(model), *map(str, steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [json.loads(line) for line in ended.stdout.splitlines()]


def check(round_: dict[str, Any]) -> None:
    """Whether a round ended as it should."""
    assert round_["code"] == -9, round_
    assert set(round_["promised"]) <= set(round_["kept"]), round_
    assert len(round_["in_the_end"]) == 5, round_
    assert (round_["done"], round_["failed"]) == ([5], []), round_
    assert round_["objects"] == [SEG, SR], round_
    assert round_["left"] == [], round_
