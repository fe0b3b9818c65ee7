"""The server's application, asked in this process without a network.

Only its parsers are of interest here: bodies and headers come as bytes, as uvicorn hands them on.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from typing import Any

HOST = (b"host", b"localhost")
JSON = (b"content-type", b"application/json")


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@functools.cache
def _application() -> Any:
    from fuzzing.targets import scratch
    from msedge.search.gallery import Gallery
    from msedge.server.app import create_app
    from served import ENCODER, write_gallery, write_photos

    photos = write_photos(scratch() / "photos")
    path = write_gallery(scratch() / "served.msedge", photos)
    return create_app(Gallery.open(path, model=ENCODER))


def ask(
    path: str,
    body: bytes,
    *,
    method: str = "POST",
    headers: Sequence[tuple[bytes, bytes]] = (HOST, JSON),
) -> tuple[int, bytes]:
    """Ask the application, and give its status and its answer."""
    return _loop().run_until_complete(_ask(path, body, method, headers))


async def _ask(
    path: str, body: bytes, method: str, headers: Sequence[tuple[bytes, bytes]]
) -> tuple[int, bytes]:
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "headers": list(headers), "client": ("127.0.0.1", 1), "server": None,
    }  # fmt: skip
    asked, status, answer = False, 0, []

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # the client stays until it is answered
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        answer.append(message.get("body", b""))

    await _application()(scope, receive, send)
    return status, b"".join(answer)
