"""When a case is complete: nothing of it has come for a while; what comes later joins it, and it is done anew."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import MedsegError, show_name
from medseg.core.manifest import name_time
from medseg.io.dicom.header_reading import read_header
from medseg.io.dicom.kinds import IMAGE, name_kind
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
    try_record,
)
from medseg.tools.listen.records import CaseRecord
from medseg.tools.listen.rules import Rules

logger = logging.getLogger(__name__)


def collect_complete(queue: Queue, name: str, rules: Rules, after_s: float) -> bool:
    """Move a case of which nothing has come for a while to where it is worked on, or join it to the rest of it.

    Args:
        queue: with the case in ``receiving``.
        name: the case's.
        rules: a case that none fits goes to ``unused``.
        after_s: how long nothing has to have come, in seconds.
    Returns:
        whether it was moved or joined.
    Raises:
        OSError: the disk does not take it; it is still there.
    """
    if not queue.is_quiet(name, after_s) or queue.drop_empty(name, after_s):
        return False
    state = queue.find(name)
    return _begin(queue, name, rules, after_s) if state is None else _join(queue, name, state, rules, after_s)


@dataclass(frozen=True)
class ReceivedSeries:
    """A series of a case.

    Args:
        folder: of its instances.
        facts: what one of them says: a plane of a scan where there is one.
        reason: why it is no scan, such as a localizer; empty where it is one.
    """

    folder: Path
    facts: Facts
    reason: str


def fit_rules(case: Path, rules: Rules) -> tuple[str, ...]:
    """The names of the rules that some scan of a case fits."""
    scans = [series.facts for series in list_received(case) if not series.reason]
    return tuple(rule.name for rule in rules.rules if any(rule.fits(facts) for facts in scans))


def list_received(case: Path) -> list[ReceivedSeries]:
    """The series of a case; localizers, reports, pictures and masks are no scans."""
    return [series for folder in list_series(case) if (series := _look_at(folder)) is not None]


def _look_at(folder: Path) -> ReceivedSeries | None:
    found: ReceivedSeries | None = None
    for path in sorted(folder.glob("*.dcm")):
        try:
            facts = read_facts(path)
        except MedsegError as error:
            logger.error("%s: an instance cannot be read any more: %s", folder.parent.parent.name, error.reason)
            continue
        reason = _find_reason(path)
        if not reason:
            return ReceivedSeries(folder, facts, "")
        found = found or ReceivedSeries(folder, facts, reason)
    return found


def _find_reason(path: Path) -> str:
    """Why an instance is no plane of a scan; empty where it is one, or one that will be refused with its reason."""
    header = read_header(path).header
    kind, reason = (IMAGE, "") if header is None else name_kind(header)
    return reason if kind == IMAGE else reason or f"it is a {kind}"


def _tell_unused(case: Path) -> tuple[str, ...]:
    reasons = dict.fromkeys(series.reason for series in list_received(case) if series.reason)
    return ("no rule fits any of its series", *(f"a series is no scan to segment: {reason}" for reason in reasons))


def _begin(queue: Queue, name: str, rules: Rules, after_s: float) -> bool:
    folder = queue.path(RECEIVING, name)
    fitting = fit_rules(folder, rules)
    record = CaseRecord(received=name_time(), instances=len(list_instances(folder)), rules=fitting)
    if not fitting:
        record = record.model_copy(update={"notes": _tell_unused(folder), "ended": name_time()})
    kinds = ", ".join(sorted({series.facts.modality[:16] or "no modality" for series in list_received(folder)}))
    queue.write_record(RECEIVING, name, record)
    if not queue.take_complete(name, after_s, WAITING if fitting else UNUSED):
        return False
    logger.info("%s: %d instances of %s, %s", name, record.instances, show_name(kinds), _name_rules(record))
    return True


def _join(queue: Queue, name: str, state: str, rules: Rules, after_s: float) -> bool:
    """Put what came late to the rest of its case; what is new, had failed, or fits other rules is done again."""
    late, folder = queue.path(RECEIVING, name), queue.path(state, name)
    fitting = tuple(dict.fromkeys((*fit_rules(folder, rules), *fit_rules(late, rules))))
    before = try_record(queue, state, name)
    again = is_news(late, folder) or state == FAILED or before is None or set(before.rules) != set(fitting)
    if again:
        files = {path.relative_to(case) for case in (folder, late) for path in list_instances(case)}
        record = CaseRecord(received=name_time(), instances=len(files), rules=fitting)
        if not fitting:
            record = record.model_copy(update={"notes": _tell_unused(late), "ended": name_time()})
        queue.write_record(state, name, record)
        target = WAITING if fitting else UNUSED
        if state != target:
            queue.advance(name, state, target)
        folder = queue.path(target, name)
    if not queue.take_files(name, after_s, folder):
        return False  # more of it is coming; until then it is not begun
    if again:
        logger.info("%s: joined by what came later, now %d instances, %s", name, record.instances, _name_rules(record))
    elif state == DONE:
        logger.info("%s: came again, is done already", name)
    return True


def _name_rules(record: CaseRecord) -> str:
    return f"by rule {', '.join(record.rules)}" if record.rules else f"not used: {record.notes[-1]}"
