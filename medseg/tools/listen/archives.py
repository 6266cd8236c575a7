"""Archives that objects are sent to: C-STORE providers and DICOMweb services."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.core.errors import MedsegError
from medseg.io.dicom.datasets import load_dataset
from medseg.io.dicom.elements import read_elements
from medseg.io.dicom.encoding import IMPLICIT_LITTLE
from medseg.io.dicom.identity import quiet
from medseg.tools.listen.instances import read_facts
from medseg.tools.listen.rules import Archive, read_password

if TYPE_CHECKING:
    from dicomweb_client.web import DICOMwebClient

# Seconds: to make a connection, to get an answer.
CONNECTION_S, ANSWER_S = 30, 120
# Answers to C-STORE that mean that the object is kept. DICOM PS3.4, B.2.3.
_KEPT = (0x0000, 0xB000, 0xB006, 0xB007)
_WHOLE_BYTES = 1 << 40  # requests are not cut into chunks, which some services do not take

Send = Callable[[Path], None]


class NotTakenError(Exception):
    """An archive did not take an object, or did not answer; says why, without what the object or an address holds."""


@contextlib.contextmanager
def open_sender(archive: Archive, ae_title: str, paths: Sequence[Path]) -> Iterator[Send]:
    """A connection to an archive.

    Args:
        archive: where to.
        ae_title: of this program.
        paths: what will be sent.
    Returns:
        a context manager giving a function that sends one of them, and comes back once the archive said that it has it.
    Raises:
        NotTakenError: also by that function; there is no connection, or the object was refused.
    """
    if archive.url is not None:
        service = open_dicomweb(archive)
        yield lambda path: _post(service.client, path)
        return
    with _open_association(archive, ae_title, paths) as association:
        yield lambda path: _store(association, path)


@dataclass(frozen=True)
class DicomWeb:
    """A DICOMweb service.

    Args:
        client: for what it does by itself.
        session: of requests, for what it does not.
        url: of the service.
    """

    client: DICOMwebClient
    session: Any
    url: str


def open_dicomweb(archive: Archive) -> DicomWeb:
    """A client of a DICOMweb service, which follows no redirection and tries nothing twice."""
    from dicomweb_client.session_utils import create_session, create_session_from_user_pass
    from dicomweb_client.web import DICOMwebClient

    url = str(archive.url).rstrip("/")
    if archive.user is not None and archive.password_file is not None:
        session = create_session_from_user_pass(archive.user, read_password(archive.password_file))
    else:
        session = create_session()
    session.max_redirects = 0  # patients' data go where the user said, and nowhere else
    client = DICOMwebClient(url, session=session, timeout=(CONNECTION_S, ANSWER_S), chunk_size=_WHOLE_BYTES)
    client.set_http_retry_params(retry=False)
    return DicomWeb(client, session, url)


def explain_http(error: Exception) -> str:
    """What went wrong with a request, without its address, which may hold what names a patient."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return type(error).__name__ if status is None else f"HTTP {status}"


def _post(client: DICOMwebClient, path: Path) -> None:
    data = _load(path)
    try:
        with quiet():
            answer = client.store_instances([data])
            refused = [int(item.get("FailureReason", 0)) for item in answer.get("FailedSOPSequence", [])]
            taken = [str(item.get("ReferencedSOPInstanceUID", "")) for item in answer.get("ReferencedSOPSequence", [])]
    except Exception as error:  # the client raises errors of every kind on answers that are none
        raise NotTakenError(f"STOW-RS: {explain_http(error)}") from None
    if refused:
        raise NotTakenError(f"STOW-RS: refused with {', '.join(f'0x{reason:04X}' for reason in refused)}")
    if str(data.SOPInstanceUID) not in taken:
        raise NotTakenError("STOW-RS: the answer does not say that it was taken")


def _load(path: Path) -> Any:
    try:
        return load_dataset(path)
    except MedsegError as error:
        raise NotTakenError(f"{path.name}: {error.reason}") from None


@contextlib.contextmanager
def _open_association(archive: Archive, ae_title: str, paths: Sequence[Path]) -> Iterator[Any]:
    from pynetdicom import AE

    entity = AE(ae_title)
    entity.connection_timeout, entity.acse_timeout = CONNECTION_S, CONNECTION_S
    entity.dimse_timeout, entity.network_timeout = ANSWER_S, ANSWER_S
    for sop_class, syntax in sorted({_name_kind(path) for path in paths}):
        entity.add_requested_context(sop_class, list(dict.fromkeys((syntax, IMPLICIT_LITTLE))))
    host, port, title = str(archive.host), archive.port or 0, str(archive.ae_title)  # which such an archive has
    association = entity.associate(host, port, ae_title=title)
    if not association.is_established:
        why = "turned away" if association.is_rejected else "no connection"
        raise NotTakenError(f"C-STORE: {why}")
    if association.dul.socket is not None and association.dul.socket.socket is not None:
        association.dul.socket.socket.settimeout(ANSWER_S)  # else, half an answer would be waited for for ever
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _name_kind(path: Path) -> tuple[str, str]:
    """An object's class and transfer syntax."""
    try:
        elements = read_elements(path, ())
        return read_facts(path).sop_class_uid, elements.transfer_syntax_uid if elements else IMPLICIT_LITTLE
    except MedsegError as error:
        raise NotTakenError(f"{path.name}: {error.reason}") from None


def _store(association: Any, path: Path) -> None:
    try:
        with quiet():
            status = association.send_c_store(path)
    except (RuntimeError, ValueError, AttributeError) as error:  # no context was accepted, or the connection is gone
        raise NotTakenError(f"C-STORE: not accepted ({type(error).__name__})") from None
    code = status.get("Status") if status else None
    if code is None:
        raise NotTakenError("C-STORE: no answer")
    if code not in _KEPT:
        raise NotTakenError(f"C-STORE: refused with 0x{code:04X}")
