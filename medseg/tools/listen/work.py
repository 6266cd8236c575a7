"""Segmenting a case by each rule that fits it."""

from __future__ import annotations

import logging

from medseg.core.disk import is_disk_fault
from medseg.core.errors import ResourceError
from medseg.core.manifest import name_time, outcome_of_error
from medseg.tools.listen.applying import Models, apply_rule
from medseg.tools.listen.completeness import fit_rules
from medseg.tools.listen.fetching import NotFetchedError
from medseg.tools.listen.queue import DONE, FAILED, SENDING, WAITING, WORKING, Queue, list_instances, try_record
from medseg.tools.listen.records import CaseRecord, Problem
from medseg.tools.listen.rules import Rules

logger = logging.getLogger(__name__)

# Of a case whose segmenting ends with the program or for want of memory, so many times.
MOST_ATTEMPTS = 3


def segment_waiting(queue: Queue, name: str, rules: Rules, models: Models) -> bool:
    """Segment a case and move it on: to be sent, or among the failed ones with its reasons.

    Args:
        queue: with the case in ``waiting``.
        name: the case's.
        rules: a rule that is not there any more is a problem of the case.
        models: to load from.
    Returns:
        False where it should be tried again later; it then waits again.
    Raises:
        OSError: the disk does not take it; the case is where it was, or in ``working``.
    """
    record = _begin(queue, name, rules)
    if record.attempts > MOST_ATTEMPTS:
        problem = Problem(
            code="attempts", reason=f"the program ended {MOST_ATTEMPTS} times while it was segmented",
            remedy=f"Look at its memory, then move the case from {FAILED} to {WAITING}",
        )  # fmt: skip
        end_case(queue, WORKING, name, record.model_copy(update={"problems": (problem,)}))
        return True
    folder = queue.path(WORKING, name)
    logger.info("%s: segmenting by %s", name, ", ".join(record.rules))
    try:
        fetch = record.fetches < MOST_ATTEMPTS
        made = [apply_rule(folder, rule, rules, models, fetch=fetch) for rule in record.rules]
    except NotFetchedError as error:
        update = {"fetches": record.fetches + 1, "attempts": record.attempts - 1}
        _put_back(queue, name, record.model_copy(update=update), error)
        return False
    except (ResourceError, MemoryError, OSError) as error:
        _put_back(queue, name, record, error)
        return False
    except BaseException:  # the program is told to end: that is no fault of the case
        queue.write_record(WORKING, name, record.model_copy(update={"attempts": record.attempts - 1}))
        raise
    record = record.model_copy(
        update={
            "results": tuple(result for own in made for result in own.results),
            "problems": tuple(problem for own in made for problem in own.problems),
            "notes": tuple(note for own in made for note in own.notes),
        }
    )
    if not record.results:
        end_case(queue, WORKING, name, record)
        return True
    queue.write_record(WORKING, name, record)
    queue.advance(name, WORKING, SENDING)
    return True


def end_case(queue: Queue, state: str, name: str, record: CaseRecord) -> None:
    """Move a case to ``done``, or to ``failed`` where something of it is missing, and say why."""
    queue.write_record(state, name, record.model_copy(update={"ended": name_time()}))
    queue.advance(name, state, FAILED if record.problems else DONE)
    for problem in record.problems:
        logger.error("%s: failed: %s", name, problem.line())
    if not record.problems:
        logger.info("%s: done, %d objects", name, len(record.results))


def _begin(queue: Queue, name: str, rules: Rules) -> CaseRecord:
    """Note that segmenting a case begins; a case that had ended before, which somebody moved back, begins anew."""
    record = try_record(queue, WAITING, name)
    if record is None or record.ended is not None:
        folder = queue.path(WAITING, name)
        count = len(list_instances(folder))
        record = CaseRecord(received=name_time(), instances=count, rules=fit_rules(folder, rules))
    record = record.model_copy(update={"attempts": record.attempts + 1})
    queue.write_record(WAITING, name, record)
    queue.advance(name, WAITING, WORKING)
    return record


def _put_back(queue: Queue, name: str, record: CaseRecord, error: Exception) -> None:
    outcome = outcome_of_error(error)
    logger.error("%s: to be tried again: %s", name, outcome.reason)
    if is_disk_fault(error):  # which is no case's
        record = record.model_copy(update={"attempts": record.attempts - 1})
    elif record.attempts >= MOST_ATTEMPTS:
        problem = Problem(code=outcome.code, reason=outcome.reason, remedy=outcome.remedy)
        end_case(queue, WORKING, name, record.model_copy(update={"problems": (problem,)}))
        return
    queue.write_record(WORKING, name, record)
    queue.advance(name, WORKING, WAITING)
