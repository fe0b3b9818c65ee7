"""Questions over plain ASGI, from a client that may go away."""

from __future__ import annotations

import asyncio
import json

from fastapi import FastAPI
from starlette.types import Message


async def post(app: FastAPI, left: asyncio.Event, path: str, body: object) -> int:
    """Ask, and go away when told; returns the status."""
    messages = [{"type": "http.request", "body": json.dumps(body).encode()}]
    status: list[int] = []

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return status[0]
