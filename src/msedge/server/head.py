"""``HEAD`` for everything that can be got: the same answer without its body.

Tested in ``tests/server/test_head.py``.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD = "msedge.head"


class HeadAsGet:
    """Have ``HEAD`` answered by what answers ``GET``, and let only the headers through."""

    def __init__(self, app: ASGIApp) -> None:
        """Take the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, as ``GET`` where it is ``HEAD``."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
            elif not message.get("more_body", False):
                await send({"type": "http.response.body", "body": b""})

        as_get = {**scope, "method": "GET", _HEAD: True}
        try:
            await self._app(as_get, receive, without_body)
        finally:
            if "route" in as_get:  # for the metrics
                scope["route"] = as_get["route"]


def wants_headers_only(scope: Scope) -> bool:
    """Whether the body would be thrown away, so that it need not be made."""
    return bool(scope.get(_HEAD, False))
