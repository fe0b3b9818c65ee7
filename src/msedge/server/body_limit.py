"""No body is read beyond its limit, whatever its header says.

Tested in ``tests/server/test_body_limit.py``.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msedge.server.problems import problem


class BodyLimit:
    """Refuse bodies that are too long: by their header at once, else while they stream in."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        """Take the application to guard, and the most bytes of a body."""
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413, or hand on a `receive` that counts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        line = f"the body is longer than {self._most} bytes: send a smaller image or drawing"
        length = Headers(scope=scope).get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            await problem(400, "Content-Length is not a number")(scope, receive, send)
            return
        if int(length[:20]) > self._most:
            await problem(413, line, {"Connection": "close"})(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise HTTPException(413, line, {"Connection": "close"})
            return message

        await self._app(scope, counted, send)
