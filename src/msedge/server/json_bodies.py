"""Bodies of JSON, looked at before they are parsed: a short text can unpack into gigabytes.

Parsing holds up all other answers, since it is one step for Python; what a body may hold bounds how
long. Tested in ``tests/server/test_json_bodies.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from msedge.server.requests import (
    MAX_BOXES,
    MAX_EXAMPLES,
    MAX_POINTS,
    MAX_STROKES,
    unpacked,
)

_FOLDER = 4096  # characters of the one text that may hold these signs too
_MOST = {
    b",": 2 * MAX_POINTS + 3 * MAX_STROKES + 2 * MAX_EXAMPLES + MAX_BOXES + _FOLDER,
    b"[": 3 * MAX_STROKES + 8 + _FOLDER,
    b"{": 8 + _FOLDER,
    b":": 32 + _FOLDER,
}
"""How often a sign is in the largest question that can be answered; base64 holds none of them."""


class JsonRoute(APIRoute):
    """A route whose body is JSON: of the right type, and no more of it than can be meant."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        handler = super().get_route_handler()

        async def checked(request: Request) -> Response:
            # A type that forms of other sites cannot send.
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                line = "the body must be JSON: send Content-Type: application/json"
                raise HTTPException(415, line)
            return await handler(_JsonRequest(request.scope, request.receive))

        return checked


class _JsonRequest(Request):
    """Its body is there once: the text goes when it is parsed, and an image's when it is unpacked.

    A request waits for its turn, and may be one of many that hold a large image.
    """

    _parsed: tuple[bool, Any] | None = None

    async def body(self) -> bytes:
        """Something that is true where there is a body, which is all that is asked of it."""
        if self._parsed is None:
            self._parsed = await self._read()
        return b"{}" if self._parsed[0] else b""

    async def json(self) -> Any:
        if self._parsed is None:
            self._parsed = await self._read()
        return self._parsed[1]

    async def _read(self) -> tuple[bool, Any]:
        """Whether there is a body, and its values."""
        body = bytearray()
        async for piece in self.stream():
            body += piece
        if not body:
            return False, None
        if any(body.count(sign) > most for sign, most in _MOST.items()):
            line = "the body holds more values than a drawing can have: send fewer points"
            raise HTTPException(413, line)
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise HTTPException(400, "the body is not UTF-8") from error
        del body
        values = json.loads(text)
        if isinstance(values, dict) and isinstance(values.get("image"), str):
            with suppress(ValueError):  # which will be told with all else that is wrong
                values["image"] = unpacked(values["image"])
        return True, values
