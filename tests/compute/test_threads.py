"""A loop over cases: order kept, failures told, nobody stopped."""

import logging
import threading

import pytest

from medseg.compute import map_cases
from medseg.core.errors import FormatError


def invert(value: int) -> float:
    if value == 7:
        raise FormatError("damaged", code="damaged", file="7.nii.gz")
    return 1 / value


@pytest.mark.parametrize("threads", [1, 2, 8, None])
def test_results_keep_the_order_and_failures_stop_nobody(threads: int | None) -> None:
    results, failures = map_cases(invert, [4, 0, 2, 7, 1], lambda value: f"case {value}", threads=threads)
    assert results == [0.25, 0.5, 1.0]
    assert [(failure.case, failure.status, failure.code) for failure in failures] == [
        ("case 0", "failed", "unexpected"),
        ("case 7", "refused", "damaged"),
    ]
    assert failures[1].inputs == ("7.nii.gz",)


def test_nothing_to_do() -> None:
    assert map_cases(invert, [], str) == ([], [])
    assert map_cases(invert, [], str, title="Checking") == ([], [])


def test_cases_run_side_by_side() -> None:
    # Each waits for the other: done only where both run at once.
    both = threading.Barrier(2, timeout=30)
    results, failures = map_cases(lambda value: both.wait() >= 0 and value, [1, 2], str, threads=2)
    assert (results, failures) == ([1, 2], [])


def test_each_failure_is_logged_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        map_cases(invert, [7, 1], str, threads=1)
    assert [record.getMessage() for record in caplog.records] == ["7, 7.nii.gz, damaged, damaged"]


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    results, _ = map_cases(invert, [1, 2], str, title="Checking")
    assert results == [1.0, 0.5]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_stopping_stops_the_loop(stop: type[BaseException]) -> None:
    done = []

    def work(value: int) -> int:
        if value == 0:
            raise stop
        done.append(value)
        return value

    with pytest.raises(stop):
        map_cases(work, range(200), str, threads=1)
    assert len(done) <= 199
