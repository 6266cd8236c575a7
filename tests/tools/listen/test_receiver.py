"""What a sender can do to the receiver: within bounds, and "success" only for what is on the disk."""

import contextlib
import logging
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medseg.core import atomic
from medseg.core.errors import ResourceError
from medseg.tools.listen import gate, receiver
from medseg.tools.listen.queue import Queue, list_instances
from medseg.tools.listen.receiver import NOT_UNDERSTOOD, OTHER_OBJECT, OUT_OF_RESOURCES, open_receiver
from tests.tools.listen.examples import TITLE, associate, send, wait_for, write_rules, write_series

pytestmark = pytest.mark.usefixtures("collect_sockets")


@contextlib.contextmanager
def receive(folder: Path, model: Path, **limits: Any) -> Iterator[tuple[Queue, int]]:
    rules = write_rules(folder / "rules.json", model, limits=limits)
    queue = Queue(folder / "queue")
    with open_receiver(queue, rules, ae_title=TITLE, host="127.0.0.1", port=0) as port:
        yield queue, port


def stored(queue: Queue) -> list[Path]:
    return [path for name in queue.list_cases("receiving") for path in list_instances(queue.path("receiving", name))]


def arriving(queue: Queue) -> list[Path]:
    return list((queue.folder / "arriving").iterdir())


def test_an_instance_is_kept_as_it_was_sent(tmp_path: Path, model: Path) -> None:
    (path,) = write_series(tmp_path / "scan", count=1)
    with receive(tmp_path, model) as (queue, port):
        assert send(port, [path, path]) == [0, 0]  # the second replaces the first
        (kept,) = stored(queue)
        assert kept.read_bytes()[-400:] == path.read_bytes()[-400:]
        assert arriving(queue) == []
        assert (tmp_path / "queue").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("step", ["open", "write", "fsync", "rename"])
def test_no_success_without_the_disk(tmp_path: Path, model: Path, step: str) -> None:
    files = write_series(tmp_path / "scan", count=2)

    def fail(name: str, path: Path) -> None:
        if name == step:
            raise OSError(28, "No space left on device", str(path))

    with receive(tmp_path, model) as (queue, port):
        with atomic.fault_hook(fail):
            assert send(port, files) == [OUT_OF_RESOURCES] * 2
        assert stored(queue) == arriving(queue) == []
        assert send(port, files) == [0, 0]
        assert len(stored(queue)) == 2


def test_unknown_senders_and_titles_are_turned_away(tmp_path: Path, model: Path) -> None:
    with receive(tmp_path, model) as (_, port):
        for title, called in (("STRANGER", TITLE), ("SCANNER", "OTHER")):
            with associate(port, title=title, called=called) as association:
                assert association.is_rejected


