"""A training, a prediction and a choice that meet a full disk at some step go on when there is room again."""

from pathlib import Path

import pytest

from tests.faults.reruns import RERUNS, Rerun
from tests.faults.writes import STEPS

# Every so many steps; scripts/soak writes tries all of them.
STRIDE = {"training": 4, "prediction": 5, "choice": 9}


@pytest.mark.slow
@pytest.mark.parametrize("name", RERUNS)
def test_the_rerun_ends_as_an_undisturbed_run(name: str, tmp_path: Path) -> None:
    rerun = Rerun(RERUNS[name](tmp_path))
    assert sum(map(rerun.count_steps, STEPS)) > 10
    for step in STEPS:
        for number in range(1, rerun.count_steps(step) + 1, STRIDE[name]):
            rerun.attempt(step, number)
