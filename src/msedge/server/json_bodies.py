"""Bodies of JSON, looked at before they are parsed: a short text can unpack into gigabytes.

Parsing holds up all other answers, since it is one step for Python; what a body may hold bounds how
long. Tested in ``tests/server/test_json_bodies.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from msedge.server.requests import MAX_EXAMPLES, MAX_POINTS, MAX_STROKES

_FOLDER = 4096  # characters of the one text that may hold these signs too
_MOST = {
    b",": 2 * MAX_POINTS + 3 * MAX_STROKES + 2 * MAX_EXAMPLES + _FOLDER,
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
    async def json(self) -> Any:
        body = await self.body()
        if any(body.count(sign) > most for sign, most in _MOST.items()):
            line = "the body holds more values than a drawing can have: send fewer points"
            raise HTTPException(413, line)
        try:
            return json.loads(body.decode())
        except UnicodeDecodeError as error:
            raise HTTPException(400, "the body is not UTF-8") from error