def test_a_queue_that_is_full_takes_nothing(tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = write_series(tmp_path / "scan", count=3)
    with receive(tmp_path, model, queue_gb=2e-6) as (queue, port):
        answers = send(port, files)
        assert answers[0] == 0
        assert answers[-1] == OUT_OF_RESOURCES
        assert len(stored(queue)) == answers.count(0)
    assert "the queue is full" in caplog.text


def test_what_is_no_instance_is_refused(tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    (path,) = write_series(tmp_path / "scan", count=1)
    with receive(tmp_path, model) as (queue, port):
        whole = path.read_bytes()
        body = whole[body_start(whole) :]
        with associate(port) as association:
            for content, answer in (
                (b"no data set at all, but text of some length", NOT_UNDERSTOOD),
                (body[:-100], NOT_UNDERSTOOD),
                (body[: len(body) // 3 + 1], NOT_UNDERSTOOD),
                (nest(3000), NOT_UNDERSTOOD),
            ):
                assert store_bytes(association, content) == answer
            assert store_bytes(association, body, uid="1.2.3") == OTHER_OBJECT
        assert stored(queue) == arriving(queue) == []
    assert "Muster" not in caplog.text


def body_start(content: bytes) -> int:
    (length,) = struct.unpack("<I", content[140:144])
    return 144 + int(length)


def nest(depth: int) -> bytes:
    """Sequences within one another, in explicit little endian."""
    return b"".join(b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" for _ in range(depth))


def store_bytes(association: Any, content: bytes, uid: str = "") -> int:
    """Send any bytes as a data set; what was answered."""
    from io import BytesIO

    from pynetdicom.dimse_primitives import C_STORE

    from tests.io.dicom_series import CT

    context = next(one for one in association.accepted_contexts if one.abstract_syntax == CT)
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT, uid or "1.2.3.4"
    request.DataSet = BytesIO(content)
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.001)
    association.dimse.send_msg(request, context.context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return int(answer.Status)


def test_more_associations_than_allowed_are_turned_away(tmp_path: Path, model: Path) -> None:
    with receive(tmp_path, model, associations=2) as (_, port):
        with associate(port) as first, associate(port) as second, associate(port) as third:
            assert first.is_established
            assert second.is_established
            assert third.is_rejected
        wait_for(lambda: is_accepted(port))


def is_accepted(port: int) -> bool:
    with associate(port) as association:
        return bool(association.is_established)


def test_connections_without_a_word_are_bounded(tmp_path: Path, model: Path) -> None:
    with receive(tmp_path, model, associations=1) as (_, port):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(12)]
        try:
            ended = [connection for connection in silent if is_closed(connection)]
            assert len(ended) >= 12 - 1 - receiver._SPARE_CONNECTIONS
        finally:
            for connection in silent:
                connection.close()


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.5)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("length", [0xFFFFFFFF, gate.LARGEST_PDU_BYTES + 1])
def test_a_piece_of_absurd_length_ends_the_connection(tmp_path: Path, model: Path, length: int) -> None:
    with receive(tmp_path, model) as (_, port), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, length) + bytes(1000))
        wait_for(lambda: is_closed(connection), 10)


def test_an_instance_larger_than_allowed_ends_the_association(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MESSAGE_BYTES", 1000)
    small = write_series(tmp_path / "small", count=1)
    large = write_series(tmp_path / "large", 2, count=1, Rows=700, Columns=900, PixelData=bytes(700 * 900 * 2))
    with receive(tmp_path, model, instance_mb=0.01) as (queue, port):
        assert send(port, [*small, *large]) == [0, -1]
        assert len(stored(queue)) == 1
        assert send(port, small) == [0]


def test_requests_without_waiting_for_answers_end_the_association() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = gate.Gate(ours, 1000)
        theirs.sendall(bytes(100))
        assert len(reader.read(10)) == 10
        for _ in range(gate.MOST_UNANSWERED):
            reader.end_message()
        reader.read(10)
        reader.end_message()
        with pytest.raises(OSError, match="without waiting"):
            reader.read(10)
        reader.answer()
        assert len(reader.read(10)) == 10


def test_a_port_that_is_taken_is_one_line(tmp_path: Path, model: Path) -> None:
    with receive(tmp_path, model) as (queue, port):
        rules = write_rules(tmp_path / "rules.json", model)
        with (
            pytest.raises(ResourceError, match="cannot be listened on: Address already in use") as raised,
            open_receiver(queue, rules, ae_title=TITLE, host="127.0.0.1", port=port),
        ):
            pass
        assert raised.value.code == "in_use"


def test_the_end_does_not_wait_for_senders(tmp_path: Path, model: Path) -> None:
    (path,) = write_series(tmp_path / "scan", count=1)
    with contextlib.ExitStack() as senders:
        with receive(tmp_path, model) as (_, port):
            association = senders.enter_context(associate(port))
            senders.enter_context(socket.create_connection(("127.0.0.1", port)))
            assert association.send_c_store(path).Status == 0
            begun = time.monotonic()
        assert time.monotonic() - begun < 20
        wait_for(lambda: association.is_aborted, 5)


def test_libraries_log_nothing(tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), receive(tmp_path, model) as (_, port):
        send(port, write_series(tmp_path / "scan", count=1))
        with associate(port, title="STRANGER"):
            pass
    assert {record.name.partition(".")[0] for record in caplog.records} <= {"medseg"}
