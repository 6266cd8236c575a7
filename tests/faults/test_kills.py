"""Killed at random moments, trainings and predictions go on and end as undisturbed ones."""

from pathlib import Path

import numpy as np
import pytest

from tests.faults.kills import kill_predictions


@pytest.mark.slow
def test_predictions(tmp_path: Path) -> None:
    """Of trainings tests/training/test_killed.py does the same."""
    rounds = kill_predictions(tmp_path, np.random.default_rng(), most=4)
    assert next(rounds) + next(rounds) >= 1
