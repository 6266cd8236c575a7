"""pynetdicom's server with bounds on connections and on what each sends."""

from __future__ import annotations

import socketserver
import time
from typing import TYPE_CHECKING, Any

from pynetdicom import evt
from pynetdicom.transport import AssociationServer, RequestHandler

from medseg.tools.listen.gate import Gate

if TYPE_CHECKING:
    from pynetdicom.association import Association

# How long the end of the program waits for connections to be given up.
_STOP_SECONDS = 5.0


class BoundedServer(AssociationServer):
    """Turns connections away where there are too many.

    Args:
        most: connections at one time.
        instance_bytes: of one instance.
    """

    def __init__(self, *arguments: Any, most: int, instance_bytes: int, **options: Any) -> None:
        self.most, self.instance_bytes = most, instance_bytes
        super().__init__(*arguments, **options)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether one more connection is taken."""
        return len(self.active_associations) < self.most

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Give a connection up; what went wrong with it is nothing that anybody could mend here."""

    def stop(self) -> None:
        """Take no further connections and abort those there are."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()
        end = time.monotonic() + _STOP_SECONDS
        associations = self.active_associations
        established = [association for association in associations if association.is_established]
        for association in associations:
            if association.is_established:
                association.abort(block=False)
            else:
                association.dul.kill_dul()  # its own thread then ends by itself
        for association in established:
            association.join(max(0.0, end - time.monotonic()))


class BoundedHandler(RequestHandler):
    """Has each connection read through a gate of its own."""

    server: BoundedServer

    def _create_association(self) -> Association:
        association = super()._create_association()
        # The end of the program waits for none of them; what was not answered will be sent again.
        association.daemon = association.dul.daemon = True
        gate = Gate(self.request, self.server.instance_bytes)
        # The library reads whatever length a sender states into memory; there is no other place to bound it.
        setattr(association.dul.socket, "recv", gate.read)  # noqa: B010
        association.bind(evt.EVT_DIMSE_RECV, lambda event: gate.end_message())
        association.bind(evt.EVT_DIMSE_SENT, lambda event: gate.answer())
        return association
