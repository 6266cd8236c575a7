"""Senders, archives and rules for the tests of listening; associations are real ones, over loopback."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medseg.tools.listen.applying import Models
from medseg.tools.listen.queue import Queue
from medseg.tools.listen.receiver import open_receiver
from medseg.tools.listen.rules import Rules, read_rules
from medseg.tools.listen.service import Listener
from tests.io.dicom_series import CT, Plane, pile, write

TITLE, SENDER = "MEDSEG", "SCANNER"
EXPLICIT = "1.2.840.10008.1.2.1"
QUIET_S = 0.2


def write_series(folder: Path, number: int = 1, count: int = 5, **header: Any) -> list[Path]:
    """A series of small slices that a test's model can segment; another for each number."""
    planes: list[Plane] = [replace(plane, shape=(14, 15)) for plane in pile(count)]
    uids = {"SeriesInstanceUID": f"1.2.826.0.1.3680043.8.498.{number}", "SeriesNumber": number}
    header = {**uids, **header}
    return write(folder, [replace(plane, offset=float(number)).but(**header) for plane in planes])


def write_rules(path: Path, model: Path, **changes: Any) -> Rules:
    """Write and read ``rules.json`` with one rule for CT; ``rule`` holds changes of it."""
    rule = {"name": "organ", "modality": "CT", "model": str(model), **changes.pop("rule", {})}
    content = {"senders": [SENDER], "rules": [rule], **changes}
    path.write_text(json.dumps(content))
    return read_rules(path)


@contextlib.contextmanager
def run_listener(queue: Path, rules: Rules, complete_after_s: float = QUIET_S) -> Iterator[tuple[Listener, int]]:
    """A listener whose steps the test makes, and its port."""
    listener = Listener(Queue(queue), rules, TITLE, complete_after_s, Models("cpu"))
    with open_receiver(listener.queue, rules, ae_title=TITLE, host="127.0.0.1", port=0) as port:
        yield listener, port


def work_off(listener: Listener, *states: str, seconds: float = 30.0) -> None:
    """Make steps until all cases are in these states."""
    wait_for(lambda: not listener.step() and _is_settled(listener.queue, states), seconds)


def _is_settled(queue: Queue, states: Sequence[str]) -> bool:
    others = [state for state in ("receiving", "waiting", "working", "sending") if state not in states]
    return not any(queue.list_cases(state) for state in others) and any(queue.list_cases(state) for state in states)


def wait_for(is_reached: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not is_reached():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


@contextlib.contextmanager
def associate(port: int, *, title: str = SENDER, called: str = TITLE, classes: Sequence[str] = (CT,)) -> Iterator[Any]:
    """An association with a listener; whether it is established is the test's to look at."""
    from pynetdicom import AE

    entity = AE(title)
    for uid in (*classes, "1.2.840.10008.1.1"):
        entity.add_requested_context(uid, EXPLICIT if uid != "1.2.840.10008.1.1" else "1.2.840.10008.1.2")
    association = entity.associate("127.0.0.1", port, ae_title=called)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def send(port: int, paths: Sequence[Path], **options: Any) -> list[int]:
    """Send files; what each was answered, -1 where there was no answer."""
    with associate(port, **options) as association:
        assert association.is_established
        answers = []
        for path in paths:
            answer = association.send_c_store(path) if association.is_established else {}
            answers.append(answer.Status if answer else -1)
        return answers


@dataclass
class Archive:
    """A C-STORE provider that keeps what it gets.

    Args:
        folder: where.
        answers: to the next requests, before all others succeed.
    """

    folder: Path
    answers: list[int] = field(default_factory=list)
    port: int = 0

    @property
    def objects(self) -> list[Path]:
        """What it has."""
        return sorted(self.folder.glob("*.dcm"))

    def describe(self) -> dict[str, Any]:
        """As rules.json names it."""
        return {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": self.port}


@contextlib.contextmanager
def run_archive(folder: Path, answers: Sequence[int] = ()) -> Iterator[Archive]:
    """An archive that listens while the block runs."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    archive = Archive(folder, list(answers))
    folder.mkdir(exist_ok=True)

    def store(event: Any) -> int:
        answer = archive.answers.pop(0) if archive.answers else 0
        if answer == 0:
            (folder / f"{event.request.AffectedSOPInstanceUID}.dcm").write_bytes(event.encoded_dataset())
        return answer

    entity = AE("ARCHIVE")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    archive.port = server.server_address[1]
    try:
        yield archive
    finally:
        entity.shutdown()
