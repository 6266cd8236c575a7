"""What becomes of a case whose segmenting does not end, or that lacks what a rule asks for."""

from pathlib import Path

import pytest

from medseg.core import atomic
from medseg.core.locks import hold_lock
from medseg.tools.listen.applying import Models
from medseg.tools.listen.queue import Queue
from medseg.tools.listen.records import CaseRecord
from medseg.tools.listen.rules import Rules
from medseg.tools.listen.service import Listener
from medseg.tools.listen.work import MOST_ATTEMPTS, segment_waiting
from tests.tools.listen.examples import write_rules, write_series


def make_case(folder: Path, record: CaseRecord) -> Queue:
    queue = Queue(folder / "queue")
    write_series(folder / "queue" / "waiting" / "a" / "scans" / "s")
    queue.write_record("waiting", "a", record)
    return queue


def make_record(*rules: str, attempts: int = 0, fetches: int = 0) -> CaseRecord:
    return CaseRecord(received="then", instances=5, rules=rules, attempts=attempts, fetches=fetches)


class _Ended(BaseException):
    """The program is told to end."""


def test_a_case_that_ends_the_program_again_and_again_is_given_up(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model)
    queue = make_case(tmp_path, make_record("organ", attempts=MOST_ATTEMPTS))
    assert segment_waiting(queue, "a", rules, Models("cpu"))
    (problem,) = queue.read_record("failed", "a").problems
    assert "ended 3 times" in problem.reason


def test_a_program_that_is_told_to_end_does_not_count(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model)
    queue = make_case(tmp_path, make_record("organ"))

    def end(step: str, path: Path) -> None:
        if path.name == "run.json":
            raise _Ended

    with pytest.raises(_Ended), atomic.fault_hook(end):
        segment_waiting(queue, "a", rules, Models("cpu"))
    listener = start_again(tmp_path, rules)
    assert listener.queue.read_record("waiting", "a").attempts == 0
    while listener.step():
        pass
    assert listener.queue.list_cases("done") == ["a"]


def start_again(folder: Path, rules: Rules) -> Listener:
    return Listener(Queue(folder / "queue"), rules, "MEDSEG", 0.1, Models("cpu"))


def test_want_of_something_is_waited_for_some_times(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model)
    make_case(tmp_path, make_record("organ"))
    listener = start_again(tmp_path, rules)
    # Somebody else uses the folder of the results; the lock moves with the case.
    with hold_lock(listener.queue.path("waiting", "a") / "results" / "organ" / ".lock", "somebody else"):
        for attempt in range(1, MOST_ATTEMPTS):
            assert not listener.step()
            assert listener.queue.read_record("waiting", "a").attempts == attempt
            assert not listener.step()  # it rests
            assert listener.queue.read_record("waiting", "a").attempts == attempt
            listener.rest_no_more()
        listener.step()
    assert listener.queue.read_record("failed", "a").problems[0].code == "in_use"


def test_a_rule_that_was_taken_out_is_a_reason(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model)
    queue = make_case(tmp_path, make_record("organ", "gone"))
    assert segment_waiting(queue, "a", rules, Models("cpu"))
    record = queue.read_record("sending", "a")
    assert len(record.results) == 2
    assert [problem.rule for problem in record.problems] == ["gone"]
    listener = start_again(tmp_path, rules)
    listener.step()
    assert listener.queue.list_cases("failed") == ["a"]


def test_without_earlier_studies_it_goes_on_in_the_end(tmp_path: Path, model: Path) -> None:
    rules = write_rules(
        tmp_path / "rules.json", model, archives={"web": {"url": "http://127.0.0.1:1/dicom-web"}},
        rule={"earlier": {"archive": "web"}},
    )  # fmt: skip
    make_case(tmp_path, make_record("organ"))
    listener = start_again(tmp_path, rules)
    for fetches in range(1, 4):
        assert not listener.step()
        record = listener.queue.read_record("waiting", "a")
        assert (record.fetches, record.attempts) == (fetches, 0)
        listener.rest_no_more()
    while listener.step():
        pass
    record = listener.queue.read_record("done", "a")
    assert record.notes == ("organ: without earlier studies: web did not give them",)


def test_a_record_that_cannot_be_read_is_made_anew(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model)
    queue = make_case(tmp_path, make_record("organ"))
    (queue.path("waiting", "a") / "case.json").write_text("{")
    assert segment_waiting(queue, "a", rules, Models("cpu"))
    assert queue.read_record("sending", "a").rules == ("organ",)
