"""Bodies are cut off at their limit, with and without an honest header."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI, Request

from msedge.server.body_limit import BodyLimit
from msedge.server.problems import install_problems

MOST = 1000


@pytest.fixture
def app():
    application = FastAPI()
    install_problems(application)
    application.add_middleware(BodyLimit, most=MOST)

    @application.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    return application


def post(app, content, **headers):
    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/length", content=content, headers=headers)

    return asyncio.run(ask())


async def chunks(number, size=100):
    for _ in range(number):
        yield b"x" * size


class TestHeader:
    def test_up_to_the_limit(self, app):
        assert post(app, b"x" * MOST).json() == MOST
        assert post(app, b"").json() == 0

    def test_beyond(self, app):
        answer = post(app, b"x" * (MOST + 1))
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"
        assert "1000 bytes" in answer.json()["detail"]

    def test_nothing_is_read(self, app):
        read = []

        async def receive():
            read.append(1)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message):
            sent.append(message)

        sent = []
        scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"1001")]}
        asyncio.run(BodyLimit(app, MOST)(scope, receive, send))
        assert sent[0]["status"] == 413
        assert read == []
        assert json.loads(sent[1]["body"]).keys() == {"detail"}

    @pytest.mark.parametrize("length", ["-1", "1e3", "abc", "", "9" * 5000, "²"])
    def test_lengths_that_are_none(self, app, length):
        sent = []

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"content-length", length.encode("latin-1"))],
        }
        asyncio.run(BodyLimit(app, MOST)(scope, None, send))
        assert sent[0]["status"] == (413 if length.startswith("9") else 400)


class TestStream:
    def test_up_to_the_limit(self, app):
        assert post(app, chunks(10)).json() == MOST

    def test_beyond(self, app):
        answer = post(app, chunks(11))
        assert answer.status_code == 413
        assert "1000 bytes" in answer.json()["detail"]

    def test_a_header_that_lies(self, app):
        sent, given = [], 0

        async def receive():
            nonlocal given
            given += 1
            return {"type": "http.request", "body": b"x" * 300, "more_body": True}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/length",
            "raw_path": b"/length",
            "query_string": b"",
            "headers": [(b"content-length", b"5"), (b"host", b"localhost")],
        }
        asyncio.run(app(scope, receive, send))
        assert sent[0]["status"] == 413
        assert given == 4  # and no more of it is read
