"""Sending objects to archives, by C-STORE or STOW-RS; each that an archive took is noted before the next one goes."""

from __future__ import annotations

import logging
from pathlib import Path

from medseg.core.manifest import hash_file
from medseg.tools.listen.archives import NotTakenError, open_sender
from medseg.tools.listen.queue import FAILED, SENDING, WAITING, Queue, try_record
from medseg.tools.listen.records import CaseRecord, Problem, Result
from medseg.tools.listen.rules import Rules
from medseg.tools.listen.work import end_case

logger = logging.getLogger(__name__)


def send_results(queue: Queue, name: str, rules: Rules, ae_title: str) -> bool:
    """Send what a case's rules made to their archives.

    Args:
        queue: with the case in ``sending``.
        name: the case's.
        rules: which archives.
        ae_title: of this program.
    Returns:
        True where the case came to an end; False where it should be tried again later.
    Raises:
        OSError, FormatError: the disk does not take a note, or does not give it back.
    """
    record = try_record(queue, SENDING, name)
    if record is None:
        problem = Problem(code="corrupt", reason="its case.json cannot be read", remedy="Move the case to waiting")
        end_case(queue, SENDING, name, CaseRecord(received="", instances=0, problems=(problem,)))
        return True
    # Of a case that somebody moved back, or that ended as the program did.
    problems = [problem for problem in record.problems if problem.code != "not_sent"]
    again = False
    for archive_name in _list_archives(record, rules):
        try:
            record = _send_to(queue, name, record, archive_name, rules, ae_title)
        except NotTakenError as error:
            record = queue.read_record(SENDING, name)  # which knows what was taken before
            count = record.sendings.get(archive_name, 0) + 1
            record = record.model_copy(update={"sendings": {**record.sendings, archive_name: count}})
            queue.write_record(SENDING, name, record)
            if count < rules.limits.sending_attempts:
                logger.warning("%s: not sent to %s, to be tried again: %s", name, archive_name, error)
                again = True
                continue
            reason = f"not sent to {archive_name} in {count} attempts: {error}"
            remedy = f"Look at {archive_name}, then move the case from {FAILED} to {WAITING}"
            problems.append(Problem(code="not_sent", reason=reason, remedy=remedy))
    if again:
        return False
    end_case(queue, SENDING, name, record.model_copy(update={"problems": tuple(problems)}))
    return True


def _list_archives(record: CaseRecord, rules: Rules) -> list[str]:
    """The archives that lack an object, in the order of the rules."""
    return list(dict.fromkeys(name for result in record.results for name in _list_targets(result, rules)))


def _list_targets(result: Result, rules: Rules) -> list[str]:
    """The archives that lack a result."""
    rule = rules.find(result.rule)
    return [name for name in (rule.send_to if rule else ()) if name not in result.sent]


def _send_to(queue: Queue, name: str, record: CaseRecord, archive_name: str, rules: Rules, ae_title: str) -> CaseRecord:
    """Send all that an archive lacks; the record with what it has now. Raises NotTakenError."""
    results = list(record.results)
    lacking = [place for place, result in enumerate(results) if archive_name in _list_targets(result, rules)]
    paths = [_check_file(queue.path(SENDING, name), results[place]) for place in lacking]
    with open_sender(rules.archives[archive_name], ae_title, paths) as send:
        for place, path in zip(lacking, paths, strict=True):
            send(path)
            results[place] = results[place].model_copy(update={"sent": (*results[place].sent, archive_name)})
            record = record.model_copy(update={"results": tuple(results)})
            queue.write_record(SENDING, name, record)
            logger.info("%s: sent %s to %s", name, path.name, archive_name)
    return record


def _check_file(case: Path, result: Result) -> Path:
    """A result's file, as it was written."""
    path = case / result.file
    try:
        if hash_file(path) == result.sha256:
            return path
    except OSError:
        pass
    raise NotTakenError(f"{path.name} is not what was written any more")
