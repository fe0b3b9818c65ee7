"""What is told of each request: its number, its figures, and its line: never a secret.

People send tokens in the wrong place: after the ``?``, as a part of the path. So of an address only
what this server knows is written: the path of one of its routes, with numbers and names of the
page's files. Tested in ``tests/server/test_request_log.py``.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import time
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msedge.server.clients import believe_proxies
from msedge.server.service import Service
from msedge.server.tokens import Token, Tokens

LogFormat = Literal["text", "json"]
UNKNOWN = "(another address)"
_NUMBER = "[0-9]{1,12}"  # fewer than a token has characters
_NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_logger = logging.getLogger(__name__)


class RequestLog:
    """Number each request, find its client, count it, and write its line.

    Lines are of the level INFO, and ERROR where the server failed to answer.
    """

    def __init__(self, app: ASGIApp, *, served: FastAPI, tokens: Tokens) -> None:
        """Take what answers, the application that it belongs to, and the tokens."""
        service: Service = served.state.service
        self._app, self._served, self._tokens = app, served, tokens
        self._metrics, self._proxies = service.metrics, service.settings.proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and tell of it when it is done."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), None
        state = scope.setdefault("state", {})
        state["request_id"] = self._request_id(Headers(scope=scope))
        believe_proxies(scope, self._proxies)

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = state["request_id"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            seconds = time.perf_counter() - begun
            # The route, never the path: a label for each id would fill the memory.
            route = getattr(scope.get("route"), "path", _NO_ROUTE)
            self._metrics.answered(scope["method"], route, status or 500, seconds)
            self._write(scope, status, seconds)

    def _request_id(self, headers: Headers) -> str:
        """That of the client where it can do no harm, or a new one."""
        given = headers.get("x-request-id", "")
        if _REQUEST_ID.fullmatch(given) and not self._tokens.of_secret(given):
            return given
        return new_request_id()

    def _write(self, scope: Scope, status: int | None, seconds: float) -> None:
        level = logging.ERROR if status is not None and status >= 500 else logging.INFO
        if not _logger.isEnabledFor(level):
            return
        state = scope["state"]
        token: Token | None = state.get("token")
        write_request(
            level,
            request_id=state["request_id"],
            client=(scope.get("client") or ("-",))[0],
            method=scope["method"] if scope["method"] in _METHODS else "(another method)",
            path=self._paths.shown(str(scope["path"])),
            status=status,
            ms=round(1000 * seconds, 1),
            token=None if token is None else token.name,
            reason=state.get("refusal") if level == logging.ERROR else None,
        )

    @cached_property
    def _paths(self) -> KnownPaths:
        return KnownPaths(self._served)


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


def new_request_id() -> str:
    """A name for a request that no other has."""
    return secrets.token_hex(8)


def write_request(level: int, **fields: Any) -> None:
    """Write the line of a request; fields that are None are left out."""
    known = {name: value for name, value in fields.items() if value is not None}
    text = '{client} "{method} {path}" {status} {ms:.0f} ms id={request_id}'.format_map(
        {"method": "-", "path": "-", "status": "-", **known}
    )
    if "token" in known:
        text += f" token={known['token']}"
    if "reason" in known:
        text += f" reason={json.dumps(known['reason'], ensure_ascii=False)}"
    _logger.log(level, "%s", text, extra={"fields": known})


def start_log(form: LogFormat, *, requests: bool) -> None:
    """Have lines written to standard error: of defects and failures, or of all requests.

    This is for a process that does nothing else.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if form == "json" else _Lines("%(asctime)s %(message)s"))
    logging.getLogger().handlers[:] = [handler]
    _logger.setLevel(logging.INFO if requests else logging.WARNING)


def json_line(message: str) -> str:
    """A line that is no request's, as ``--log-format json`` has it."""
    return _JsonLines().format(
        logging.LogRecord(__name__, logging.INFO, __file__, 0, message, None, None)
    )


class _Lines(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, _datefmt: str | None = None) -> str:  # noqa: N802
        """Local time with its offset from UTC."""
        return (
            datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        )


class _JsonLines(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        """One object in a line."""
        line = {"time": self.formatTime(record), "level": record.levelname.lower()}
        line |= getattr(record, "fields", None) or {"message": record.getMessage()}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
