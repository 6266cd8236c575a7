"""A C-STORE and C-ECHO provider that answers "success" once an instance is on the disk, and not before."""

from __future__ import annotations

import contextlib
import errno
import logging
import secrets
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from medseg.core import atomic
from medseg.core.disk import read_free_room
from medseg.core.errors import MedsegError, MissingExtraError, ResourceError, show_name
from medseg.io.dicom.compressed import COMPRESSED_SYNTAXES
from medseg.io.dicom.encoding import DEFLATED_LITTLE, NATIVE_SYNTAXES
from medseg.tools.listen.instances import inspect_instance, make_key
from medseg.tools.listen.queue import ARRIVING, Queue
from medseg.tools.listen.rules import Rules

if TYPE_CHECKING:
    from pynetdicom.events import Event

logger = logging.getLogger(__name__)

REMEDY = "pip install 'medseg[pacs]'"
# Answers to C-STORE: DICOM PS3.4, B.2.3.
SUCCESS, OUT_OF_RESOURCES, OTHER_OBJECT, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
# Left free on the queue's disk, for results and for other programs, 10^9 bytes.
SPARE_BYTES = 2_000_000_000
# Seconds without a word: while an association is made, within a message, between messages.
_ASSOCIATION_S, _MESSAGE_S, _SILENCE_S = 30, 60, 60
_PDU_BYTES = 1 << 17
# All that can be read, but for what is deflated, whose size nobody knows beforehand; each sender can do without.
_SYNTAXES = [syntax for syntax in (*NATIVE_SYNTAXES, *COMPRESSED_SYNTAXES) if syntax != DEFLATED_LITTLE]
# Connections beyond the associations, so that one too many is told so, not cut off.
_SPARE_CONNECTIONS = 4


def require_pacs() -> None:
    """Raise MissingExtraError where the packages of the extra ``pacs`` are not installed."""
    try:
        import dicomweb_client
        import pynetdicom  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"the package {error.name} is not installed", remedy=REMEDY) from None
    from pynetdicom import _config

    # What these libraries say in their logs may name patients: addresses of queries, values of elements.
    _config.LOG_HANDLER_LEVEL = "none"
    for name in ("pynetdicom", "pydicom", dicomweb_client.__name__, "retrying", "urllib3"):
        library = logging.getLogger(name)
        library.setLevel(logging.CRITICAL + 1)
        library.propagate = False


@contextlib.contextmanager
def open_receiver(queue: Queue, rules: Rules, *, ae_title: str, host: str, port: int) -> Iterator[int]:
    """Receive instances into a queue while the block runs.

    Args:
        queue: where they go.
        rules: who may send, and how much.
        ae_title: of this provider; requests to another are turned away.
        host: the address to listen on.
        port: likewise; 0 takes any that is free.
    Returns:
        a context manager giving the port; at its end connections are aborted, and what was not answered is sent again
        by its sender.
    Raises:
        MissingExtraError: the packages of the extra ``pacs`` are not installed.
        ResourceError: the address cannot be listened on, with code ``in_use``.
    """
    require_pacs()
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    from medseg.tools.listen.server import BoundedHandler, BoundedServer

    entity = AE(ae_title)
    entity.require_called_aet, entity.require_calling_aet = True, list(rules.senders)
    entity.maximum_associations = rules.limits.associations
    entity.maximum_pdu_size = _PDU_BYTES
    entity.acse_timeout, entity.dimse_timeout, entity.network_timeout = _ASSOCIATION_S, _MESSAGE_S, _SILENCE_S
    entity.add_supported_context("1.2.840.10008.1.1")  # verification, C-ECHO
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), _SYNTAXES)
    handlers: list[Any] = [
        (evt.EVT_C_STORE, _answer_store, [queue, rules]),
        (evt.EVT_ACCEPTED, _note_accepted),
        (evt.EVT_REJECTED, _note_rejected, [rules]),
    ]
    try:
        made: Any = entity.make_server(
            (host, port), evt_handlers=handlers, server_class=BoundedServer, request_handler=BoundedHandler,
            most=rules.limits.associations + _SPARE_CONNECTIONS, instance_bytes=int(rules.limits.instance_mb * 1e6),
        )  # fmt: skip
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise ResourceError(
            f"{host} port {port} cannot be listened on: {getattr(error, 'strerror', None) or error}", code="in_use",
            remedy="End the program that uses it, or name another --port" if taken
            else "Name an address of this machine with --host, and a port that this user may use",
        ) from None  # fmt: skip
    server: BoundedServer = made
    thread = threading.Thread(target=server.serve_forever, name="receiver", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.stop()


def store_instance(queue: Queue, content: bytes, rules: Rules, *, expected: tuple[str, str] | None = None) -> str:
    """Look at an instance within bounds and put it into the queue.

    Args:
        queue: where it goes.
        content: a whole file.
        rules: for what is complete at once.
        expected: its class and its own identifier, as the sender said them.
    Returns:
        the case it belongs to.
    Raises:
        FormatError: it is no sound instance, or another one than was said.
        OSError: the disk does not take it.
    """
    arrived = queue.folder / ARRIVING / f"{secrets.token_hex(16)}.dcm"
    atomic.write_bytes(arrived, content)
    try:
        facts = inspect_instance(arrived)
        if expected is not None and (facts.sop_class_uid, facts.sop_instance_uid) != expected:
            raise OtherInstanceError
        study = make_key(facts.study_uid)
        case = study if rules.complete == "study" else f"{study}-{make_key(facts.series_uid)}"
        queue.place(arrived, case, make_key(facts.series_uid), make_key(facts.sop_instance_uid))
    except BaseException:
        arrived.unlink(missing_ok=True)
        raise
    queue.used_bytes += len(content)
    return case


class OtherInstanceError(Exception):
    """The data set is another instance than its request says."""


def _answer_store(event: Event, queue: Queue, rules: Rules) -> int:
    """What a C-STORE request is answered."""
    sender = _name_sender(event)
    request: Any = event.request
    if not _has_room(queue, rules):
        logger.error("%s: refused, the queue is full; make room in %s or raise limits.queue_gb", sender, queue.folder)
        return OUT_OF_RESOURCES
    try:
        expected = (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        store_instance(queue, event.encoded_dataset(), rules, expected=expected)
    except OtherInstanceError:
        logger.error("%s: refused an instance whose data set is another one than its request says", sender)
        return OTHER_OBJECT
    except MedsegError as error:
        logger.error("%s: refused an instance: %s (%s)", sender, error.reason, error.code)
        return NOT_UNDERSTOOD
    except (OSError, MemoryError) as error:
        logger.error("%s: an instance could not be kept: %s", sender, getattr(error, "strerror", None) or "no memory")
        return OUT_OF_RESOURCES
    return SUCCESS


def _has_room(queue: Queue, rules: Rules) -> bool:
    free = read_free_room(queue.folder)
    return queue.used_bytes < rules.limits.queue_gb * 1e9 and (free is None or free > SPARE_BYTES)


def _note_accepted(event: Event) -> None:
    logger.info("%s: connected", _name_sender(event))


def _note_rejected(event: Event, rules: Rules) -> None:
    requestor: Any = event.assoc.requestor
    called = requestor.primitive.called_ae_title if requestor.primitive else ""
    listed = "is" if requestor.ae_title in rules.senders else "is not"
    logger.warning(
        "%s: turned away; it asked for %s and %s among the senders", _name_sender(event), show_name(called), listed
    )


def _name_sender(event: Event) -> str:
    requestor = event.assoc.requestor
    return show_name(f"{requestor.ae_title or 'a sender without a title'} ({requestor.address})")
