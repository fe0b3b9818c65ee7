"""Every refusal is JSON with one line in ``detail``; and how the API's page documents them.

Tested in ``tests/server/test_search_routes.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from msedge.data.images import one_line
from msedge.errors import MSEdgeError, WeightsError
from msedge.search.stores.store import UnreadableError
from msedge.server.answers import Problem

_LONGEST_LINE = 300
_MEANINGS = {
    400: "The request is not well formed.",
    401: "The server wants its token: `Authorization: Bearer TOKEN`.",
    403: "The host name is not this server's, or the request comes from another site's page.",
    404: "There is no such photo, or no such page.",
    408: "The body came too slowly.",
    410: "The photo's file has gone or changed since it was indexed.",
    413: "The body has too many bytes, or the image too many pixels, or wants too much memory.",
    415: "The body must be `application/json` and not compressed, or the photo cannot be shown.",
    422: "What is asked cannot be answered; the line says why.",
    429: "Too much is asked, by this client or by all; `Retry-After` says when to come again.",
    503: "The gallery cannot be read now, or does not answer in time.",
}
_ALWAYS = (400, 403)


def refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its documentation; those of every route are added."""
    return {
        status: {"model": Problem, "description": _MEANINGS[status]}
        for status in sorted({*_ALWAYS, *statuses})
    }


def problem(
    status: int, line: str, headers: Mapping[str, str] | None = None, *, reason: str = ""
) -> Refusal:
    """A refusal with its line; the log gives a reason of its own where there is one."""
    text = one_line(line)
    short = text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 1] + "…"
    refusal = Refusal({"detail": short}, status_code=status, headers=dict(headers or {}))
    refusal.reason = one_line(reason) or short
    return refusal


class Refusal(JSONResponse):
    """An answer that leaves its reason in the request's state, for the log."""

    reason = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        scope.setdefault("state", {})["refusal"] = self.reason
        await super().__call__(scope, receive, send)


def install_problems(app: FastAPI) -> None:
    """Make an application answer its errors in this form."""
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    app.add_exception_handler(MSEdgeError, _user_problem)


async def _http_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    line = error.detail
    if error.status_code == 404 and line == "Not Found":
        line = "there is nothing at this address"
    return problem(error.status_code, line, error.headers)


async def _validation_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part)[:80] for part in first["loc"] if part != "body")
    line = str(first["msg"]).removeprefix("Value error, ")
    return problem(422, f"{where}: {line}" if where else line)


async def _user_problem(_request: Request, error: Exception) -> Response:
    line = str(error).partition("\n")[0]
    if isinstance(error, WeightsError | UnreadableError):  # nothing that the client could mend
        return problem(503, line)
    return problem(422, line)
