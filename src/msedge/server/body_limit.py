"""No body is read beyond its limit, whatever its header says, nor waited for without end.

Tested in ``tests/server/test_body_limit.py``.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msedge.server.patience import Patience
from msedge.server.problems import problem
from msedge.server.settings import ServerSettings

FREE_BYTES = 2**16
"""Of each body, not counted among all: a drawing's is hardly ever longer."""

_CLOSE = {"Connection": "close"}
_LINGER_SECONDS = 1.0
_LINGER_BODIES = 2


class BodyLimit:
    """Refuse bodies that are too long, too slow, packed, or too many at a time."""

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, refused: Callable[[str], None]
    ) -> None:
        """Take the application to guard, the limits, and what hears of a refusal of 429."""
        self._app, self._settings, self._refused = app, settings, refused
        self.held = 0
        """Bytes of bodies in memory, beyond the first of each."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400, 413 or 415 by the header, or hand on a `receive` that counts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(self, receive)

        async def lingering(message: Message) -> None:
            if message["type"] == "http.response.start":
                body.cut = (b"connection", b"close") in message["headers"]
            elif body.cut and not message.get("more_body", False):
                await send({**message, "more_body": True})  # all of it, but for saying so
                await body.drain()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        refusal = self._refusal(Headers(scope=scope))
        if refusal is not None:
            await problem(*refusal, _CLOSE)(scope, receive, lingering)
            return
        try:
            await self._app(scope, body.receive, lingering)
        finally:
            self.held -= body.held

    def _refusal(self, headers: Headers) -> tuple[int, str] | None:
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            return 415, "the body must not be compressed: send it without Content-Encoding"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length is not a number"
        if int(length[:20]) > self._settings.max_body_bytes:
            return 413, self.too_long
        return None

    @property
    def too_long(self) -> str:
        """What a refusal of too long a body says."""
        most = self._settings.max_body_bytes
        return f"the body is longer than {most} bytes: send a smaller image or drawing"

    def patience(self, most: float = math.inf) -> Patience:
        """For a new body; of at most some seconds."""
        seconds = min(most, self._settings.body_seconds)
        return Patience(seconds, self._settings.bytes_per_second)

    def is_worth_reading(self, received: int) -> bool:
        """Whether to read on what is thrown away."""
        return received < _LINGER_BODIES * self._settings.max_body_bytes

    def count(self, received: int, held: int) -> int:
        """Count a body that has come so far.

        Args:
            received: its bytes.
            held: those of them that were counted before.

        Returns:
            Bytes of it that are counted now.

        Raises:
            HTTPException: 413, it is too long; 429, all together are.
        """
        if received > self._settings.max_body_bytes:
            raise HTTPException(413, self.too_long, _CLOSE)
        counted = max(0, received - FREE_BYTES)
        if self.held + counted - held > self._settings.max_bodies_bytes:
            self._refused("bodies")
            line = "too much is sent at a time: try again in a second"
            raise HTTPException(429, line, _CLOSE | {"Retry-After": "1"})
        self.held += counted - held
        return counted


class _Body:
    """One body while it is read."""

    def __init__(self, limit: BodyLimit, receive: Receive) -> None:
        self._limit, self._receive = limit, receive
        self._patience = limit.patience()
        self._received = 0
        self._ended = False
        self.held = 0
        self.cut = False
        """Whether the connection ends after the answer, with what has not been read."""

    async def receive(self) -> Message:
        if self._ended:  # from here on it tells only that the client has gone
            return await self._receive()
        try:
            message = await self._next(self._patience)
        except TimeoutError as error:
            line = "the body came too slowly: send it faster, or a smaller image"
            raise HTTPException(408, line, _CLOSE) from error
        self.held = self._limit.count(self._received, self.held)
        return message

    async def drain(self) -> None:
        """Throw the rest away after a refusal.

        Else the connection would be reset, and whoever sends everything before it reads would
        never see the answer.
        """
        patience = self._limit.patience(_LINGER_SECONDS)
        with suppress(TimeoutError):
            while not self._ended and self._limit.is_worth_reading(self._received):
                await self._next(patience)

    async def _next(self, patience: Patience) -> Message:
        begun = time.monotonic()
        async with asyncio.timeout(max(0.0, patience.left)):
            message = await self._receive()
        size = len(message.get("body", b""))
        patience.waited(time.monotonic() - begun, size)
        self._received += size
        self._ended = not message.get("more_body", False)
        return message
