"""What one connection may send: so large a piece, so large an instance, so many requests before answers, so long."""

from __future__ import annotations

import socket
import time

# A PDU is as long as the receiver asked for; some senders' requests for an association take tens of kilobytes.
LARGEST_PDU_BYTES = 1 << 20
# What a message has beside its data set: the command, the heads of PDUs.
MESSAGE_BYTES = 1 << 22
PDU_SECONDS = 60.0
# A sender may wait for each answer, or negotiate not to, which is not granted.
MOST_UNANSWERED = 4
_PIECE_BYTES = 1 << 16


class Gate:
    """Reads a connection within bounds.

    Args:
        connection: accepted.
        instance_bytes: that a message may have.
    """

    def __init__(self, connection: socket.socket, instance_bytes: int) -> None:
        self.connection, self.message_bytes = connection, instance_bytes + MESSAGE_BYTES
        self.received = self.unanswered = 0
        connection.settimeout(PDU_SECONDS)

    def read(self, count: int) -> bytearray:
        """So many bytes, fewer where the connection ends.

        Args:
            count: as the sender says.
        Returns:
            the bytes.
        Raises:
            OSError: they are too many or take too long; the connection is then given up.
        """
        self.received += count
        if count > LARGEST_PDU_BYTES or self.received > self.message_bytes:
            raise OSError(f"a message of more than {self.message_bytes} bytes, or a piece of {count}")
        if self.unanswered > MOST_UNANSWERED:
            raise OSError(f"more than {MOST_UNANSWERED} requests without waiting for an answer")
        content, end = bytearray(), time.monotonic() + PDU_SECONDS
        while len(content) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"a piece of {count} bytes takes longer than {PDU_SECONDS:.0f} s")
            piece = self.connection.recv(min(_PIECE_BYTES, count - len(content)))
            if not piece:
                break
            content += piece
        return content

    def end_message(self) -> None:
        """Note that a request has come to its end."""
        self.received, self.unanswered = 0, self.unanswered + 1

    def answer(self) -> None:
        """Note that a request was answered."""
        self.unanswered -= 1
