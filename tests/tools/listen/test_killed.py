"""Killed at any step, a listener loses no instance that it promised to keep, and the next one goes on."""

from pathlib import Path

import pytest

from tests.tools.listen.deaths import SEG, SR, check, play


@pytest.mark.slow
def test_a_death_at_any_step(tmp_path: Path, model: Path) -> None:
    """At some steps; scripts/soak takes all of them."""
    (whole,) = play(tmp_path / "whole", model, 0)
    assert (whole["code"], whole["done"], whole["objects"]) == (0, [5], [SEG, SR])
    chosen = {12, *range(1, whole["steps"] + 1, 8)}
    for round_ in play(tmp_path / "killed", model, *sorted(chosen)):
        check(round_)
        assert round_["step"] != 12 or 0 < len(round_["promised"]) < 5  # in the middle of receiving
