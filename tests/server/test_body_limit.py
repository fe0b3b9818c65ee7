"""Bodies are cut off at their limit, with and without an honest header."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException

from msedge.server.body_limit import FREE_BYTES, BodyLimit
from msedge.server.problems import install_problems
from msedge.server.settings import ServerSettings

MOST = 1000


def limit(app, refused=lambda _reason: None, **settings):
    return BodyLimit(app, ServerSettings(max_body_bytes=MOST, **settings), refused)


async def ended():
    return {"type": "http.request", "body": b"x", "more_body": False}


@pytest.fixture
def app():
    application = FastAPI()
    install_problems(application)
    application.add_middleware(
        BodyLimit,
        settings=ServerSettings(max_body_bytes=MOST, body_seconds=0.5),
        refused=lambda _reason: None,
    )

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

    def test_it_is_answered_first_and_then_thrown_away(self):
        """So that whoever sends all of it before it reads sees the answer."""
        read = []

        async def receive():
            assert len(sent) == 2
            read.append(1)
            return {"type": "http.request", "body": b"x" * 100, "more_body": True}

        async def send(message):
            sent.append(message)

        sent = []
        scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"1001")]}
        asyncio.run(limit(None)(scope, receive, send))
        assert sent[0]["status"] == 413
        assert json.loads(sent[1]["body"]).keys() == {"detail"}
        assert len(read) == 2 * MOST / 100  # and no longer
        assert sent[2] == {"type": "http.response.body", "body": b""}

    def test_who_sends_nothing_is_not_waited_for(self):
        async def send(message):
            sent.append(message)

        async def never():
            await asyncio.Event().wait()

        sent = []
        scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"1001")]}
        asyncio.run(asyncio.wait_for(limit(None, body_seconds=0.2)(scope, never, send), 30))
        assert [message["type"] for message in sent[1:]] == ["http.response.body"] * 2

    @pytest.mark.parametrize("length", ["-1", "1e3", "abc", "", "9" * 5000, "²"])
    def test_lengths_that_are_none(self, length):
        sent = []

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"content-length", length.encode("latin-1"))],
        }
        asyncio.run(limit(None)(scope, ended, send))
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
        assert given == 2 * MOST // 300 + 1  # what is beyond the limit is thrown away


class TestPacked:
    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", ""])
    def test_is_refused_before_the_application(self, encoding):
        sent = []

        async def send(message):
            sent.append(message)

        headers = [(b"content-encoding", encoding.encode())]
        scope = {"type": "http", "method": "POST", "headers": headers}
        asyncio.run(limit(None)(scope, ended, send))
        assert sent[0]["status"] == 415

    @pytest.mark.parametrize("encoding", ["identity", " Identity "])
    def test_but_not_what_is_not_packed(self, app, encoding):
        assert post(app, b"x", **{"content-encoding": encoding}).json() == 1


class TestSlow:
    def test_who_stops_is_given_up(self, app):
        async def stops():
            yield b"x"
            await asyncio.sleep(30)

        answer = post(app, stops())
        assert answer.status_code == 408
        assert answer.headers["connection"] == "close"
        assert "too slowly" in answer.json()["detail"]

    def test_who_goes_on_is_not(self, app):
        async def slow():
            for _ in range(8):  # 0.8 s in all
                await asyncio.sleep(0.1)
                yield b"x" * 100  # which earn 0.2 s

        application = FastAPI()
        install_problems(application)
        application.add_middleware(
            BodyLimit,
            settings=ServerSettings(body_seconds=0.5, bytes_per_second=500),
            refused=lambda _reason: None,
        )
        application.router.routes.extend(app.router.routes)
        assert post(application, slow()).json() == 800


class TestAllTogether:
    SIZE = FREE_BYTES + 600

    def test_large_bodies_are_counted_and_small_ones_are_not(self):
        told = []

        async def run():
            settings = ServerSettings(max_bodies_bytes=1000)
            go, held = asyncio.Event(), asyncio.Event()

            async def app(scope, receive, _send):
                await receive()
                if scope["hold"]:
                    held.set()
                    await go.wait()

            guarded = BodyLimit(app, settings, told.append)

            def asked(size, *, hold=False):
                async def receive():
                    return {"type": "http.request", "body": b"x" * size, "more_body": False}

                scope = {"type": "http", "headers": [], "hold": hold}
                return guarded(scope, receive, None)

            first = asyncio.create_task(asked(self.SIZE, hold=True))
            await held.wait()
            assert guarded.held == 600
            with pytest.raises(HTTPException) as refused:
                await asked(self.SIZE)
            assert (refused.value.status_code, refused.value.headers["Retry-After"]) == (429, "1")
            assert guarded.held == 600
            await asked(FREE_BYTES)  # as a drawing's is
            go.set()
            await first
            assert guarded.held == 0
            await asked(self.SIZE)

        asyncio.run(run())
        assert told == ["bodies"]
