"""The log names what the server knows, and nothing that somebody put into an address."""

from __future__ import annotations

import logging
import re

import pytest
from starlette.exceptions import HTTPException

from msedge.server.app import create_app
from msedge.server.request_log import UNKNOWN, KnownPaths

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def app(gallery):
    application = create_app(gallery)
    yield application
    application.state.service.close()


@pytest.mark.parametrize(
    "path",
    ["/", "/healthz", "/metrics", "/openapi.json", "/api/search", "/api/photos/17",
     "/api/photos/17/thumbnail", "/page/app.js"],
)  # fmt: skip
def test_what_is_known(app, path):
    assert KnownPaths(app).shown(path) == path


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/api/photos/correct-horse-battery", "/page/correct-horse-battery", "//", "",
     "/api/photos/1234567890123456", "/api/photos/x/thumbnail", "/api/search/", "/\n\x1b[31m",
     "/page/../app.js", "/api/photos/\u0661", "/api/photos/{id}/x"],
)  # fmt: skip
def test_what_is_not(app, path):
    assert KnownPaths(app).shown(path) == UNKNOWN


@pytest.fixture
def lines(caplog):
    """The fields of each line."""
    caplog.set_level(logging.INFO, logger="msedge.server.request_log")
    return lambda: [record.fields for record in caplog.records if hasattr(record, "fields")]


class TestLines:
    def test_what_they_say(self, connect, lines, caplog):
        client = connect(token=TOKEN)
        client.get("/api/photos/1?token=secret", headers=BEARER)
        client.request("SECRET", "/secret")
        first, second = lines()
        assert first.pop("ms") >= 0
        assert re.fullmatch("[0-9a-f]{16}", first.pop("request_id"))
        assert first == {
            "client": "testclient",
            "method": "GET",
            "path": "/api/photos/1",
            "status": 200,
            "token": "default",
        }
        assert (second["method"], second["path"]) == ("(another method)", UNKNOWN)
        assert "token" not in second
        told = [record.getMessage() for record in caplog.records]
        assert re.fullmatch(
            r'testclient "GET /api/photos/1" 200 \d+ ms id=[0-9a-f]{16} token=default', told[0]
        )
        assert "secret" not in caplog.text.lower()
        assert TOKEN not in caplog.text

    def test_why_the_server_failed(self, connect, lines, caplog):
        client = connect()

        @client.app.get("/full")
        async def full() -> None:
            raise HTTPException(503, "the disk is full")

        @client.app.get("/defect")
        async def defect() -> None:
            raise RuntimeError("the secret")

        for method in ("GET", "HEAD"):
            assert client.request(method, "/full").status_code == 503
        number = client.get("/defect").headers["x-request-id"]
        client.get("/nothing")
        assert [(line["status"], line.get("reason")) for line in lines()] == [
            (503, "the disk is full"),
            (503, "the disk is full"),
            (500, "the server failed to answer; its log says why"),
            (404, None),
        ]
        failed = [r for r in caplog.records if r.levelno >= logging.ERROR]
        assert f"id={number}" in next(r for r in failed if r.exc_info).getMessage()
        assert len(failed) == 4


class TestNumbers:
    @pytest.mark.parametrize("path", ["/", "/healthz", "/nothing", "/api/gallery", "/api/photos/x"])
    def test_every_answer_has_one_of_its_own(self, client, path):
        found = {client.get(path).headers["x-request-id"] for _ in range(3)}
        assert len(found) == 3

    def test_refusals_too(self, connect):
        client = connect(token=TOKEN)
        answers = [
            client.get("/api/gallery"),
            client.get("/", headers={"Host": "evil.example"}),
            client.post("/api/search", headers=BEARER | {"Content-Length": "999999999"}),
        ]
        assert [answer.status_code for answer in answers] == [401, 403, 413]
        assert len({answer.headers["x-request-id"] for answer in answers}) == 3

    @pytest.mark.parametrize("given", ["a", "req-1.b_C", "x" * 64])
    def test_that_of_a_proxy_is_kept(self, client, given):
        answer = client.get("/healthz", headers={"X-Request-ID": given})
        assert answer.headers["x-request-id"] == given

    @pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"', "é", "a/b", "a,b", TOKEN])
    def test_what_could_do_harm_is_not(self, connect, given):
        headers = {"X-Request-ID": given.encode("latin-1")}
        answer = connect(token=TOKEN).get("/healthz", headers=headers)
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
