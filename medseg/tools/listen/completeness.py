"""When a case is complete: nothing of it has come for a while; what comes later joins it, and it is done anew."""

from __future__ import annotations

import logging
from pathlib import Path

from medseg.core.errors import MedsegError
from medseg.core.manifest import name_time
from medseg.tools.listen.instances import Facts, read_facts
from medseg.tools.listen.queue import (
    DONE,
    FAILED,
    RECEIVING,
    UNUSED,
    WAITING,
    Queue,
    is_news,
    list_instances,
    list_series,
)
from medseg.tools.listen.records import CaseRecord
from medseg.tools.listen.rules import Rules

logger = logging.getLogger(__name__)


def collect_complete(queue: Queue, rules: Rules, after_s: float) -> int:
    """Move every case of which nothing has come for a while to where it is worked on.

    Args:
        queue: of which ``receiving`` is looked through.
        rules: a case that none fits goes to ``unused``.
        after_s: how long nothing has to have come, in seconds.
    Returns:
        how many cases were moved or joined.
    """
    count = 0
    for name in queue.list_cases(RECEIVING):
        if queue.is_quiet(name, after_s) and not queue.drop_empty(name, after_s):
            state = queue.find(name)
            count += _begin(queue, name, rules, after_s) if state is None else _join(queue, name, state, rules, after_s)
    return count


def fit_rules(case: Path, rules: Rules) -> tuple[str, ...]:
    """The names of the rules that some series of a case fits."""
    series = read_series_facts(case)
    return tuple(rule.name for rule in rules.rules if any(rule.fits(facts) for facts in series))


def read_series_facts(case: Path) -> list[Facts]:
    """What the first instance of each of a case's series says; one that cannot be read any more says nothing."""
    found = []
    for folder in list_series(case):
        for path in sorted(folder.glob("*.dcm"))[:1]:
            try:
                found.append(read_facts(path))
            except MedsegError:
                logger.exception("%s: an instance cannot be read any more", case.name)
    return found


def _begin(queue: Queue, name: str, rules: Rules, after_s: float) -> bool:
    folder = queue.path(RECEIVING, name)
    fitting = fit_rules(folder, rules)
    record = CaseRecord(received=name_time(), instances=len(list_instances(folder)), rules=fitting)
    if not fitting:
        record = record.model_copy(update={"notes": ("no rule fits any of its series",), "ended": name_time()})
    queue.write_record(RECEIVING, name, record)
    if not queue.take_complete(name, after_s, WAITING if fitting else UNUSED):
        return False
    logger.info("%s: %d instances, %s", name, record.instances, _name_rules(fitting))
    return True


def _join(queue: Queue, name: str, state: str, rules: Rules, after_s: float) -> bool:
    """Put what came late to the rest of its case; what is new, or had failed, is segmented again."""
    late, folder = queue.path(RECEIVING, name), queue.path(state, name)
    again = is_news(late, folder) or state == FAILED
    if again:
        fitting = tuple(dict.fromkeys((*fit_rules(folder, rules), *fit_rules(late, rules))))
        files = {path.relative_to(case) for case in (folder, late) for path in list_instances(case)}
        record = CaseRecord(received=name_time(), instances=len(files), rules=fitting)
        if not fitting:
            record = record.model_copy(update={"notes": ("no rule fits any of its series",), "ended": name_time()})
        queue.write_record(state, name, record)
        target = WAITING if fitting else UNUSED
        if state != target:
            queue.advance(name, state, target)
        folder = queue.path(target, name)
    if not queue.take_files(name, after_s, folder):
        return False  # more of it is coming; until then it is not begun
    if again:
        logger.info("%s: joined by what came later, now %d instances, %s", name, record.instances, _name_rules(fitting))
    elif state == DONE:
        logger.info("%s: came again, is done already", name)
    return True


def _name_rules(names: tuple[str, ...]) -> str:
    return f"by rule {', '.join(names)}" if names else "no rule fits: not used"
