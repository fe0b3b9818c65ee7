"""HTTP as uvicorn speaks it, with a bound on everything that a client can make it wait for.

Uvicorn itself waits for ever for a header, a body or a reader, and keeps any number of connections.
Tested in ``tests/server/test_protocol.py``, over real sockets.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol
from uvicorn.server import ServerState

from msedge.server.connections import Connections
from msedge.server.patience import Patience
from msedge.server.request_log import new_request_id, write_request

MAX_HEAD_BYTES = 16 * 1024
MAX_HEAD_LINES = 100
FREE_CHUNKS = 4096
CHUNK_BYTES = 128
"""Of a chunk, on average beyond the first ones: each costs as much to read as a thousand bytes."""

_HEAD_END = re.compile(rb"\n\r?\n")
_RECEIVE_BYTES = 64 * 1024


class LimitedProtocol(H11Protocol):
    """One connection."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = self._parser = _LimitedParser(h11.SERVER, MAX_HEAD_BYTES)
        settings = connections.settings
        self._connections, self._settings = connections, settings
        self._reader = Patience(settings.reader_seconds, settings.bytes_per_second)
        self._unsent = 0
        self._waited = 0.0  # for a header, a request, or the rest of a body that nobody reads
        self._waits_for = "header"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or say that there is no room."""
        # What is read at a time is parsed at a time, while all other answers wait.
        transport.max_size = _RECEIVE_BYTES  # type: ignore[attr-defined]
        super().connection_made(transport)
        if not self._connections.admit(self):
            line = "too many connections are open: try again in a few seconds"
            self._refuse(503, line, ((b"retry-after", b"5"),))

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._connections.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        """Wait for the next request, which may be there already."""
        super().on_response_complete()
        self._note()

    def resume_writing(self) -> None:
        """Go on, as the client has taken most of what waited for it."""
        super().resume_writing()
        self._reader.restore()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer what is not HTTP, or too much of it."""
        status, line = self._parser.refusal or (400, "this is not a request of HTTP/1.1")
        self._refuse(status, line)

    def shutdown(self) -> None:
        """Close if nothing is being answered, else after that answer."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def timeout_keep_alive_handler(self) -> None:
        """Nothing: :meth:`look` closes what is idle."""

    def is_idle(self) -> bool:
        """Whether no request is being read or answered, and every answer is on its way."""
        return self._is_between_requests() and not self.transport.get_write_buffer_size()

    def give_way(self) -> None:
        """Close, as nothing is being answered."""
        self.transport.close()

    def look(self, passed: float) -> str | None:
        """Close when the client has been waited for long enough."""
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            self._reader.waited(passed, max(0, self._unsent - unsent))
        else:
            self._reader.restore()
        self._unsent = unsent
        if self._reader.left < 0:
            self.transport.abort()
            return "reader"
        if unsent or self.transport.is_closing() or not self._waits_for:
            return None
        self._waited += passed
        if self._waited < self._seconds():
            return None
        if self._waits_for == "header" and self.conn.trailing_data[0]:
            self._refuse(408, "the header came too slowly: send it faster")
        else:
            self.transport.close()
        return self._waits_for

    def _seconds(self) -> float:
        if self._waits_for == "header":
            return self._settings.header_seconds
        if self._waits_for == "request":
            return self._settings.idle_seconds
        return self._settings.body_seconds

    def _is_between_requests(self) -> bool:
        return self.conn.our_state is h11.IDLE and self.conn.their_state is h11.IDLE

    def _note(self) -> None:
        """Tell what the client is waited for from now on, if for anything."""
        self._connections.note(self)
        if self._is_between_requests():
            begun = self.cycle is None or bool(self.conn.trailing_data[0])
            waits_for = "header" if begun else "request"
        elif self.cycle is not None and self.cycle.response_complete:
            waits_for = "body"  # of a request that is answered already
        else:
            waits_for = ""
        if waits_for != self._waits_for:
            self._waits_for, self._waited = waits_for, 0.0

    def _refuse(
        self, status: int, line: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        """Answer without the application, and close."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application's own answer would come second
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            request_id = new_request_id()
            if status >= 500:
                client = self.client[0] if self.client else "-"
                told = {"request_id": request_id, "client": client, "status": status, "ms": 0.0}
                write_request(logging.ERROR, **told, reason=line)
            body = json.dumps({"detail": line}).encode()
            head = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
                (b"connection", b"close"),
                (b"x-request-id", request_id.encode()),
                *headers,
            ]
            answer = h11.Response(status_code=status, headers=head, reason=STATUS_PHRASES[status])
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _should_upgrade(self) -> bool:
        return False  # and no line in the log for each that wants it


class _LimitedParser(h11.Connection):
    """Refuses a head or chunks that cost too much, before they do."""

    refusal: tuple[int, str] | None = None
    _chunks = 0
    _chunk_bytes = 0

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            self._chunks = self._chunk_bytes = 0
            self._check_head(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._check_framing(event)
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._chunk_bytes += len(event.data)
            if self._chunks > FREE_CHUNKS + self._chunk_bytes / CHUNK_BYTES:
                self._refuse(400, "the body's chunks are too small: send larger ones")
        return event

    def _check_head(self, received: bytes) -> None:
        end = _HEAD_END.search(received, 0, MAX_HEAD_BYTES)
        if end is None and len(received) > MAX_HEAD_BYTES:
            self._refuse(431, f"the header is longer than {MAX_HEAD_BYTES} bytes")
        lines = received.count(b"\n", 0, end.end() if end else MAX_HEAD_BYTES)
        if lines > MAX_HEAD_LINES:
            self._refuse(431, f"the header has more than {MAX_HEAD_LINES} lines")

    def _check_framing(self, request: h11.Request) -> None:
        if request.http_version not in (b"1.0", b"1.1"):
            self._refuse(400, "this server speaks no HTTP but 1.0 and 1.1")
        names = {name for name, _ in request.headers}
        # A proxy may see another end of the body than we do (RFC 9112, section 6.1).
        if b"transfer-encoding" in names and (
            b"content-length" in names or request.http_version == b"1.0"
        ):
            self._refuse(400, "Transfer-Encoding stands beside Content-Length, or in HTTP/1.0")

    def _refuse(self, status: int, line: str) -> None:
        self.refusal = (status, line)
        raise h11.RemoteProtocolError(line, error_status_hint=status)
