"""A line for each request, for ``msedge serve --log``: never a secret, whoever put it where.

People send tokens in the wrong place: after the ``?``, as a part of the path. So of an address only
what this server knows is written: the path of one of its routes, with numbers and names of the
page's files. Tested in ``tests/server/test_request_log.py``.
"""

from __future__ import annotations

import logging
import re
import sys
import time

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from msedge.server.service import Service

UNKNOWN = "(another address)"
_NUMBER = "[0-9]{1,12}"  # fewer than a token has characters
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
_logger = logging.getLogger(__name__)


class RequestLog:
    """Write a line for each request that was answered."""

    def __init__(self, app: FastAPI) -> None:
        """Take the application."""
        self._app, self._paths = app, KnownPaths(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and write when it is done."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begun = "-", time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            host, port = scope.get("client") or ("-", 0)
            method = scope["method"] if scope["method"] in _METHODS else "(another method)"
            took = 1000 * (time.perf_counter() - begun)
            path = self._paths.shown(str(scope["path"]))
            _logger.info('%s:%d "%s %s" %s %.0f ms', host, port, method, path, status, took)


class KnownPaths:
    """The addresses of an application, which may be written down."""

    def __init__(self, app: FastAPI) -> None:
        """Take the application, which describes itself."""
        service: Service = app.state.service
        files = {f"/page/{name}" for name in service.page}
        described = app.openapi()["paths"]
        self._fixed = {"/", "/openapi.json", *files, *described}
        self._numbered = re.compile(
            "|".join(_NUMBER.join(map(re.escape, path.split("{id}"))) for path in described)
        )

    def shown(self, path: str) -> str:
        """A path if all of it is known, else :data:`UNKNOWN`."""
        known = path in self._fixed or self._numbered.fullmatch(path)
        return path if known else UNKNOWN


def log_requests() -> None:
    """Have the lines written to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    _logger.handlers[:] = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False
