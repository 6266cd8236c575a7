"""The listening program: receive, and one after another collect what is complete, send what is made, segment."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import logging
import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from medseg.core.errors import FormatError
from medseg.core.locks import LOCK, hold_lock
from medseg.core.manifest import outcome_of_error
from medseg.tools.listen.applying import Models
from medseg.tools.listen.completeness import collect_complete
from medseg.tools.listen.queue import (
    DONE,
    RECEIVING,
    SENDING,
    STATES,
    UNUSED,
    WAITING,
    WORKING,
    Queue,
    make_private,
    try_record,
)
from medseg.tools.listen.receiver import open_receiver, require_pacs
from medseg.tools.listen.records import CaseRecord, Problem
from medseg.tools.listen.rules import AE_TITLE, Rules, read_rules
from medseg.tools.listen.sending import send_results
from medseg.tools.listen.work import end_case, segment_waiting

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.5
# After the n-th failure in a row, a case rests for 30 s x 2^(n-1), an hour at most.
FIRST_REST_S, LONGEST_REST_S = 30.0, 3600.0
CLEANING_SECONDS = 60.0
# Of the room of the queue, old cases leave so much free.
_KEPT_SHARE = 0.9
_ENDED = (DONE, UNUSED)


def listen(
    rules: str | Path,
    queue: str | Path,
    *,
    ae_title: str,
    port: int,
    host: str = "127.0.0.1",
    complete_after_s: float = 30.0,
    device: str = "auto",
) -> NoReturn:
    """Receive DICOM series, segment them by rule and send the results on, until the program is told to end.

    Args:
        rules: ``rules.json``.
        queue: the folder that holds what was received and what became of it.
        ae_title, port, host: of the C-STORE provider; other machines reach it only where ``host`` is an address of
            this one that they know.
        complete_after_s: a series or study is complete once nothing of it has come for so many seconds.
        device: where models compute.
    Raises:
        MissingExtraError: the packages of the extra ``pacs`` are not installed.
        FormatError, ModelError, DatasetError: the rules, or what they name, cannot be used.
        ResourceError: the folder or the port is in use.
    """
    require_pacs()
    if not re.match(AE_TITLE, ae_title):
        raise FormatError(
            f"the AE title is {ae_title!r}, expected 1 to 16 letters without backslash", code="bad_ae_title",
            remedy="Give another --ae-title",
        )  # fmt: skip
    settled, models = read_rules(rules), Models(device)
    # What is worth knowing of a case is said here; where its files lie for a moment is not.
    logging.getLogger("medseg.inference").setLevel(logging.WARNING)
    for name, archive in settled.archives.items():
        if archive.url and archive.url.startswith("http:") and not is_loopback(str(urlsplit(archive.url).hostname)):
            logger.warning("%s: http is not encrypted; use https where there is any other than your own network", name)
    make_private(Path(queue))
    with hold_lock(Path(queue) / LOCK, "medseg listen"):
        work = Listener(Queue(Path(queue)), settled, ae_title, complete_after_s, models)
        with open_receiver(work.queue, settled, ae_title=ae_title, host=host, port=port) as bound:
            logger.info("%s listens on %s port %d; in %s: %s", ae_title, host, bound, queue, work.describe())
            if not is_loopback(host):
                logger.warning(
                    "other machines can reach this port. AE titles are no secret and DIMSE is not encrypted:"
                    " let a firewall admit the senders alone"
                )
            while True:
                if not work.step():
                    time.sleep(IDLE_SECONDS)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached by programs of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Listener:
    """What is done beside receiving, a step at a time, in the main thread.

    Args:
        queue: goes on from where the last run ended.
        rules: what to do.
        ae_title: for sending.
        complete_after_s: see ``listen``.
        models: to segment with.
    """

    def __init__(self, queue: Queue, rules: Rules, ae_title: str, complete_after_s: float, models: Models) -> None:
        self.queue, self.rules, self.models = queue, rules, models
        self.ae_title, self.complete_after_s = ae_title, complete_after_s
        self._rests: dict[str, tuple[int, float]] = {}
        self._cleaned = 0.0
        for name in queue.recover():
            logger.warning("%s: goes on, the program ended while it was segmented", name)

    def describe(self) -> str:
        """How many cases are in each state."""
        counts = ((state, len(self.queue.list_cases(state))) for state in STATES)
        return ", ".join(f"{count} {state}" for state, count in counts if count) or "no cases"

    def step(self) -> bool:
        """Do what is due: collect, send, and segment one case; False where there was nothing to do."""
        if time.monotonic() >= self._cleaned + CLEANING_SECONDS:
            self.clean()
        done = [self._try(name, self._collect) for name in self._list_due(RECEIVING)]
        done += [self._try(name, self._send) for name in self._list_due(SENDING)]
        # While more of a case is coming, it is not begun.
        coming = self.queue.list_cases(RECEIVING)
        waiting = [name for name in self._list_due(WAITING) if name not in coming]
        return any(done) or any(self._try(name, self._segment) for name in waiting[:1])

    def _collect(self, name: str) -> bool | None:
        return collect_complete(self.queue, name, self.rules, self.complete_after_s) or None

    def _send(self, name: str) -> bool:
        return send_results(self.queue, name, self.rules, self.ae_title)

    def _segment(self, name: str) -> bool:
        return segment_waiting(self.queue, name, self.rules, self.models)

    def _list_due(self, state: str) -> list[str]:
        now = time.monotonic()
        return [name for name in self.queue.list_cases(state) if now >= self._rests.get(name, (0, 0.0))[1]]

    def _try(self, name: str, job: Callable[[str], bool | None]) -> bool:
        """Do something with a case; that says True where it did, False where it failed for now: then the case rests."""
        try:
            did = job(name)
        except OSError as error:  # of the queue's disk
            logger.error("%s: to be tried again: %s", name, outcome_of_error(error).reason)
            did = self._take_back(name)
        except Exception as error:  # one case's fault never stops the others
            logger.debug("details", exc_info=error)  # which may hold what scans say
            did = self._give_up(name, error)
        if did:
            self._rests.pop(name, None)
        elif did is False:
            count = self._rests.get(name, (0, 0.0))[0] + 1
            rest = min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(count - 1, 20))
            self._rests[name] = (count, time.monotonic() + rest)
        return bool(did)

    def _take_back(self, name: str) -> bool:
        """Let a case wait whose segmenting failed with the disk; False, as it is to be tried again."""
        with contextlib.suppress(OSError):  # then the next start does
            if name in self.queue.list_cases(WORKING):
                self.queue.advance(name, WORKING, WAITING)
        return False

    def _give_up(self, name: str, error: Exception) -> bool:
        """Put a case among the failed ones; False where the disk does not take that now."""
        *_, place = traceback.extract_tb(error.__traceback__)
        reason = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
        logger.error("%s: unexpected: %s", name, reason)
        state = self.queue.find(name)
        if state is None:
            return False
        record = try_record(self.queue, state, name) or CaseRecord(received="", instances=0)
        problem = Problem(code="unexpected", reason=reason, remedy="Report this; then move the case to waiting")
        try:
            end_case(self.queue, state, name, record.model_copy(update={"problems": (*record.problems, problem)}))
        except OSError:
            return self._take_back(name)
        return True

    def rest_no_more(self) -> None:
        """Let every case be tried again at once."""
        self._rests.clear()

    def clean(self) -> None:
        """Remove cases that ended well long ago, and the oldest of them where the queue is nearly full."""
        self._cleaned = time.monotonic()
        self.queue.used_bytes = self.queue.measure()
        oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=self.rules.limits.keep_days)
        ended = [
            (self._read_end(state, name), state, name) for state in _ENDED for name in self.queue.list_cases(state)
        ]
        for end, state, name in sorted(ended):
            full = self.queue.used_bytes > _KEPT_SHARE * self.rules.limits.queue_gb * 1e9
            if end < oldest.isoformat() or full:
                try:
                    self.queue.remove(state, name)
                except OSError as error:
                    logger.error("%s cannot be removed: %s", name, outcome_of_error(error).reason)
                    continue
                logger.info("%s: removed from %s", name, state)

    def _read_end(self, state: str, name: str) -> str:
        record = try_record(self.queue, state, name)
        return (record.ended or record.received) if record else ""
